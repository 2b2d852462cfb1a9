"""Response wrapping: an answer is kept for one pick-up, and a token for that is answered instead.

The answer lies in the cubbyhole of the wrapping token, which has one use, lives as long as was asked for
and can do nothing but fetch it. Whoever finds the token spent knows that somebody was there before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from ..framework import Response, View, jsontext
from ..framework.errors import InvalidRequest, PermissionDenied
from ..framework.messages import WrapInfo
from ..framework.storage import ReadView
from .envelope import envelope, is_empty
from .layout import cubbyhole
from .tokens import TokenEntry

if TYPE_CHECKING:
    from .node import Node
    from .request import Incoming

PICK_UPS = frozenset({"sys/wrapping/unwrap", "sys/wrapping/rewrap"})
WRAPPING_POLICY = "response-wrapping"
NO_TOKEN = "error validating wrapping token: token is empty"
_INVALID = "wrapping token is not valid or does not exist"


@dataclass(frozen=True, slots=True)
class Wrapped:
    """What is kept: the answer's JSON text and how it came to be. Times in seconds."""

    response: str
    creation_path: str
    creation_time: float
    creation_ttl: int
    wrapped_accessor: str = ""


def can_wrap(response: Response) -> bool:
    """Whether there is something in it to keep; answers without an envelope are never wrapped."""
    whole = response.body is None and response.stream is None
    return whole and not response.bare and response.status in (0, 200) and not is_empty(response)


async def wrap(node: Node, view: View, response: Response, path: str, ttl: float, request_id: str) -> Response:
    """Keep ``response`` and give the answer that stands for it."""
    accessor = response.auth["accessor"] if response.auth else response.accessor
    text = jsontext.dumps(envelope(response, request_id)).decode()
    kept = Wrapped(text, path, node.clock.time(), max(1, int(ttl)), accessor)
    return await _keep(node, view, kept, node.namespace.token_id)


async def _keep(node: Node, view: View, kept: Wrapped, namespace: str) -> Response:
    ttl = min(kept.creation_ttl, node.ttls("auth/token/")[1])
    entry = TokenEntry(
        accessor="",
        policies=(WRAPPING_POLICY,),
        path=kept.creation_path,
        creation_time=kept.creation_time,
        display_name="",
        num_uses=1,
        creation_ttl=ttl,
        explicit_max_ttl=ttl,
        expire_time=kept.creation_time + ttl,
        namespace=namespace,
    )
    entry, token = await node.tokens.create(view, entry)
    view.put(_key(entry.key), orjson.dumps(kept))
    info = WrapInfo(token, entry.accessor, ttl, kept.creation_time, kept.creation_path, kept.wrapped_accessor)
    return Response(wrap_info=info)


async def look_up(node: Node, view: ReadView, token: str) -> tuple[TokenEntry, Wrapped]:
    """The wrapping token of this text and what it keeps; raises InvalidRequest."""
    entry = await node.tokens.lookup(view, token)
    if entry is None or entry.policies != (WRAPPING_POLICY,):
        raise InvalidRequest(_INVALID)
    return entry, await contents(view, entry)


async def check(node: Node, incoming: Incoming) -> None:
    """Refuse one of `PICK_UPS` whose wrapping token is none, before anything is asked of the caller's token.

    The two may be the same; so a token that is spent is told from one that may not pick up.
    Raises InvalidRequest, or PermissionDenied when no token is given at all.
    """
    token = incoming.data.get("token") or incoming.token
    if not token:
        raise PermissionDenied(NO_TOKEN)
    if isinstance(token, str):
        await look_up(node, node.store, token)


async def contents(view: ReadView, entry: TokenEntry) -> Wrapped:
    """What a wrapping token keeps; raises InvalidRequest."""
    raw = await view.get(_key(entry.key))
    if raw is None:
        raise InvalidRequest(_INVALID)
    return Wrapped(**orjson.loads(raw))


async def rewrap(node: Node, view: View, token: str) -> Response:
    """Move what ``token`` keeps to a new wrapping token with the same lifetime, from now on."""
    entry, kept = await look_up(node, view, token)
    await node.tokens.revoke(view, entry.key)
    fresh = Wrapped(kept.response, kept.creation_path, node.clock.time(), kept.creation_ttl, kept.wrapped_accessor)
    return await _keep(node, view, fresh, entry.namespace)


def unwrapped(kept: Wrapped, request_id: str) -> Response:
    """The answer that was kept, as the answer to the request that fetches it."""
    answer: dict[str, Any] = jsontext.loads(kept.response.encode())
    return Response(data=answer | {"request_id": request_id}, bare=True)


def _key(token_key: str) -> str:
    return f"{cubbyhole(token_key)}response"
