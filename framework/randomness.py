"""Random bytes for what takes a few of them thousands of times a second."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import chain

_POOL = 256


def pieces(size: int, random_bytes: Callable[[int], bytes] = os.urandom) -> Iterator[bytes]:
    """``size`` random bytes at a time, without end; one system call gives many pieces."""

    def pools() -> Iterator[list[bytes]]:
        while True:
            pool = random_bytes(size * _POOL)
            yield [pool[at : at + size] for at in range(0, len(pool), size)]

    return chain.from_iterable(pools())
