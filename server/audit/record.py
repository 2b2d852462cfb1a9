"""One request as the audit log follows it through the pipeline."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Final

from ...framework import Response
from ...framework.errors import CaveauError, UnsupportedOperation, UnsupportedPath

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
        "answered",
        "asked",
        "began",
        "decision",
        "error",
        "given",
        "gone",
        "incoming",
        "mount",
        "namespace",
        "now",
        "op",
        "response",
        "texts",
        "token",
    )

    def __init__(self, broker: Broker, incoming: Incoming, node: Node) -> None:
        self._broker = broker
        self._node = node
        self._placed = False  # whether mount and namespace are known
        self.incoming = incoming
        self.now = node.clock.time
        self.op = incoming.op
        self.mount: Mount | None = None
        self.namespace: Namespace = node.namespace
        self.token: TokenEntry | None = None
        self.decision: Decision | None = None
        self.began = 0.0  # when its handler began to run, seconds since the epoch
        self.response: Response | None = None
        self.error: CaveauError | None = None  # instead of a response
        self.gone = False  # whether there will be neither
        self.given: TokenEntry | None = None  # the token that the response brings
        self.texts: dict[Formatter, tuple[Frame, bytes]] = {}  # what the request's entry says of the request
        self.asked: list[Group] | None = None  # where that entry went, once it was written
        self.answered: list[Group] | None = None  # where the response's went

    @classmethod
    def of_the_first_device(cls, broker: Broker, req: CoreRequest) -> Record:
        """Of the request that enables it: there was nobody to tell of the request, and there is of the answer."""
        record = cls(broker, req.incoming, req.node)
        record.found(req, req.permissions.allow(req.op, req.acl_path))
        record.asked = []
        return record

    # What the pipeline tells

    def found(self, req: CoreRequest, decision: Decision | None) -> None:
        """The request with its token, and what its policies say."""
        self.token, self.decision, self.op, self.mount = req.token, decision, req.op, req.mount
        self.namespace, self._placed = req.node.namespace, True

    def begins(self, req: CoreRequest, decision: Decision | None, *, changes: bool) -> bool:
        """The handler is about to run; whether it is to wait for ``recorded`` first, because it ``changes`` something.

        Of one that only reads, both entries are written when the answer is there.
        """
        self.found(req, decision)
        if self.asked is not None:  # it runs again
            return False
        self.began = self.now()
        if not changes and self.op not in _READS:
            self._post()
        return changes

    def recorded(self) -> Awaitable[None]:
        """Return once the entries are recorded that it is to have by now; raises AuditFailed."""
        return self._broker.recorded(self)

    def broken_off(self) -> None:
        """The request ends without an answer."""
        if self.asked is None and not self.ended and not self._broker.closed:
            self.gone = True
            self._post()

    def _post(self) -> None:
        self._broker.turn()
        self.asked = self._broker.post_request(self)

    def place(self) -> None:
        """Find out where a request is that did not get as far as its route."""
        if self._placed:
            return
        incoming, node = self.incoming, self._node
        found = None if incoming.namespace else node.router.match(incoming.path)
        self.mount = found[0] if found else None
        self.namespace = node.namespaces.at(incoming.namespace) or node.namespace

    # What the entries need

    @property
    def ended(self) -> bool:
        return self.response is not None or self.error is not None

    @property
    def refusal(self) -> CaveauError | None:
        """Why its handler did not run, as far as the request's entry tells."""
        if self.began or isinstance(self.error, UnsupportedPath | UnsupportedOperation):  # Vault finds out later
            return None
        return self.error

    @property
    def headers(self) -> Mapping[str, bool]:
        """Names of the request headers to show, each with whether its values are hashed."""
        return self._broker.headers

    @property
    def is_login(self) -> bool:
        """Whether the token in the answer, if there is one, is the caller's own."""
        return self.decision is None
