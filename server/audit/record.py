"""One request as the audit log follows it through the pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...framework import Response
from ...framework.errors import CaveauError, Sealed, UnsupportedOperation, UnsupportedPath

if TYPE_CHECKING:
    from ..layout import Namespace
    from ..mounts import Mount
    from ..node import Node
    from ..policy import Decision
    from ..request import CoreRequest, Incoming
    from ..tokens import TokenEntry
    from .broker import Broker
    from .channel import Group
    from .entry import Formatter


class Record:
    """What is known of a request so far. The pipeline hands over what it finds; the entries come of that."""

    __slots__ = ("_broker", "_node", "_posted", "_req", "asked", "decision", "failed", "incoming", "token")

    def __init__(self, broker: Broker, incoming: Incoming, node: Node) -> None:
        self._broker = broker
        self._node = node
        self._req: CoreRequest | None = None
        self._posted: list[Group] | None = None
        self.asked: dict[Formatter, bytes] = {}  # what is written of the request already
        self.incoming = incoming
        self.token: TokenEntry | None = None
        self.decision: Decision | None = None
        self.failed = False

    # What the pipeline tells

    def found(self, req: CoreRequest, decision: Decision | None) -> None:
        """The request with its token, and what its policies say."""
        self._req, self.decision = req, decision
        self.token = req.token

    async def begin(self, *, wait: bool) -> None:
        """Write the request's entry, once, before its handler runs; raises AuditFailed.

        ``wait``: until it is recorded, because the handler will change something. Without that both entries
        are waited for before the answer leaves.
        """
        if self._posted is None:
            self._posted = self._broker.post_request(self)
        if wait:
            await self._broker.recorded(self._posted, "request")

    async def answered(self, response: Response) -> None:
        """Write the entry of the answer; raises AuditFailed unless both entries are recorded.

        Raises Sealed when the devices were closed meanwhile, except to the one who had the server sealed.
        """
        if self._broker.closed:
            if self.incoming.path == "sys/seal":
                return
            raise Sealed
        if self._posted is None:
            self._posted = self._broker.post_request(self)
        groups = self._broker.post_response(self, response)
        await self._broker.recorded(self._posted, "request")
        await self._broker.recorded(groups, "response")

    async def refused(self, error: CaveauError) -> None:
        """Write the entry of an error, and of the request if it did not get that far; raises AuditFailed."""
        self.failed = True
        if self._broker.closed:
            return
        if self._posted is None:
            away = isinstance(error, UnsupportedPath | UnsupportedOperation)  # Vault finds out after this entry
            self._posted = self._broker.post_request(self, None if away else error)
        groups = self._broker.post_response(self, None, error)
        await self._broker.recorded(self._posted, "request")
        await self._broker.recorded(groups, "response")

    def broken_off(self) -> None:
        """The request ends without an answer."""
        if self._posted is None and not self._broker.closed:
            self.failed = True
            self._posted = self._broker.post_request(self)

    # What the entries need

    @property
    def mount(self) -> Mount | None:
        if self._req is not None:
            return self._req.mount
        found = None if self.incoming.namespace else self._node.router.match(self.incoming.path)
        return found[0] if found else None

    @property
    def namespace(self) -> Namespace:
        if self._req is not None:
            return self._req.node.namespace
        return self._node.namespaces.at(self.incoming.namespace) or self._node.namespace

    @property
    def op(self) -> str:
        return self._req.op if self._req is not None else self.incoming.op

    @property
    def headers(self) -> Mapping[str, bool]:
        """Names of the request headers to show, each with whether its values are hashed."""
        return self._broker.headers

    @property
    def is_login(self) -> bool:
        """Whether the token in the answer, if there is one, is the caller's own."""
        return self.decision is None

    def now(self) -> float:
        return self._node.clock.time()
