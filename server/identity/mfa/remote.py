"""Requests to those who offer second factors: over TLS, short answers, a time limit, and no redirects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp import BaseConnector

ANSWER_SECONDS = 15
PUSH_SECONDS = 50  # how long a user may take to confirm: most clients wait a minute for an answer
_LONGEST = 1 << 20


class Refused(Exception):
    """A second factor is not right, or nobody can say whether it is. The text is for whoever logs in."""


def connector() -> BaseConnector | None:
    """How to connect; None is the usual way."""
    return None


async def call(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: str | None = None,
    seconds: float = ANSWER_SECONDS,
) -> tuple[int, bytes]:
    """The status and body of an answer; raises Refused when there is none."""
    import aiohttp
    from yarl import URL

    timeout = aiohttp.ClientTimeout(total=seconds)
    try:
        async with (
            aiohttp.ClientSession(connector=connector(), timeout=timeout, trust_env=True) as session,
            session.request(method, URL(url, encoded=True), headers=headers, data=body, allow_redirects=False) as got,
        ):
            answer = await got.content.read(_LONGEST)
            while len(answer) < _LONGEST and (more := await got.content.read(_LONGEST - len(answer))):
                answer += more
            return got.status, answer
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise Refused(f"no answer from the MFA provider: {type(error).__name__}") from None
