from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _loop_never_blocks() -> None:
    """A benchmark may: nobody else waits for its loop while it starts a process or writes a file."""
