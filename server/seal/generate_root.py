"""A new root token on the authority of the shares: ``sys/generate-root/*``, ``sys/decode-token``,
and OpenBao's ``sys/generate-root-token/*``, which has fewer keys: ``token_shape``."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...framework.errors import CaveauError, InvalidRequest
from ...storage.pgp import PgpKey
from .shares import Collector, check_nonce, check_size, decode_share
from .unseal import SealCore, WrongShares

OTP_LENGTH = 28
"""Characters of a one-time password, and of a root token (``hvs.`` and 24 more)."""

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@dataclass(slots=True)
class _Attempt:
    nonce: str
    otp: str = field(repr=False)
    pgp_key: PgpKey | None
    collector: Collector = field(default_factory=Collector)


class GenerateRoot:
    """One attempt at a time, kept in memory: sealing forgets it."""

    def __init__(self, core: SealCore) -> None:
        self._core = core
        self._attempt: _Attempt | None = None
        core.at_seal(self.cancel)

    async def status(self) -> dict[str, Any]:
        """``GET .../attempt``."""
        required = (await self._core.required_config()).threshold
        return _status(self._attempt, self._attempt.collector.progress if self._attempt else 0, required)

    async def init(self, otp: str = "", pgp_key: str = "") -> dict[str, Any]:
        """``PUT .../attempt``: start. The token will be XORed with ``otp``, or encrypted to
        ``pgp_key``; without either, an OTP is made and answered: only now."""
        if otp and len(otp.encode()) != OTP_LENGTH:
            raise InvalidRequest("OTP string has incorrect length")
        key, made = None, ""
        if not otp and pgp_key:
            try:
                key = PgpKey(pgp_key)
            except InvalidRequest as error:
                raise InvalidRequest(f"error parsing PGP key: {error}") from None
        elif not otp:
            otp = made = _base62(OTP_LENGTH, self._core.random_bytes)
        if self._attempt is not None:
            raise InvalidRequest("root generation already in progress")
        self._attempt = _Attempt(self._core.uuid(), otp, key)
        return await self.status() | {"otp": made}

    def cancel(self) -> None:
        """``DELETE .../attempt``; nothing happens when there is none."""
        self._attempt = None

    async def update(self, key: str = "", nonce: str = "") -> dict[str, Any]:
        """``PUT .../update``: one more share; the last one needed answers ``encoded_token``."""
        if not key:
            raise InvalidRequest("'key' must be specified in request body as JSON")
        share = decode_share(key)
        async with self._core.lock:
            attempt = self._attempt
            if attempt is None:
                raise InvalidRequest("no root generation in progress")
            check_nonce(nonce, attempt.nonce, "this root generation operation")
            try:
                check_size(share)
            except InvalidRequest as error:
                raise InvalidRequest(f"invalid key: {error}") from None
            if not attempt.collector.add(share):
                raise InvalidRequest("given key has already been provided during this generation operation")
            required = (await self._core.required_config()).threshold
            if attempt.collector.progress < required:
                return await self.status()
            await self._authorise(attempt.collector)
            encoded = await self._token(attempt)
            if self._attempt is attempt:  # and not another one, begun meanwhile
                self._attempt = None
            return _status(attempt, required, required, encoded)

    async def _authorise(self, collector: Collector) -> None:
        aborted = "root generation aborted"
        try:
            secret = collector.combine()
        except InvalidRequest as error:
            raise InvalidRequest(f"{aborted}: failed to compute combined key: {error}") from None
        try:
            await self._core.root_key(secret)
        except WrongShares as error:
            context = "unable to retrieve stored keys" if self._core.by_shares else "recovery key verification failed"
            raise WrongShares(f"{aborted}: unable to authenticate: {context}: {error}") from None

    async def _token(self, attempt: _Attempt) -> str:
        hooks = self._core.hooks
        token = await hooks.create_root_token()
        try:
            if attempt.pgp_key:
                return base64.b64encode(attempt.pgp_key.encrypt(token.encode())).decode()
            return encode_token(token, attempt.otp)
        except CaveauError:
            await hooks.revoke_root_token(token)
            raise


def encode_token(token: str, otp: str) -> str:
    """``token`` XOR ``otp`` in base64 without padding."""
    return base64.b64encode(_xor(token.encode(), otp.encode())).decode().rstrip("=")


def decode_token(encoded_token: str = "", otp: str = "") -> dict[str, str]:
    """``sys/decode-token``; raises InvalidRequest."""
    if not encoded_token or not otp:
        raise InvalidRequest("provided 'encoded_token' or 'otp' is empty")
    try:
        if "=" in encoded_token:
            raise ValueError
        raw = base64.b64decode(encoded_token + "=" * (-len(encoded_token) % 4), validate=True)
    except ValueError:
        raise InvalidRequest("error decoding base64'd token: illegal base64 data") from None
    return {"token": _xor(raw, otp.encode()).decode(errors="replace")}


def token_shape(status: Mapping[str, Any], *, update: bool) -> dict[str, Any]:
    """The answer of ``GenerateRoot`` as ``sys/generate-root-token/*`` has it: after ``update`` without
    what concerns the OTP, otherwise without the token, and when idle without nonce and fingerprint."""
    dropped = {"encoded_root_token", *(("otp", "otp_length") if update else ("encoded_token",))}
    if not status["started"]:
        dropped |= {"nonce", "pgp_fingerprint"}
    return {name: value for name, value in status.items() if name not in dropped}


def _xor(left: bytes, right: bytes) -> bytes:
    if len(left) != len(right):
        raise InvalidRequest(
            f"error xoring token: length of byte slices is not equivalent: {len(left)} != {len(right)}"
        )
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


def _base62(length: int, random_bytes: Callable[[int], bytes]) -> str:
    text = ""
    while len(text) < length:  # 248 = 4 * 62: each character equally likely
        text += "".join(_ALPHABET[byte % 62] for byte in random_bytes(length) if byte < 248)
    return text[:length]


def _status(attempt: _Attempt | None, progress: int, required: int, encoded: str = "") -> dict[str, Any]:
    key = attempt.pgp_key if attempt else None
    return {
        "nonce": attempt.nonce if attempt else "",
        "started": attempt is not None,
        "progress": progress,
        "required": required,
        "complete": bool(encoded),
        "encoded_token": encoded,
        "encoded_root_token": encoded,
        "pgp_fingerprint": key.fingerprint if key else "",
        "otp": "",
        "otp_length": OTP_LENGTH,
    }
