"""Where the server spends its time and memory. Names of functions and types only: no values, which may be secret."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

_ROOT = Path(__file__).parents[3]
_TASKS, _TYPES, _DEEP = 1000, 100, 100  # shown at most; of a stack
_PERIOD = 0.01  # seconds between looks


def tasks() -> str:
    """What every task and thread is at, alike ones together."""
    found: Counter[str] = Counter()
    for task in list(asyncio.all_tasks())[:_TASKS]:
        frames = [_place(frame) for frame in reversed(task.get_stack(limit=_DEEP))]
        found["task\n" + "\n".join(f"#\t{each}" for each in frames)] += 1
    for frame in sys._current_frames().values():
        found["thread\n" + "\n".join(f"#\t{each}" for each in _stack(frame))] += 1
    shown = [f"{count} {text}" for text, count in found.most_common()]
    return "\n\n".join([f"{sum(found.values())} tasks and threads", *shown]) + "\n"


def heap() -> str:
    """How many objects there are of which type, and their own bytes, without what they refer to."""
    count: Counter[str] = Counter()
    size: Counter[str] = Counter()
    for each in gc.get_objects():
        kind = f"{type(each).__module__}.{type(each).__qualname__}"
        count[kind] += 1
        size[kind] += sys.getsizeof(each)
    lines = [f"{size[kind]:>12} bytes {count[kind]:>9} {kind}" for kind, _ in size.most_common(_TYPES)]
    return "\n".join([f"{sum(count.values())} objects, {sum(size.values())} bytes", "", *lines]) + "\n"


def processor(seconds: float) -> str:
    """Stacks of all threads, seen every hundredth of a second, one a line with how often: "folded", as flame
    graphs are drawn of. Blocks: call it in a thread, which is left out."""
    me, seen = threading.get_ident(), Counter[str]()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for ident, frame in sys._current_frames().items():
            if ident != me:
                seen[";".join(reversed([_place(each) for each in _frames(frame)]))] += 1
        time.sleep(_PERIOD)
    return "".join(f"{stack} {count}\n" for stack, count in seen.most_common())


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    for _ in range(_DEEP):
        if frame is None:
            return
        yield frame
        frame = frame.f_back


def _stack(frame: FrameType) -> list[str]:
    return [_place(each) for each in _frames(frame)]


def _place(frame: FrameType) -> str:
    code = frame.f_code
    file = code.co_filename
    file = file.removeprefix(f"{_ROOT}/") if file.startswith(str(_ROOT)) else "/".join(file.split("/")[-2:])
    return f"{code.co_qualname} {file}:{frame.f_lineno}"
