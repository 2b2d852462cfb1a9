"""Duo: the Auth API (https://duo.com/docs/authapi), version 2."""

from __future__ import annotations

import base64
import email.utils
import hmac
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from ....framework import jsontext
from .records import DuoSettings
from .remote import ANSWER_SECONDS, PUSH_SECONDS, Refused, call


def encoded(params: Mapping[str, str]) -> str:
    """Parameters as they are sent and signed: sorted, percent-encoded as in RFC 3986."""
    return "&".join(f"{quote(name, safe='~')}={quote(params[name], safe='~')}" for name in sorted(params))


def authorization(settings: DuoSettings, date: str, method: str, path: str, params: Mapping[str, str]) -> str:
    """The Authorization header: HMAC-SHA1 over the lines of the request, as the API defines it."""
    lines = (date, method, settings.api_hostname.lower(), path, encoded(params))
    signature = hmac.new(settings.secret_key.encode(), "\n".join(lines).encode(), "sha1").hexdigest()
    return "Basic " + base64.b64encode(f"{settings.integration_key}:{signature}".encode()).decode()


async def confirm(settings: DuoSettings, user: str, passcode: str, address: str) -> None:
    """Verify a passcode, or have the user confirm a push; raises Refused."""
    if settings.use_passcode and not passcode:
        raise Refused("failed to get passcode")
    known = await _post(settings, "/auth/v2/preauth", {"username": user, "ipaddr": address})
    match known.get("result"):
        case "allow":  # a user whom Duo is told to let pass
            return
        case "auth":
            pass
        case "enroll":
            raise Refused("the user is not enrolled in Duo")
        case _:
            raise Refused("Duo denies access")
    params = {"username": user, "ipaddr": address}
    if settings.use_passcode:
        params |= {"factor": "passcode", "passcode": passcode}
    else:
        params |= {"factor": "push", "device": "auto"}
        if settings.push_info:
            params["pushinfo"] = settings.push_info
    answer = await _post(settings, "/auth/v2/auth", params, PUSH_SECONDS)
    if answer.get("result") != "allow":
        raise Refused("Duo denies access")


async def _post(
    settings: DuoSettings, path: str, params: Mapping[str, str], seconds: float = ANSWER_SECONDS
) -> dict[str, Any]:
    date = email.utils.formatdate()
    headers = {
        "Date": date,
        "Authorization": authorization(settings, date, "POST", path, params),
        "Content-Type": "application/x-www-form-urlencoded",
    }
    url = f"https://{settings.api_hostname}{path}"
    status, raw = await call("POST", url, headers=headers, body=encoded(params), seconds=seconds)
    try:
        answer = jsontext.loads(raw)
        if status != 200 or answer["stat"] != "OK" or not isinstance(answer["response"], dict):
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise Refused(f"Duo answered with an error: status {status}") from None
    found: dict[str, Any] = answer["response"]
    return found
