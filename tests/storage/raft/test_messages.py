from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

import pytest
from caveau.storage.raft.messages import Malformed, decode, encode, msgpack
from caveau.storage.raft.wal import Entry

APPEND: dict[str, Any] = {
    "type": "append_entries",
    "term": 3,
    "commit_index": 5,
    "entries": [Entry(b"\0x", 7, 2), Entry(b"\0y", 8, 3)],
    "prevLogIdx": 6,
    "prevLogTerm": 2,
    "seq": 1,
    "sent": 1.5,
    "lease": 0.5,
    "timeout": 0.8,
}


def test_what_is_sent_arrives() -> None:
    assert decode(encode(dict(APPEND))) == APPEND


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"term": "3"}, "term of append_entries"),
        ({"term": -1}, "term of append_entries"),
        ({"term": True}, "term of append_entries"),
        ({"extra": 1}, "other fields"),
        ({"type": "apply_command"}, "no known type"),
        ({"type": ["append_entries"]}, "no known type"),
        ({"entries": [[b"x", 7]]}, "an entry is wrong"),
        ({"entries": [[b"", 7, 2]]}, "an entry is wrong"),
        ({"entries": ["x"]}, "an entry is wrong"),
        ({"entries": [[b"x", 8, 2]]}, "do not follow"),
        ({"entries": [[b"x", 7, 1]]}, "do not follow"),
        ({"entries": [[b"x", 7, 4]]}, "do not follow"),
    ],
)
def test_another_shape_is_refused(change: dict[str, Any], why: str) -> None:
    with pytest.raises(Malformed, match=why):
        decode(msgpack.packb(APPEND | change))


def test_a_missing_field_is_refused() -> None:
    for field in APPEND:
        with pytest.raises(Malformed):
            decode(msgpack.packb({key: value for key, value in APPEND.items() if key != field}))


def test_noise_is_refused_and_nothing_else_happens() -> None:
    rng = random.Random(1)
    whole = encode(dict(APPEND))
    for _ in range(3000):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        with suppress(Malformed):
            decode(bytes(data[: rng.randint(0, len(data))]) if rng.random() < 0.3 else bytes(data))
    for data in (b"", b"\x91" * 100_000, b"\xdf\xff\xff\xff\xff", b"\xc7\x08\x05" + bytes(8), rng.randbytes(1000)):
        with pytest.raises(Malformed):
            decode(data)
