"""What every test gets: no test may block the event loop."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster, blockbuster_ctx


@pytest.fixture(autouse=True)
def _loop_never_blocks(request: pytest.FixtureRequest) -> Iterator[BlockBuster | None]:
    """Fail a test in which Caveau's own code makes a blocking call on the event loop.

    Point reads of the embedded store are direct on purpose (about 5 microseconds each).
    """
    with blockbuster_ctx("caveau") as bb:
        for name in (
            "sqlite3.Cursor.execute",
            "sqlite3.Connection.execute",
            "sqlite3.Cursor.fetchone",
            "sqlite3.Cursor.fetchall",
            "sqlite3.Cursor.executemany",
        ):
            if name in bb.functions:
                bb.functions[name].deactivate()
        yield bb
