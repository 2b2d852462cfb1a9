"""``operator migrate``: output and exit codes. What it copies: ``tests/server/test_migration.py``."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest


@pytest.fixture
def plan(tmp_path):
    file = tmp_path / "migrate.hcl"
    file.write_text(
        f'storage_source "sqlite" {{ path = "{tmp_path}/old.db" }}\n'
        f'storage_destination "sqlite" {{ path = "{tmp_path}/new.db" }}\n'
    )
    return file


def test_copies(caveau, plan, tmp_path):
    assert caveau("operator", "migrate", f"-config={plan}").out == "Success! All of the keys have been migrated.\n"
    with closing(sqlite3.connect(tmp_path / "new.db")) as new:
        new.execute("INSERT INTO kv VALUES ('k', x'00')")
        new.commit()
    again = caveau("operator", "migrate", f"-config={plan}")
    assert (again.code, again.err) == (2, "Error migrating: the destination holds data: migrate into an empty store\n")
    reset = caveau("operator", "migrate", f"-config={plan}", "-reset")
    assert (reset.code, reset.out) == (0, "Success! Migration lock reset (if it was set).\n")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 1, "Must specify exactly one config path using -config"),
        (("-config=/nowhere",), 2, "cannot be read"),
        (("-config=x", "-max-parallel=0"), 1, "-max-parallel"),
        (("-config=x", "-log-level=loud"), 1, "Unknown log level: loud"),
    ],
)
def test_mistakes(caveau, arguments, code, message):
    ran = caveau("operator", "migrate", *arguments)
    assert ran.code == code
    assert message in ran.err
