"""SIGKILL at any moment loses nothing acknowledged and leaves no batch half there."""

from __future__ import annotations

import asyncio
import inspect
import os
import random
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from caveau.framework.errors import StoreError
from caveau.framework.storage import Physical
from caveau.storage.raft.driver import Driver
from caveau.storage.raft.store import RaftStore
from caveau.storage.sqlite import SqliteStore

ROUNDS = int(os.environ.get("CAVEAU_KILL_ROUNDS", "25"))
WRITERS = 8
STORES = {
    "sqlite": "caveau.storage.sqlite:SqliteStore",
    "postgresql": "caveau.storage.postgresql.store:PostgresqlStore",
}
KEYS = 4  # of a batch, each under another folder, so that they are on different pages


async def opened(kind: str, path: Path) -> Physical:
    if kind == "sqlite":
        store: Physical = SqliteStore(path)
    else:
        engine = Driver("a", Path(path))
        with suppress(StoreError):  # it is one already
            await engine.bootstrap("127.0.0.1:8201")
        store = RaftStore(engine)
    await store.open()
    return store


CHILD = f"""
from __future__ import annotations
import asyncio, os, sys
from contextlib import suppress
from pathlib import Path
from caveau.framework.errors import StoreError
from caveau.framework.storage import Physical
from caveau.storage.raft.driver import Driver
from caveau.storage.raft.store import RaftStore
from caveau.storage.sqlite import SqliteStore

{inspect.getsource(opened)}

async def main(kind, path, *starts):
    store = await opened(kind, path)
    os.write(1, b"open\\n")

    async def writer(w):
        number = int(starts[w])
        while True:
            stamp = b"%d" % number
            # Overwrites, growing values, a fresh key, and a delete of the one before.
            batch = {{f"{{k}}/w{{w}}": stamp + b"." * ((number * 37 + k) % 3000) for k in range({KEYS})}}
            batch[f"fresh/w{{w}}/{{number}}"] = stamp
            batch[f"fresh/w{{w}}/{{number - 1}}"] = None
            await store.commit(batch)
            os.write(1, b"%d %d\\n" % (w, number))
            number += 1

    await asyncio.gather(*(writer(w) for w in range({WRITERS})))

asyncio.run(main(*sys.argv[1:]))
"""


async def check(kind: str, path: Path, acknowledged: dict[int, int]) -> None:
    store = await opened(kind, path)
    try:
        for w in range(WRITERS):
            stored = [await store.get(f"{k}/w{w}") for k in range(KEYS)]
            numbers = {-1 if value is None else int(value.rstrip(b".")) for value in stored}
            assert len(numbers) == 1, f"writer {w}: a batch is half there: {numbers}"
            (number,) = numbers
            assert number >= acknowledged[w], f"writer {w}: {acknowledged[w]} was acknowledged, {number} is there"
            assert [v and len(v) for v in stored] == (
                [None] * KEYS if number < 0 else [len(str(number)) + (number * 37 + k) % 3000 for k in range(KEYS)]
            )
            assert await store.list(f"fresh/w{w}/") == ([] if number < 0 else [str(number)])
            acknowledged[w] = number
    finally:
        await store.close()


@pytest.mark.slow
@pytest.mark.timeout(60 + 4 * ROUNDS)
@pytest.mark.parametrize("kind", ["sqlite", "raft"])
def test_killed_at_any_moment(tmp_path: Path, kind: str) -> None:
    rng = random.Random()
    acknowledged = dict.fromkeys(range(WRITERS), -1)
    total = 0
    for _ in range(ROUNDS):
        starts = [str(number + 1) for number in acknowledged.values()]
        with subprocess.Popen(
            [sys.executable, "-c", CHILD, kind, tmp_path / "data", *starts], stdout=subprocess.PIPE
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"open\n"
            for _ in range(rng.randint(0, rng.choice([5, 300]))):
                w, number = map(int, child.stdout.readline().split())
                acknowledged[w] = number
                total += 1
            child.kill()
            for line in child.stdout.read().splitlines(keepends=True):
                if line.endswith(b"\n"):
                    w, number = map(int, line.split())
                    acknowledged[w] = number
                    total += 1
        asyncio.run(check(kind, tmp_path / "data", acknowledged))
    print(f"{ROUNDS} kills, {total} batches acknowledged")
