"""A request on its way through the server: as it comes in, and as the server's own engines see it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from ..framework import Request, View
from .mounts import Mount
from .tokens import TokenEntry

if TYPE_CHECKING:
    from .audit.record import Record
    from .node import Node
    from .policy import ACL, Factor
    from .telemetry.tracing import RequestSpan

AfterCommit = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Incoming:
    """One HTTP request, freed of HTTP. ``op``: read, update, patch, delete, list, scan, header (HEAD), help.

    ``path``: below ``/v1/``, decoded. ``namespace``: from its header; once the request has been taken up, the path
    ("" for root, else with a slash at its end) of the namespace in which ``path`` is. ``wrap_ttl``:
    seconds, None without the header. ``peer``: the other end of
    the connection as its socket names it. ``content``: the body as it arrives, of a path that takes what is no JSON.
    ``audit``: what follows the request for the audit devices, if there are any.
    """

    id: str
    op: str
    path: str
    token: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    wrap_ttl: float | None = None
    remote_address: str = ""
    peer_certificate: bytes | None = None
    answer_headers: Mapping[str, str] | None = None  # for its answer, an error too
    peer: object = None
    audit: Record | None = None
    span: RequestSpan | None = None  # where traces are made
    login: bool = False  # whether it turned out to be for a path of an auth method that needs no token
    namespace: str = ""
    content: AsyncIterator[bytes] | None = None
    approved: tuple[Factor, ...] = ()  # the factors that approvals satisfy, of a request that has waited for them


class UnderWay(NamedTuple):
    """A request that is being answered. ``began``: seconds since the epoch; ``client``: its address and port."""

    id: str
    began: float
    client: str
    path: str
    method: str


@dataclass(slots=True)
class CoreRequest(Request):
    """What the server's own engines (``sys``, ``auth/token``) get on top of a plain request.

    ``root``: the whole store, in the same transaction as ``storage``. ``acl_path``: the path of the request as the
    policies of its token name it.
    """

    incoming: Incoming = None  # type: ignore[assignment]
    node: Node = None  # type: ignore[assignment]  # set by the pipeline wherever there is one
    mount: Mount = None  # type: ignore[assignment]
    root: View = None  # type: ignore[assignment]
    token: TokenEntry | None = None
    acl: ACL | None = None
    acl_path: str = ""
    after_commit: list[AfterCommit] = None  # type: ignore[assignment]  # of requests that write
    on_commit: Callable[[Callable[[], None]], None] = lambda callback: None
    intents: list[str] | None = None  # ids of what its handler intends, where that reaches outside the store

    async def intend(self, kind: str, details: Mapping[str, Any]) -> None:
        if self.intents is None:
            raise TypeError(f"the route of {self.op} {self.path!r} is not marked as external and writing")
        intents = self.node.intents
        intent = await intents.note(self.mount, self.mount.point + self.path, kind, details, self.intents)
        intents.settle(self.root, intent)

    @property
    def caller(self) -> TokenEntry:
        """The token of an authenticated request."""
        assert self.token is not None
        return self.token

    @property
    def permissions(self) -> ACL:
        assert self.acl is not None
        return self.acl
