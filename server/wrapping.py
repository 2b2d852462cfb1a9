"""Response wrapping: an answer is kept for one pick-up, and a token for that is answered instead.

The answer lies in the cubbyhole of the wrapping token, as ``response`` (and beside it, as ``wrapinfo``, how it came to
be); the token has one use, lives as long as was asked for
and can do nothing but fetch it. Whoever finds the token spent knows that somebody was there before.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
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
    from .request import CoreRequest, Incoming

UNWRAP, _REWRAP = "sys/wrapping/unwrap", "sys/wrapping/rewrap"
PICK_UPS = frozenset({UNWRAP, _REWRAP})
ABOUT_ONE = PICK_UPS | {"sys/wrapping/lookup"}
"""Paths of requests about a wrapping token."""
WRAPPING_POLICY = "response-wrapping"
CONTROL_POLICY = "control-group"
"""That of a token which stands for a request that waits for approvals, not for an answer."""
_UNUSABLE = "error validating wrapping token: "
_RESPONSE, _ABOUT = "response", "wrapinfo"
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
    return (
        whole
        and not response.bare
        and response.wrap_info is None
        and response.status in (0, 200)
        and not is_empty(response)
    )


async def wrap(node: Node, view: View, response: Response, path: str, ttl: float, request_id: str) -> Response:
    """Keep ``response`` and give the answer that stands for it."""
    accessor = response.auth["accessor"] if response.auth else response.accessor
    text = jsontext.dumps(envelope(response, request_id)).decode()
    kept = Wrapped(text, path, node.clock.time(), max(1, int(ttl)), accessor)
    return await _keep(node, view, kept, node.namespace.token_id)


async def _keep(node: Node, view: View, kept: Wrapped, namespace: str) -> Response:
    entry, info = await issue(
        node, view, WRAPPING_POLICY, kept.creation_path, kept.creation_ttl, kept.creation_time, namespace
    )
    place, about = cubbyhole(entry.key), asdict(kept)
    view.put(place + _RESPONSE, orjson.dumps({"response": about.pop("response")}))
    view.put(place + _ABOUT, orjson.dumps(about))
    info.wrapped_accessor = kept.wrapped_accessor
    return Response(wrap_info=info)


async def issue(
    node: Node, view: View, policy: str, path: str, ttl: int, now: float, namespace: str
) -> tuple[TokenEntry, WrapInfo]:
    """A token of one use that stands for the answer of ``path``, with what is told of it."""
    ttl = min(ttl, node.ttls("auth/token/")[1])
    entry = TokenEntry(
        accessor="",
        policies=(policy,),
        path=path,
        creation_time=now,
        display_name="",
        num_uses=1,
        creation_ttl=ttl,
        explicit_max_ttl=ttl,
        expire_time=now + ttl,
        namespace=namespace,
    )
    entry, token = await node.tokens.create(view, entry)
    return entry, WrapInfo(token, entry.accessor, ttl, now, path)


async def look_up(node: Node, view: ReadView, token: str) -> tuple[TokenEntry, Wrapped]:
    """The wrapping token of this text and what it keeps; raises InvalidRequest."""
    entry = await node.tokens.lookup(view, token)
    if entry is None or entry.policies != (WRAPPING_POLICY,):
        raise InvalidRequest(_INVALID)
    return entry, await contents(view, entry)


async def check(node: Node, incoming: Incoming) -> TokenEntry | None:
    """Refuse one of `ABOUT_ONE` whose wrapping token is none, before anything is asked of the caller's token.

    The two may be the same; so a token that is spent is told from one that may not pick up. Gives the token where it
    is to be unwrapped and stands for a request that waits.
    Raises InvalidRequest, or PermissionDenied when no token is given at all.
    """
    token = token_of(incoming)
    entry = await node.tokens.lookup(node.store, token)
    if entry is None or entry.policies != (CONTROL_POLICY,) or incoming.path == _REWRAP:
        await look_up(node, node.store, token)
        return None
    return entry if incoming.path == UNWRAP else None


def token_of(incoming: Incoming) -> str:
    """The wrapping token that a request is about: its parameter, or else its own. Raises PermissionDenied."""
    token = incoming.data.get("token")
    if token is None:
        if not incoming.token:
            raise PermissionDenied(f"{_UNUSABLE}token is empty")
        return incoming.token
    if not isinstance(token, str):
        raise PermissionDenied(f"{_UNUSABLE}could not decode token in request body")
    if not token:
        raise PermissionDenied(f"{_UNUSABLE}empty token in request body")
    return token


async def contents(view: ReadView, entry: TokenEntry) -> Wrapped:
    """What a wrapping token keeps; raises InvalidRequest."""
    place = cubbyhole(entry.key)
    response, about = await view.get(place + _RESPONSE), await view.get(place + _ABOUT)
    if response is None or about is None:
        raise InvalidRequest(_INVALID)
    return Wrapped(**orjson.loads(response), **orjson.loads(about))


async def rewrap(node: Node, view: View, token: str) -> Response:
    """Move what ``token`` keeps to a new wrapping token with the same lifetime, from now on."""
    entry, kept = await look_up(node, view, token)
    await node.tokens.revoke(view, entry.key)
    fresh = Wrapped(kept.response, kept.creation_path, node.clock.time(), kept.creation_ttl, kept.wrapped_accessor)
    return await _keep(node, view, fresh, entry.namespace)


async def unwrapped(req: CoreRequest, kept: Wrapped) -> Response:
    """The answer that was kept, as the answer to the request that fetches it; kept anew where that asks for it."""
    ttl = req.incoming.wrap_ttl
    if ttl:
        path, now = req.incoming.path, req.node.clock.time()
        again = Wrapped(kept.response, path, now, max(1, int(ttl)), kept.wrapped_accessor)
        return await _keep(req.node, req.root, again, req.node.namespace.token_id)
    answer: dict[str, Any] = jsontext.loads(kept.response.encode())
    return Response(data=answer | {"request_id": req.id}, bare=True)
