"""What every test gets: none may block the event loop, and in CI none may be skipped."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from caveau.tests.postgresql import Cluster, cluster


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Iterator[Any]:
    """In CI everything that a test needs is there: one that is skipped for want of it fails."""
    report = yield
    if report.skipped and os.environ.get("CAVEAU_CI"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr}"
    return report


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
        for function in bb.functions.values():  # the files that libpq would read, when a connection is made
            function.can_block_in("asyncpg/connect_utils.py", {"_parse_connect_arguments"})
        yield bb


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Cluster]:
    """A PostgreSQL server."""
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(cluster())
        except FileNotFoundError as error:
            pytest.skip(str(error))
        yield server
