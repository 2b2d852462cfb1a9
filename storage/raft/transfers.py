"""Whole states on their way: from a leader to the nodes that lag, and on such a node into its place."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from . import commands
from .messages import Message
from .snapshot import RESEND, Receiving, Sending, Source

if TYPE_CHECKING:
    from .replica import Replica

_log = logging.getLogger(__name__)

_RETAINED = 128 << 20
"""Bytes up to which the log is kept for a node that a state is being sent to. Above, it will need another one."""


class Transfers:
    """Of one node, in both directions."""

    def __init__(self, replica: Replica, deliver: Callable[[str, Message], None]) -> None:
        self._replica = replica
        self._deliver = deliver
        self._count = 0
        self._making = ""  # for this node a state is being put down
        self._sending: dict[str, Sending] = {}
        self._receiving: Receiving | None = None
        self._part: tuple[str, Message] | None = None  # being written
        self._failed: OSError | None = None

    @property
    def to(self) -> frozenset[str]:
        return frozenset(self._sending)

    # On the leader

    def begin(self) -> None:
        """Send to those that lag what they need."""
        core = self._replica.core
        for node in [node for node in self._sending if node not in core.lagging]:
            self.gone(node)
        for node in sorted(core.lagging):
            sending = self._sending.get(node)
            if sending is not None:
                if self._replica.now() > sending.sent + RESEND:
                    self._send(node, sending)
            elif not self._making and core.is_connected(node):
                self._making = node
                self._replica.background(self._replica.machine.source, self._made)

    def _made(self, source: object) -> None:
        node, self._making = self._making, ""
        core = self._replica.core
        if source is None:
            return
        made: Source = source  # type: ignore[assignment]
        if not core.is_leader or node not in core.lagging or not core.is_connected(node):
            self._close(made)
            return
        self._count += 1
        sending = self._sending[node] = Sending(made, core.term, self._count)
        self._send(node, sending)

    def _send(self, node: str, sending: Sending) -> None:
        members = commands.configuration(sending.source.members)
        self._deliver(node, sending.part(members, self._replica.now()))

    def needed(self) -> int:
        """The log is to be kept from here on."""
        if not self._sending or self._replica.log.size > _RETAINED:
            return self._replica.log.last
        return min(sending.source.index for sending in self._sending.values())

    def gone(self, node: str) -> None:
        """It will begin anew."""
        sending = self._sending.pop(node, None)
        if sending is not None:
            self._close(sending.source)

    def stop(self) -> None:
        """This node leads no more."""
        for node in list(self._sending):
            self.gone(node)
        self._replica.core.lagging.clear()

    def _close(self, source: Source) -> None:
        self._replica.background(source.close, lambda _: None)

    # Messages

    def receive(self, node: str, message: Message) -> None:
        if message["type"] == "snapshot":
            self._take(node, message)
        else:
            self._answered(node, message)

    def _answered(self, node: str, message: Message) -> None:
        core, sending = self._replica.core, self._sending.get(node)
        if (
            sending is None
            or node not in core.members
            or message["term"] != core.term
            or message["number"] != sending.number
        ):
            return
        if message["offset"] < sending.source.size:
            sending.offset = message["offset"]
            self._send(node, sending)
            return
        core.has(node, sending.source.index)
        core.lagging.discard(node)
        self.gone(node)

    def _take(self, node: str, message: Message) -> None:
        core, log = self._replica.core, self._replica.log
        if not self._replica.guard.follows(node, message["term"]):
            return
        core.follow(node, message["term"])
        index = message["index"]
        if index <= core.commit or log.term(index) == message["last_term"]:
            core.learned_commit(index)
            self._forget()
            self._acknowledge(node, message, message["size"])
            return
        if self._part is not None:
            return  # one at a time: it comes again
        if self._receiving is None or not self._receiving.is_of(node, message):
            self._forget()
            if message["offset"]:
                self._acknowledge(node, message, 0)
                return
            self._receiving = Receiving(node, message, self._replica.machine.sink())
        receiving = self._receiving
        write = receiving.take(message)
        if write is None:
            self._acknowledge(node, message, receiving.offset)
            return
        self._part = node, message
        self._replica.work.append(lambda: self._work(write))

    def _work(self, write: Callable[[], None]) -> None:
        """Off the event loop."""
        assert self._part is not None
        assert self._receiving is not None
        message, receiving = self._part[1], self._receiving
        try:
            write()
            if receiving.whole(message) and receiving.right(message):
                members = commands.members(message["members"], message["members_index"])
                receiving.sink.install(message["index"], message["last_term"], members)
        except OSError as error:
            self._failed = error

    def settle(self) -> None:
        """The work is done."""
        part, self._part = self._part, None
        if part is None:
            return
        assert self._receiving is not None
        node, message = part
        failed, self._failed = self._failed, None
        if failed is not None:
            _log.error("a state that node %s sends cannot be stored: %s", node, failed)
            self._forget()
        elif not self._receiving.whole(message):
            self._acknowledge(node, message, self._receiving.offset)
        elif not self._receiving.right(message):
            _log.error("a state that node %s has sent is not what it should be: it is to send it again", node)
            self._forget()
            self._acknowledge(node, message, 0)
        else:
            self._receiving = None
            self._replica.installed(message["index"], message["last_term"])
            self._acknowledge(node, message, message["size"])

    def _acknowledge(self, node: str, message: Message, offset: int) -> None:
        term = self._replica.core.term
        ack = {"type": "snapshot_ack", "term": term, "number": message["number"], "offset": offset}
        self._replica.guard.send(node, ack)

    def _forget(self) -> None:
        receiving, self._receiving = self._receiving, None
        if receiving is not None:
            self._replica.work.append(receiving.sink.close)
