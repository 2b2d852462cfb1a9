"""PingID: online authentication by its API, whose requests and answers are JWTs (RFC 7519) signed with HS256."""

from __future__ import annotations

import base64
import binascii
import time
from typing import Any

from ....framework.errors import InvalidRequest
from ....framework.wire import parse_bool
from .records import PingIdSettings
from .remote import PUSH_SECONDS, Refused, call

_KEYS = ("use_base64_key", "use_signature", "token", "idp_url", "org_alias", "admin_url", "authenticator_url")
_VERSION = "4.9"
_SUCCESS = 200  # errorId
_KEY_BYTES = 32  # RFC 7518, section 3.2


def parse_settings(encoded: str) -> dict[str, Any]:
    """The values of a settings file (``key=value`` lines) in base64; raises InvalidRequest, which quotes no values."""
    if not encoded:
        raise InvalidRequest("settings_file_base64 is empty")
    try:
        text = base64.b64decode(encoded, validate=True).decode()
    except ValueError:
        raise InvalidRequest("settings_file_base64 is not text in base64") from None
    values: dict[str, Any] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        if line.startswith("#"):
            continue
        key, sign, value = line.partition("=")
        key = key.strip()
        if not sign:
            raise InvalidRequest(
                "pingid settings file contains a non-empty non-comment line that is not in key=value format"
            )
        if key not in _KEYS:
            raise InvalidRequest(f'unknown key "{key[:64]}" in pingid settings file')
        values[key] = value.strip()
    if "use_signature" in values:
        try:
            values["use_signature"] = parse_bool(values["use_signature"])
        except ValueError:
            raise InvalidRequest("error parsing use_signature value in pingid settings file") from None
    return values


async def confirm(settings: PingIdSettings, user: str, now: float) -> None:
    """Have the user confirm on a device; raises Refused."""
    import jwt

    if not settings.idp_url.startswith("https://"):
        raise Refused("the PingID settings have no idp_url that begins with https://")
    try:
        key = base64.b64decode(settings.use_base64_key.replace("\\", ""), validate=True)
    except binascii.Error:
        key = b""
    if len(key) < _KEY_BYTES:
        raise Refused("the PingID settings have no use_base64_key of 256 bits or more")
    header = {"org_alias": settings.org_alias, "token": settings.token}
    payload = {
        "reqHeader": {
            "locale": "en",
            "orgAlias": settings.org_alias,
            "secretKey": settings.token,
            "timestamp": time.strftime("%Y-%m-%d %H:%M:%S.000", time.gmtime(now)),
            "version": _VERSION,
        },
        "reqBody": {"authType": "CONFIRM", "spAlias": "web", "userName": user},
    }
    status, raw = await call(
        "POST",
        f"{settings.idp_url.rstrip('/')}/rest/4/authonline/do",
        headers={"Content-Type": "application/json"},
        body=jwt.encode(payload, key, "HS256", headers=header),
        seconds=PUSH_SECONDS,
    )
    try:
        answer = jwt.decode(raw, key, ["HS256"])["responseBody"]
        result = int(answer["errorId"])
    except (jwt.InvalidTokenError, KeyError, TypeError, ValueError):
        raise Refused(f"PingID answered with an error: status {status}") from None
    if result != _SUCCESS:
        raise Refused("PingID denies access")
