"""Looking after the members, on the leader: new nodes become voters once they have shown to be well, and nodes that
have been gone for long are removed, if that is wished."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import orjson

from ...framework.errors import CaveauError, InvalidRequest
from ...storage.raft.engine import Peer, Server, Status
from .admission import NODES

if TYPE_CHECKING:
    from .cluster import Cluster

_log = logging.getLogger(__name__)

SETTINGS = "core/raft/autopilot"


@dataclass(frozen=True, slots=True, kw_only=True)
class AutopilotSettings:
    """Names and defaults as in Vault; durations in seconds."""

    cleanup_dead_servers: bool = False
    dead_server_last_contact_threshold: float = 24 * 3600.0
    last_contact_threshold: float = 10.0
    max_trailing_logs: int = 1000
    min_quorum: int = 0
    server_stabilization_time: float = 10.0

    def check(self) -> None:
        """Raises InvalidRequest."""
        if self.cleanup_dead_servers and self.min_quorum < 3:
            raise InvalidRequest(
                "min_quorum must be set when cleanup_dead_servers is set and it should at least be 3; "
                f"cleanup_dead_servers: true, min_quorum: {self.min_quorum}"
            )
        if self.cleanup_dead_servers and self.dead_server_last_contact_threshold < 60:
            raise InvalidRequest(
                "dead_server_last_contact_threshold should not be less than 1m; received: "
                f'"{self.dead_server_last_contact_threshold:g}s"'
            )
        if self.max_trailing_logs < 0 or self.min_quorum < 0:
            raise InvalidRequest("max_trailing_logs and min_quorum are not below zero")


@dataclass(frozen=True, slots=True)
class Health:
    """Of one member. ``silent``: seconds since the leader heard of it; ``stable``: since when it has been as healthy,
    or not, as it is, in seconds since the epoch."""

    server: Server
    silent: float
    connected: bool
    healthy: bool
    last: int
    stable: float


class Autopilot:
    """Only the leader's knows anything, and from the beginning of its lead on."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._since: dict[str, tuple[bool, float]] = {}  # by node: how it is, and since when
        self._known: dict[str, float] = {}  # by node: since when this node, the leader, waits to hear of it

    async def settings(self) -> AutopilotSettings:
        raw = await self._cluster.read(SETTINGS)
        return AutopilotSettings(**orjson.loads(raw)) if raw else AutopilotSettings()

    async def configure(self, changes: dict[str, Any]) -> None:
        """Raises InvalidRequest, and changes nothing then."""
        settings = replace(await self.settings(), **changes)
        settings.check()
        await self._cluster.write({SETTINGS: orjson.dumps(asdict(settings))})

    def forget(self) -> None:
        """This node has begun to lead."""
        self._since.clear()
        self._known.clear()

    def look(self, settings: AutopilotSettings) -> list[Health]:
        """How every member is, by what this node, the leader, knows."""
        status, now = self._cluster.engine.status, self._cluster.clock.time()
        peers = {peer.id: peer for peer in status.peers}
        found = []
        for server in status.configuration.servers:
            itself = server.id == status.node
            peer = peers.get(server.id)
            known = self._known.setdefault(server.id, now)
            healthy = itself or (peer is not None and _healthy(peer, status, settings))
            before = self._since.get(server.id)
            if before is None or before[0] != healthy:
                before = self._since[server.id] = healthy, now
            found.append(
                Health(
                    server,
                    0.0 if itself or peer is None else min(peer.silent, now - known),
                    itself or (peer is not None and peer.connected),
                    healthy,
                    status.last if itself else peer.match if peer else 0,
                    before[1],
                )
            )
        members = {server.id for server in status.configuration.servers}
        for gone in self._known.keys() - members:
            del self._known[gone], self._since[gone]
        return found

    async def tick(self) -> None:
        """Do what is due: at most one change, for the next is to see what it came to."""
        if not self._cluster.engine.leading:
            return
        settings = await self.settings()
        members = self.look(settings)
        try:
            if not await self._promote(members, settings) and settings.cleanup_dead_servers:
                await self._clean_up(members, settings)
        except CaveauError as error:
            _log.info("autopilot: %s; it is tried again", error)

    async def _promote(self, members: list[Health], settings: AutopilotSettings) -> bool:
        now = self._cluster.clock.time()
        for each in members:
            stable = each.healthy and now - each.stable >= settings.server_stabilization_time
            if not each.server.voter and stable and not await self.stays_non_voter(each.server.id):
                await self._cluster.engine.promote(each.server.id)
                _log.info("node %s is well and has the whole log: it votes from now on", each.server.id)
                return True
        return False

    async def _clean_up(self, members: list[Health], settings: AutopilotSettings) -> None:
        voters = [each for each in members if each.server.voter]
        dead = [each for each in members if each.silent > settings.dead_server_last_contact_threshold]
        dead_voters = [each for each in dead if each.server.voter]
        for each in dead:
            if each.server.voter and (
                len(voters) - 1 < settings.min_quorum or len(voters) - len(dead_voters) <= len(voters) // 2
            ):
                continue
            await self._cluster.remove(each.server.id)
            _log.warning("node %s was removed: nobody has heard of it for %.0f s", each.server.id, each.silent)
            return

    async def stays_non_voter(self, node: str) -> bool:
        """Whether it joined, or was demoted, never to vote."""
        raw = await self._cluster.read(NODES + node)
        return bool(raw and orjson.loads(raw)["non_voter"])


def _healthy(peer: Peer, status: Status, settings: AutopilotSettings) -> bool:
    near = status.last - peer.match <= settings.max_trailing_logs
    return peer.connected and near and peer.silent <= settings.last_contact_threshold
