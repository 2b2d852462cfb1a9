"""Messages between nodes: msgpack maps, each checked for shape before anything looks into it."""

from __future__ import annotations

from typing import Any

import msgpack

from .wal import Entry

Message = dict[str, Any]

LONGEST = 64 << 20
"""Bytes of a message."""

_SHAPES: dict[str, dict[str, type]] = {
    "append_entries": {
        "term": int,
        "commit_index": int,
        "entries": list,
        "prevLogIdx": int,
        "prevLogTerm": int,
        "seq": int,
        "sent": float,  # of the leader's clock: comes back in the answer
        "lease": float,  # seconds for which whoever gets this votes for nobody else
        "timeout": float,  # seconds of silence after which an election is due
    },
    "next_node_idx": {
        "term": int,
        "next_node_idx": int,
        "reset": bool,
        "success": bool,
        "seq": int,
        "sent": float,
        "fsync": float,
    },
    "request_vote": {"term": int, "last_log_index": int, "last_log_term": int, "transfer": bool},
    "response_vote": {"term": int},
    "ask_vote": {"term": int, "last_log_index": int, "last_log_term": int},
    "would_vote": {"term": int, "granted": bool},
    "newer_term": {"term": int},
    "timeout_now": {"term": int},
    "read_index": {"id": int},
    "read_answer": {"id": int, "index": int},
    "snapshot": {
        "term": int,
        "number": int,
        "index": int,
        "last_term": int,
        "members": bytes,
        "members_index": int,
        "size": int,
        "offset": int,
        "data": bytes,
        "sha256": bytes,  # of the whole; with the last part
    },
    "snapshot_ack": {"term": int, "number": int, "offset": int},
}


class Malformed(ValueError):
    """Not a message of ours. The connection it came on is to be closed."""


def encode(message: Message) -> bytes:
    packed: bytes = msgpack.packb(message)
    return packed


def decode(data: bytes) -> Message:
    """Raises Malformed."""
    try:
        message: Message = msgpack.unpackb(data)
    except (ValueError, msgpack.UnpackException) as error:
        raise Malformed(f"not msgpack: {error}") from None
    name = message.get("type") if isinstance(message, dict) else None
    shape = _SHAPES.get(name) if isinstance(name, str) else None
    if shape is None:
        raise Malformed("of no known type")
    if len(message) != len(shape) + 1:
        raise Malformed(f"{name} has other fields")
    for field, kind in shape.items():
        value: Any = message.get(field)
        if type(value) is not kind or (isinstance(value, int) and value < 0):
            raise Malformed(f"{field} of {name} is wrong")
    if "entries" in message:
        message["entries"] = _entries(message)
    return message


def _entries(message: Message) -> list[Entry]:
    """They follow one another, and none is of a later term than the message."""
    index, term = message["prevLogIdx"], message["prevLogTerm"]
    entries = []
    for item in message["entries"]:
        if type(item) is not list or [type(value) for value in item] != [bytes, int, int] or not item[0]:
            raise Malformed("an entry is wrong")
        entry = Entry(*item)
        index += 1
        if entry.idx != index or not term <= entry.term <= message["term"]:
            raise Malformed("the entries do not follow one another")
        term = entry.term
        entries.append(entry)
    return entries
