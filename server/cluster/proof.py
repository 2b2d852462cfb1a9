"""How a new node and the cluster show each other that they share a secret, without saying it.

The secret is a challenge that only the seal's key opens, or a join token. Each side sends an HMAC-SHA256 (RFC 2104)
over what it wants the other to believe, so that it holds even where TLS is off, or whose certificate nobody checked.
"""

from __future__ import annotations

import base64
import binascii
import hmac

import orjson

from ...framework.errors import InvalidRequest

TOKEN_ID = 9
"""Bytes of a join token that name it; the rest is the secret."""
SECRET = 32
"""Bytes."""


def prove(secret: bytes, side: str, *claims: str | bool) -> str:
    """The proof of ``side`` (``node`` or ``cluster``) for what it claims, base64."""
    return encode(hmac.digest(secret, orjson.dumps(["caveau join 1", side, *claims]), "sha256"))


def check(proof: str, secret: bytes, side: str, *claims: str | bool) -> None:
    """Raises InvalidRequest."""
    if not hmac.compare_digest(proof.encode(), prove(secret, side, *claims).encode()):
        raise InvalidRequest("invalid answer given")


def encode(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def decode(text: str, what: str) -> bytes:
    """Raises InvalidRequest that names ``what``."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest(f"{what} is not base64") from None


def make_token(name: bytes, secret: bytes) -> str:
    return "cj." + base64.urlsafe_b64encode(name + secret).decode().rstrip("=")


def read_token(token: str) -> tuple[str, bytes]:
    """Its name, as the cluster keeps it, and its secret. Raises InvalidRequest."""
    try:
        raw = base64.urlsafe_b64decode(token.removeprefix("cj.") + "==")
    except (binascii.Error, ValueError):
        raw = b""
    if not token.startswith("cj.") or len(raw) != TOKEN_ID + SECRET:
        raise InvalidRequest("this is no join token: make one on the cluster, with: caveau operator raft join-token")
    return raw[:TOKEN_ID].hex(), raw[TOKEN_ID:]
