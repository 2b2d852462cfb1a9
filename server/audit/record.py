"""One request as the audit log follows it through the pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

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
    from .entry import Formatter, Frame

_READS: Final = frozenset({"read", "list", "scan"})


class Record:
    """What is known of a request so far. The pipeline hands over what it finds; the entries come of that."""

    __slots__ = (
        "_broker",
        "_node",
        "_placed",
        "_posted",
        "asked",
        "began",
        "decision",
        "failed",
        "given",
        "incoming",
        "mount",
        "namespace",
        "now",
        "op",
        "token",
    )

    def __init__(self, broker: Broker, incoming: Incoming, node: Node) -> None:
        self._broker = broker
        self._node = node
        self._posted: list[Group] | None = None
        self._placed = False  # whether mount and namespace are known
        self.asked: dict[Formatter, tuple[Frame, bytes]] = {}  # what is written of the request already
        self.incoming = incoming
        self.now = node.clock.time
        self.op = incoming.op
        self.mount: Mount | None = None
        self.namespace: Namespace = node.namespace
        self.began = 0.0  # when its handler began to run, seconds since the epoch
        self.token: TokenEntry | None = None
        self.decision: Decision | None = None
        self.given: TokenEntry | None = None  # the token that the answer brings
        self.failed = False

    @classmethod
    def of_the_first_device(cls, broker: Broker, req: CoreRequest) -> Record:
        """Of the request that enables it: there was nobody to tell of the request, and there is of the answer."""
        record = cls(broker, req.incoming, req.node)
        record.found(req, req.permissions.allow(req.op, req.acl_path))
        record._posted = []
        return record

    # What the pipeline tells

    def found(self, req: CoreRequest, decision: Decision | None) -> None:
        """The request with its token, and what its policies say."""
        self.token, self.decision, self.op, self.mount = req.token, decision, req.op, req.mount
        self.namespace, self._placed = req.node.namespace, True

    def begins(self, req: CoreRequest, decision: Decision | None) -> None:
        """The handler is about to run. Of one that only reads, both entries are written when the answer is there."""
        self.found(req, decision)
        self.began = self.began or self.now()
        if self.op not in _READS:
            self._post()

    async def recorded(self) -> None:
        """Return once the request's entry is recorded, so that the handler may change something.

        Raises AuditFailed.
        """
        await self._broker.recorded(self._post(), "request")

    async def answered(self, response: Response) -> None:
        """Write the entry of the answer; raises AuditFailed unless both entries are recorded.

        Raises Sealed when the devices were closed meanwhile, except to the one who had the server sealed.
        """
        if self._broker.closed:
            if self.incoming.path == "sys/seal":
                return
            raise Sealed
        asked = self._post()
        await self._both(asked, self._broker.post_response(self, response))

    async def refused(self, error: CaveauError) -> None:
        """Write the entry of an error, and of the request if it did not get that far; raises AuditFailed."""
        if self._broker.closed:
            self.failed = True
            return
        asked = self._post(error)
        self.failed = True
        await self._both(asked, self._broker.post_response(self, None, error))

    async def _both(self, asked: list[Group], answered: list[Group]) -> None:
        if asked == answered:  # the same groups
            await self._broker.recorded(answered, "request", "response")
        else:
            await self._broker.recorded(asked, "request")
            await self._broker.recorded(answered, "response")

    def broken_off(self) -> None:
        """The request ends without an answer."""
        if not self._broker.closed:
            self._post(failed=True)

    def _post(self, error: CaveauError | None = None, *, failed: bool = False) -> list[Group]:
        """Hand over the entry of the request, once. ``error``, or ``failed``: why its handler will not run."""
        if self._posted is None:
            if not self._placed:
                self._place()
            if self.began:
                error = None  # came of the handler: for the response to tell
            else:
                self.failed = failed or error is not None
            if isinstance(error, UnsupportedPath | UnsupportedOperation):
                error = None  # Vault finds out after this entry
            self._posted = self._broker.post_request(self, error)
        return self._posted

    def _place(self) -> None:
        """Where a request is that did not get as far as its handler."""
        incoming, node = self.incoming, self._node
        found = None if incoming.namespace else node.router.match(incoming.path)
        self.mount = found[0] if found else None
        self.namespace = node.namespaces.at(incoming.namespace) or node.namespace

    # What the entries need

    @property
    def headers(self) -> Mapping[str, bool]:
        """Names of the request headers to show, each with whether its values are hashed."""
        return self._broker.headers

    @property
    def is_login(self) -> bool:
        """Whether the token in the answer, if there is one, is the caller's own."""
        return self.decision is None
