"""What the interpreter tells of itself, in the words that Go's runtime has for it."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

from ...framework.metrics import Metrics, Value, value

_STATM = Path("/proc/self/statm")
_NANOSECONDS = 1e9


class Collections:
    """Times the runs of the garbage collector, from ``watch`` to ``close``."""

    def __init__(self, metrics: Metrics) -> None:
        self._pauses = metrics.timing("runtime.gc_pause_ns", _NANOSECONDS)
        self._began = 0.0

    def watch(self) -> None:
        gc.callbacks.append(self._noted)

    def close(self) -> None:
        gc.callbacks.remove(self._noted)

    def _noted(self, phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            self._began = perf_counter()
        elif self._began:
            self._pauses.observe(perf_counter() - self._began)


def register(metrics: Metrics) -> None:
    """What can be told without reading files."""
    pauses = metrics.timing("runtime.gc_pause_ns", _NANOSECONDS)

    def read() -> Iterator[Value]:
        yield value("runtime.num_goroutines", len(asyncio.all_tasks()))  # tasks are what is nearest to them
        yield value("runtime.heap_objects", sys.getallocatedblocks())
        yield value("runtime.total_gc_runs", sum(each["collections"] for each in gc.get_stats()))
        pauses.fold()
        yield value("runtime.total_gc_pause_ns", pauses.total * _NANOSECONDS)

    metrics.gauges("runtime", read)


def memory() -> list[Value]:
    """Resident memory and address space, in bytes; nothing where the system does not tell. Reads a file."""
    try:
        pages, resident = _STATM.read_text().split()[:2]
    except OSError:
        return []
    size = os.sysconf("SC_PAGE_SIZE")
    return [value("runtime.alloc_bytes", int(resident) * size), value("runtime.sys_bytes", int(pages) * size)]
