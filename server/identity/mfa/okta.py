"""Okta: a push to Okta Verify by the Factors API (https://developer.okta.com/docs/reference/api/factors/)."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

from ....framework import jsontext
from .records import OktaSettings
from .remote import PUSH_SECONDS, Refused, call

POLL_SECONDS = 2.0


async def confirm(settings: OktaSettings, user: str) -> None:
    """Have the user confirm a push; raises Refused."""
    base = f"https://{settings.org_name}.{settings.base_url}/api/v1/users"
    if settings.primary_email:
        query = quote(f'profile.email eq "{user}"', safe="")
        found = await _ask(settings, "GET", f"{base}?limit=2&search={query}")
        users = found if isinstance(found, list) and '"' not in user else []
        who = users[0] if len(users) == 1 else None
    else:
        who = await _ask(settings, "GET", f"{base}/{quote(user, safe='')}")
    if not isinstance(who, dict) or not isinstance(id_ := who.get("id"), str):
        raise Refused("Okta does not know the user")
    factors = f"{base}/{quote(id_, safe='')}/factors"
    pushes = [
        each for each in await _ask(settings, "GET", factors)
        if isinstance(each, dict) and each.get("factorType") == "push" and each.get("status") == "ACTIVE"
    ]  # fmt: skip
    if not pushes:
        raise Refused("the user has no Okta Verify push")
    factor = f"{factors}/{quote(str(pushes[0].get('id')), safe='')}"
    transaction = await _ask(settings, "POST", f"{factor}/verify")
    poll = _poll_url(transaction, factor)
    for _ in range(int(PUSH_SECONDS / POLL_SECONDS)):
        result = transaction.get("factorResult") if isinstance(transaction, dict) else None
        if result == "SUCCESS":
            return
        if result not in ("WAITING", "CHALLENGE"):
            raise Refused("Okta denies access")
        await asyncio.sleep(POLL_SECONDS)
        transaction = await _ask(settings, "GET", poll)
    raise Refused("the user did not confirm in time")


def _poll_url(transaction: Any, factor: str) -> str:
    """Where to ask for the result: never anywhere but at this factor, because the API token goes along."""
    try:
        url = str(transaction["_links"]["poll"]["href"])
    except (KeyError, TypeError):
        return factor
    if not url.startswith(f"{factor}/"):
        raise Refused("Okta answered with an error: the link to poll leads elsewhere")
    return url


async def _ask(settings: OktaSettings, method: str, url: str) -> Any:
    headers = {"Authorization": f"SSWS {settings.api_token}", "Accept": "application/json"}
    body = "{}" if method == "POST" else None
    if body:
        headers["Content-Type"] = "application/json"
    status, raw = await call(method, url, headers=headers, body=body)
    if status not in (200, 201):
        raise Refused(f"Okta answered with an error: status {status}")
    try:
        return jsontext.loads(raw)
    except ValueError:
        raise Refused("Okta answered with an error: no JSON") from None
