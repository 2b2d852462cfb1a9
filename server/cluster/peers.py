"""``peers.json``: members that a person decides on before a start, because most voters are gone for good.

The file is as Vault has it: a list of objects with ``id``, ``address`` (``host:port``) and ``non_voter``. It is taken
up once, by a node whose directory it is put into, and then removed. ``operator raft recover`` does the same and looks
first at who has the newest log.
"""

from __future__ import annotations

import logging
from pathlib import Path

import orjson

from ...framework.errors import InvalidRequest, StoreError
from ...storage.raft.engine import Server
from ...storage.raft.repair import force
from ..config import split_address
from .settings import NODE

_log = logging.getLogger(__name__)

_LARGEST = 1 << 20  # bytes


def take_up(directory: Path, node: str) -> None:
    """Make those that the file in ``directory`` names the members, if there is one. ``node``: whose directory it is.
    Raises StoreError naming what is wrong with the file: then nothing has changed."""
    file = next((path for path in (directory / "raft" / "peers.json", directory / "peers.json") if path.exists()), None)
    if file is None:
        return
    try:
        servers = _servers(file.read_bytes()[: _LARGEST + 1])
    except (ValueError, TypeError, InvalidRequest, OSError) as error:
        raise StoreError(f"{file}: {error}") from None
    if node not in {server.id for server in servers}:
        raise StoreError(f"{file}: this node, {node}, is not among the members")
    done = force(directory, servers)
    file.unlink()
    names = ", ".join(server.id for server in servers)
    _log.warning("%s: the members of the cluster are %s from entry %d on", file, names, done.applied)


def _servers(raw: bytes) -> list[Server]:
    """Raises ValueError, TypeError and InvalidRequest."""
    if len(raw) > _LARGEST:
        raise ValueError("it is too long")
    peers = orjson.loads(raw)
    if not isinstance(peers, list) or not all(isinstance(peer, dict) for peer in peers):
        raise TypeError("it is not a list of objects")
    servers = []
    for peer in peers:
        id_, address, non_voter = peer.get("id"), peer.get("address"), peer.get("non_voter", False)
        if not isinstance(id_, str) or not NODE.fullmatch(id_):
            raise ValueError("every member has an id, as node_id has it")
        if not isinstance(address, str) or not isinstance(non_voter, bool):
            raise TypeError("a member has an address, host:port, and non_voter, true or false")
        split_address(address)
        servers.append(Server(id_, address, not non_voter))
    if len({server.id for server in servers}) < len(servers):
        raise ValueError("two members have the same id")
    return servers
