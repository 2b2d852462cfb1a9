"""One-time passwords by time (RFC 6238), the URL that authenticator apps read them from, and its QR code."""

from __future__ import annotations

import base64
import hmac
import io
import secrets
from dataclasses import dataclass
from urllib.parse import quote, urlencode

ALGORITHMS = ("SHA1", "SHA256", "SHA512")
DIGITS = (6, 8)


def hotp(key: bytes, counter: int, digits: int = 6, algorithm: str = "SHA1") -> str:
    """The one-time password of a counter (RFC 4226, section 5.3)."""
    digest = hmac.digest(key, counter.to_bytes(8, "big"), algorithm.lower())
    offset = digest[-1] & 15
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFFFFFF
    return str(number % 10**digits).zfill(digits)


@dataclass(frozen=True, slots=True)
class Totp:
    """A key with what makes codes of it. ``key``: base32, as in URLs; ``period``: seconds; ``skew``: how many
    periods a clock may be behind or ahead."""

    key: str
    period: int = 30
    digits: int = 6
    algorithm: str = "SHA1"
    skew: int = 1

    @classmethod
    def new(cls, size: int, *, period: int, digits: int, algorithm: str, skew: int) -> Totp:
        """With a random key of ``size`` bytes."""
        key = base64.b32encode(secrets.token_bytes(size)).decode().rstrip("=")
        return cls(key, period, digits, algorithm, skew)

    def code(self, counter: int) -> str:
        key = base64.b32decode(self.key + "=" * (-len(self.key) % 8), casefold=True)
        return hotp(key, counter, self.digits, self.algorithm)

    def counter(self, now: float) -> int:
        """The period that a time, in seconds since the epoch, is in (RFC 6238, section 4.2)."""
        return int(now // self.period)

    def match(self, code: str, now: float) -> int | None:
        """The period that ``code`` is of, the latest of those that are acceptable now; None when it is of none."""
        current, given, found = self.counter(now), code.encode("utf-8", "surrogatepass"), None
        for counter in range(max(0, current - self.skew), current + self.skew + 1):
            if hmac.compare_digest(self.code(counter).encode(), given):
                found = counter
        return found

    def url(self, issuer: str, account: str) -> str:
        """What apps read: the key URI format of Google Authenticator."""
        values = {"algorithm": self.algorithm, "digits": self.digits, "issuer": issuer, "period": self.period,
                 "secret": self.key}  # fmt: skip
        query = urlencode(values, safe="", quote_via=quote)
        return f"otpauth://totp/{quote(issuer, safe='')}:{quote(account, safe='')}?{query}"


def barcode(text: str, pixels: int) -> str:
    """The QR code of ``text`` as a PNG in base64, as wide as fits into ``pixels``, at least one a module.

    Raises ImportError without the package segno, ValueError for a text that no QR code holds.
    """
    import segno  # only who asks for one needs it

    code = segno.make_qr(text, error="m", boost_error=False)
    out = io.BytesIO()
    code.save(out, kind="png", scale=max(1, pixels // code.symbol_size()[0]))
    return base64.b64encode(out.getvalue()).decode()
