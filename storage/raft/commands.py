"""What an entry of the log says. The first byte is its kind; the rest is msgpack, and values are ciphertext."""

from __future__ import annotations

from enum import IntEnum
from itertools import chain
from typing import Any

import msgpack

from ...framework.errors import StoreError
from ...framework.storage import Batch
from .engine import Configuration, Server


class Kind(IntEnum):
    """0 to 2 are PySyncObj's. It would unpickle a 3."""

    BATCH = 0
    NOTHING = 1
    CONFIGURATION = 2
    STAGE = 4  # a part of a state that is to be restored; the first part has no rows
    RESTORE = 5  # what was staged is the state now


NOTHING = bytes([Kind.NOTHING])
RESTORE = bytes([Kind.RESTORE])
LONGEST = 60 << 20
"""Bytes of an entry: one must fit into a message."""


def kind(command: bytes) -> Kind:
    return Kind(command[0])


def batch(rows: Batch, of: Kind = Kind.BATCH) -> bytes:
    """Raises StoreError when it is too long."""
    command: bytes = bytes([of]) + msgpack.packb(list(chain.from_iterable(rows.items())))
    if len(command) > LONGEST:
        raise StoreError(f"{len(command)} bytes at once are more than the cluster takes ({LONGEST})")
    return command


def rows(command: bytes) -> dict[str, bytes | None]:
    flat = _unpack(command)
    return dict(zip(flat[::2], flat[1::2], strict=True))


def configuration(members: Configuration) -> bytes:
    servers = [[server.id, server.address, server.voter] for server in members.servers]
    return bytes([Kind.CONFIGURATION]) + bytes(msgpack.packb(servers))


def members(command: bytes, index: int) -> Configuration:
    """``index``: of the entry."""
    return Configuration(tuple(Server(*server) for server in _unpack(command)), index)


def _unpack(command: bytes) -> list[Any]:
    unpacked: list[Any] = msgpack.unpackb(memoryview(command)[1:])
    return unpacked
