"""Control groups: a request is kept, not carried out, until members of groups that its policy names approve of it.

The answer to such a request is a wrapping token. Approvers know the request by the token's accessor; once enough of
them have approved, whoever unwraps the token has the request carried out, as the requester, and gets its answer. Who
may do what is looked at anew then: an approval replaces no policy.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from ..framework import Response, View, jsontext
from ..framework.errors import InvalidRequest, MultipleErrors, PermissionDenied
from ..framework.storage import ReadView
from .layout import cubbyhole
from .policy import Factor
from .request import CoreRequest, Incoming
from .tokens import TokenEntry
from .wrapping import CONTROL_POLICY, issue

if TYPE_CHECKING:
    from .node import Node

DEFAULT_TTL = 24 * 3600
"""Seconds that a request waits where its policy does not say."""


class NeedsApproval(Exception):
    """The request of ``token`` is allowed once ``factors`` are satisfied; it waits for ``ttl`` seconds (0: default)."""

    def __init__(self, token: TokenEntry, factors: tuple[Factor, ...], ttl: float) -> None:
        self.token = token
        self.factors = factors
        self.ttl = ttl


@dataclass(frozen=True, slots=True)
class Approval:
    """``factors``: the names of those that it is for. ``time``: seconds since the epoch."""

    entity_id: str
    entity_name: str
    time: float
    factors: tuple[str, ...]

    def counts(self, factor: Factor, now: float) -> bool:
        return factor.name in self.factors and (not factor.ttl or now < self.time + factor.ttl)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request that waits, with all that is needed to carry it out.

    ``namespace``: its path. ``token``: the text of the requester's, which is of the namespace with the id ``home`` and
    of the entity ``entity_id`` ("": of none).
    """

    operation: str
    path: str
    namespace: str
    token: str = field(repr=False)
    home: str
    entity_id: str
    data: Mapping[str, Any] = field(repr=False)
    wrap_ttl: float | None
    factors: tuple[Factor, ...]
    approvals: tuple[Approval, ...] = ()

    def approved(self, now: float) -> bool:
        """Whether every factor has its approvals, each of another entity and none of them too old."""
        return all(
            len({each.entity_id for each in self.approvals if each.counts(factor, now)}) >= factor.approvals
            for factor in self.factors
        )

    def dump(self) -> bytes:
        return jsontext.dumps(asdict(self))

    @classmethod
    def load(cls, raw: bytes) -> Waiting:
        values: dict[str, Any] = jsontext.loads(raw)
        values["factors"] = tuple(_of(Factor, each) for each in values["factors"])
        values["approvals"] = tuple(_of(Approval, each) for each in values["approvals"])
        return cls(**values)


def _of(kind: Any, values: dict[str, Any]) -> Any:
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


async def hold(node: Node, view: View, incoming: Incoming, held: NeedsApproval) -> Response:
    """Keep a request, and give the answer that stands for it."""
    token = held.token
    waiting = Waiting(
        operation=incoming.op,
        path=incoming.path,
        namespace=incoming.namespace,
        token=incoming.token,
        home=token.namespace,
        entity_id=token.entity_id,
        data=incoming.data,
        wrap_ttl=incoming.wrap_ttl,
        factors=held.factors,
    )
    ttl = max(1, int(held.ttl or DEFAULT_TTL))
    entry, info = await issue(
        node, view, CONTROL_POLICY, incoming.path, ttl, node.clock.time(), node.namespace.token_id
    )
    view.put(_key(entry), waiting.dump())
    return Response(wrap_info=info)


async def waiting_of(view: ReadView, entry: TokenEntry | None) -> Waiting:
    """The request that a token stands for; raises InvalidRequest."""
    raw = await view.get(_key(entry)) if entry is not None and entry.policies == (CONTROL_POLICY,) else None
    if raw is None:
        raise MultipleErrors("invalid wrapping token")
    return Waiting.load(raw)


async def check(view: ReadView, entry: TokenEntry, now: float) -> Waiting:
    """The request that a token stands for, if it may be carried out; raises PermissionDenied."""
    waiting = await waiting_of(view, entry)
    if not waiting.approved(now):
        raise PermissionDenied("request needs further approval")
    return waiting


async def approve(req: CoreRequest, entry: TokenEntry | None) -> Waiting:
    """Note the approval of whoever makes ``req``; raises InvalidRequest where it cannot count.

    Their groups are those of now; that they leave one later takes nothing back.
    """
    caller, now = req.caller, req.node.clock.time()
    waiting = await waiting_of(req.root, entry)
    assert entry is not None
    if not caller.entity_id:
        raise MultipleErrors("empty entity ID")
    if caller.namespace != waiting.home:
        raise InvalidRequest("who approves has to be of the namespace of the policy that asks for it")
    identity = (await req.node.home(caller)).identity
    profile = await identity.profile(req.node.store, caller.entity_id)
    if profile is None:
        raise PermissionDenied
    requester = await identity.profile(req.node.store, waiting.entity_id) if waiting.entity_id else None
    is_own = caller.entity_id == waiting.entity_id or (requester is not None and requester.id == profile.id)
    ids, names = {group.id for group in profile.groups}, {group.name.lower() for group in profile.groups}
    factors = tuple(
        factor.name
        for factor in waiting.factors
        if not (ids.isdisjoint(factor.group_ids) and names.isdisjoint(factor.group_names))
        and (factor.self_authorization or not is_own)
    )
    if not factors:
        return waiting
    others = tuple(each for each in waiting.approvals if each.entity_id != profile.id)
    waiting = replace(waiting, approvals=(*others, Approval(profile.id, profile.name, now, factors)))
    req.root.put(_key(entry), waiting.dump())
    return waiting


async def release(req: CoreRequest, entry: TokenEntry) -> Response:
    """The answer of the request that a token stands for, carried out after that token is spent: once."""
    waiting = await check(req.root, entry, req.node.clock.time())
    if entry.key != req.caller.key:  # else its one use has been counted; it is revoked after this request
        await req.node.tokens.revoke(req.root, entry.key)
    incoming = Incoming(
        str(uuid.uuid4()),
        waiting.operation,
        waiting.path,
        token=waiting.token,
        data=waiting.data,
        wrap_ttl=req.incoming.wrap_ttl or waiting.wrap_ttl,
        remote_address=req.incoming.remote_address,
        peer=req.incoming.peer,
        namespace=waiting.namespace,
        approved=waiting.factors,
    )
    response = Response()

    async def carry_out() -> None:
        answer = await req.node.core.handle(incoming)
        for each in fields(answer):
            setattr(response, each.name, getattr(answer, each.name))

    req.after_commit.append(carry_out)
    return response


def _key(entry: TokenEntry) -> str:
    return f"{cubbyhole(entry.key)}control-group"
