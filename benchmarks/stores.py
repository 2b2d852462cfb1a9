"""What a commit costs on each physical store: commits a second and their latency, through ``Store``.

    python benchmarks/stores.py                             # sqlite, raft (one node), a PostgreSQL of its own
    python benchmarks/stores.py --seconds 1 --dir /var/tmp  # shorter, and on that disk
    python benchmarks/stores.py --postgresql postgres://caveau@db/scratch

Every commit writes one fresh entry and one that there was, of 256 bytes each, encrypted by the barrier's cipher. The
database that is named must be a scratch one: tables ``caveau_bench*`` are made in it and removed. Without a name, and
where PostgreSQL is installed, a server is started on loopback with its default settings.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter

from caveau.framework.storage import Batch, Physical
from caveau.storage.postgresql.store import PostgresqlStore
from caveau.storage.raft.driver import Driver
from caveau.storage.raft.store import RaftStore
from caveau.storage.sqlite import SqliteStore
from caveau.storage.store import Store
from caveau.storage.transaction import Transaction
from caveau.tests.postgresql import cluster
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VALUE = 256  # bytes
WRITERS = (1, 32)
WARM_SECONDS = 0.5


class Cipher:
    """AES-256-GCM with the key as associated data, as the barrier has it."""

    def __init__(self) -> None:
        self._aead = AESGCM(AESGCM.generate_key(256))

    def encrypt_batch(self, writes: Batch) -> dict[str, bytes | None]:
        return {key: None if value is None else self._encrypt(key, value) for key, value in writes.items()}

    def _encrypt(self, key: str, value: bytes) -> bytes:
        nonce = os.urandom(12)
        return nonce + self._aead.encrypt(nonce, value, key.encode())

    def decrypt(self, key: str, ciphertext: bytes) -> bytes:
        return self._aead.decrypt(ciphertext[:12], ciphertext[12:], key.encode())


@asynccontextmanager
async def opened(kind: str, directory: Path, url: str) -> AsyncIterator[Physical]:
    physical: Physical
    if kind == "postgresql":
        physical = PostgresqlStore(url, table="caveau_bench", leader_table="caveau_bench_leader")
    elif kind == "raft":
        engine = Driver("one", directory / kind)
        await engine.bootstrap("127.0.0.1:8201")
        physical = RaftStore(engine)
    else:
        physical = SqliteStore(directory / kind)
    await physical.open()
    try:
        yield physical
    finally:
        await physical.close()


async def write(store: Store, name: str, until: float) -> list[float]:
    """Commit until a time; the seconds that each took."""
    took: list[float] = []
    while (began := perf_counter()) < until:

        async def change(txn: Transaction, number: int = len(took)) -> None:
            txn.put(f"fresh/{name}/{number}", os.urandom(VALUE), new=True)
            txn.put(f"kept/{name}", os.urandom(VALUE))

        await store.run(change)
        took.append(perf_counter() - began)
    return took


async def measure(kind: str, directory: Path, url: str, seconds: float) -> None:
    async with opened(kind, directory, url) as physical:
        store = Store(physical, Cipher())
        for writers in WRITERS:
            await write(store, "warm", perf_counter() + WARM_SECONDS)
            until = perf_counter() + seconds
            taken = await asyncio.gather(*(write(store, f"{writers}/{w}", until) for w in range(writers)))
            took = [each for one in taken for each in one]
            p99 = quantiles(took, n=100)[98] if len(took) > 1 else took[0]
            print(
                f"{kind:<12} {writers:>3} writers {len(took) / seconds:>9,.0f} commits/s"
                f"   p50 {median(took) * 1e3:>7.2f} ms   p99 {p99 * 1e3:>7.2f} ms",
                flush=True,
            )


async def drop(url: str) -> None:
    import asyncpg  # type: ignore[import-untyped]

    connection = await asyncpg.connect(url)
    await connection.execute("DROP TABLE caveau_bench, caveau_bench_leader")
    await connection.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3, help="of each run")
    parser.add_argument("--dir", help="where the files go: the disk that is measured")
    parser.add_argument("--postgresql", metavar="URL", help="of a scratch database")
    options = parser.parse_args()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=options.dir)))
        kinds, url = ["sqlite", "raft", "postgresql"], options.postgresql
        if not url:
            try:
                server = stack.enter_context(cluster(options.dir))
            except FileNotFoundError as error:
                print(f"postgresql is left out: {error}", file=sys.stderr)
                kinds.remove("postgresql")
            else:
                url = server.url(server.database())
        for kind in kinds:
            asyncio.run(measure(kind, directory, url or "", options.seconds))
        if options.postgresql:
            asyncio.run(drop(url))
    return 0


if __name__ == "__main__":
    sys.exit(main())
