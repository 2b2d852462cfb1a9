"""A replica's view of itself and of the others."""

from __future__ import annotations

from .engine import Peer, Status
from .replica import Replica


def status(replica: Replica, failure: str) -> Status:
    core, guard, log = replica.core, replica.guard, replica.log
    now = replica.now()
    peers: tuple[Peer, ...] = ()
    if core.is_leader:
        peers = tuple(
            Peer(
                id=node,
                connected=core.is_connected(node),
                match=core.match(node),
                silent=max(now - core.heard(node), 0.0),
                round_trip=guard.trips.get(node),
                fsync=guard.fsyncs.get(node),
                installing=node in replica.transfers.to,
            )
            for node in sorted(core.members)
        )
    return Status(
        node=replica.node,
        role=core.role,
        term=core.term,
        leader=replica.leader(),
        first=log.first,
        last=log.last,
        commit=core.commit,
        applied=replica.machine.index,
        configuration=log.members,
        pending=replica.pending,
        peers=peers,
        failure=failure,
    )
