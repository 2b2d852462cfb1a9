"""The format of one file of the write-ahead log: a header, and records that each vouch for the one before.

A record has two checksums. One is of its head alone, seeded with the number of its segment, so that records can be
recognised beside damage and those of a file's former life are not. The other is a chain over everything before it,
across segments. And it says how much of the segment was known to be on disk when it was written: damage before that
mark is damage to what was promised, and damage after the last such mark the tail of a batch that a power cut tore.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple
from zlib import crc32

_MAGIC = b"CAVEWAL\x01"
_HEADER = struct.Struct("<8sQII")  # magic, number, the chain before the first record, checksum of these
_HEAD = struct.Struct("<IIIIIQQ")  # checksum of what follows here, chain, length, kind, durable, index, term
_SUMMED = struct.Struct("<IIIIQQ")
_COVERED = struct.Struct("<IIIQQ")

HEADER_SIZE = _HEADER.size
HEAD_SIZE = _HEAD.size


class Kind(IntEnum):
    ENTRY = 1  # of the log; one whose index is there already replaces it and all behind it
    BASE = 2  # an entry with which the log begins anew
    VOTE = 3  # the current term, and in the payload whom this node voted for in it
    NEXT = 4  # the last one of a segment that another follows
    END = 5  # closed in good order here


_KINDS = {kind.value: struct.pack("<I", kind) for kind in Kind}
_KIND_AT = 12  # where in a head its kind is


class Record(NamedTuple):
    kind: Kind
    idx: int
    term: int
    payload: bytes


def header(number: int, chain: int) -> bytes:
    start = _HEADER.pack(_MAGIC, number, chain, 0)[:-4]
    return start + struct.pack("<I", crc32(start))


def parse_header(data: bytes, number: int) -> int:
    """The chain before the first record; raises ValueError."""
    if len(data) < HEADER_SIZE:
        raise ValueError("it is cut short")
    magic, found, chain, checksum = _HEADER.unpack_from(data)
    if magic != _MAGIC or checksum != crc32(data[: HEADER_SIZE - 4]):
        raise ValueError("its header is damaged")
    if found != number:
        raise ValueError(f"it is number {found:x} under another name")
    return int(chain)


def encode(record: Record, number: int, chain: int, durable: int) -> tuple[bytes, int]:
    """The bytes of ``record`` in segment ``number``, and the chain after it."""
    kind, index, term, payload = record
    chain = crc32(payload, crc32(_COVERED.pack(len(payload), kind, durable, index, term), chain))
    summed = _SUMMED.pack(chain, len(payload), kind, durable, index, term)
    return struct.pack("<I", crc32(summed, number & 0xFFFFFFFF)) + summed + payload, chain


class Reader:
    """The records of a segment in order; afterwards it tells of their end."""

    def __init__(self, data: bytes, number: int) -> None:
        """Raises ValueError if the header is wrong."""
        self._data = data
        self._seed = number & 0xFFFFFFFF
        self.chain = parse_header(data, number)
        self.offset = HEADER_SIZE  # where the next record goes
        self.torn = False  # there are records of this segment further on, which do not follow
        self.damaged = False  # and one of them says that what should be here had been on disk

    def __iter__(self) -> Iterator[Record]:
        data = self._data
        while (head := self._head(self.offset)) is not None:
            _, chain, length, kind, durable, index, term = head
            start = self.offset + HEAD_SIZE
            payload = data[start : start + length]
            covered = _COVERED.pack(length, kind, durable, index, term)
            if len(payload) != length or crc32(payload, crc32(covered, self.chain)) != chain:
                break
            self.offset, self.chain = start + length, chain
            yield Record(Kind(kind), index, term, payload)
        for mark in self._later():
            self.torn = True
            self.damaged = self.damaged or mark > self.offset

    def _head(self, offset: int) -> tuple[int, int, int, int, int, int, int] | None:
        """What is at ``offset``, if it is the head of a record of this segment."""
        if offset + HEAD_SIZE > len(self._data):
            return None
        head: tuple[int, int, int, int, int, int, int] = _HEAD.unpack_from(self._data, offset)
        if head[0] != crc32(self._data[offset + 4 : offset + HEAD_SIZE], self._seed) or head[3] not in _KINDS:
            return None
        return head

    def _later(self) -> Iterator[int]:
        """How much was durable, by each record that is to be found beyond the end."""
        for kind in _KINDS.values():
            at = self._data.find(kind, self.offset + _KIND_AT)
            while at >= 0:
                head = self._head(at - _KIND_AT)
                if head is not None:
                    yield head[4]
                at = self._data.find(kind, at + 1)
