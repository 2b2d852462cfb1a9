"""Three nodes as processes that are killed at any moment, one, some or all: nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from .cluster import Cluster, until

ROUNDS = int(os.environ.get("CAVEAU_KILL_ROUNDS", "8"))
NAMES = "abc"

CHILD = """
import asyncio, os, ssl, sys
from pathlib import Path
from caveau.framework.errors import StoreError
from caveau.storage.raft.driver import Driver
from caveau.storage.raft.tls import TlsTransport

def context(side, folder, name):
    made = ssl.SSLContext(side)
    made.check_hostname, made.verify_mode = False, ssl.CERT_REQUIRED
    made.load_verify_locations(folder / "ca.pem")
    made.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    return made

async def main(folder, name, port, life):
    folder = Path(folder)
    sides = [context(side, folder, name) for side in (ssl.PROTOCOL_TLS_CLIENT, ssl.PROTOCOL_TLS_SERVER)]
    node = Driver(name, folder / name, TlsTransport(*sides, ("127.0.0.1", int(port))))
    await node.open()

    async def write(writer):
        number = 0
        while True:
            if node.leading:
                key = f"{life}-{name}-{writer}-{number}"
                number += 1
                try:
                    await node.propose({key: key.encode() * (number % 50), f"last/{writer}": key.encode()})
                    os.write(1, key.encode() + b"\\n")
                except StoreError:
                    pass
            await asyncio.sleep(0.001 if node.leading else 0.05)

    await asyncio.gather(*(write(writer) for writer in range(8)))

asyncio.run(main(*sys.argv[1:]))
"""


class Processes:
    def __init__(self, folder: Path, ports: dict[str, int]) -> None:
        self._folder, self._ports = folder, ports
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._readers: list[threading.Thread] = []
        self._lives = 0
        self.acknowledged: set[str] = set()
        self.leaders: set[str] = set()

    def start(self, name: str) -> None:
        if name in self._running:
            return
        self._lives += 1
        command = [sys.executable, "-c", CHILD, self._folder, name, str(self._ports[name]), str(self._lives)]
        process = self._running[name] = subprocess.Popen(command, stdout=subprocess.PIPE)
        reader = threading.Thread(target=self._read, args=(process,))
        reader.start()
        self._readers.append(reader)

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                if line.endswith(b"\n"):
                    key = line.decode().strip()
                    self.acknowledged.add(key)
                    self.leaders.add(key.split("-")[1])

    def kill(self, name: str) -> None:
        process = self._running.pop(name, None)
        if process is not None:
            process.send_signal(signal.SIGKILL)
            process.wait()

    def stop(self) -> None:
        for name in NAMES:
            self.kill(name)
        for reader in self._readers:
            reader.join()


@pytest.mark.slow
@pytest.mark.timeout(120 + 10 * ROUNDS)
async def test_killed_at_any_moment(tmp_path: Path) -> None:
    rng = random.Random()
    made = await Cluster.in_folder(tmp_path)
    await made.start(*NAMES)
    for name in NAMES:
        await made.nodes.pop(name).close()
    processes = Processes(tmp_path, made.ports)
    try:
        for _ in range(ROUNDS):
            for name in NAMES:
                await asyncio.to_thread(processes.start, name)
            before = len(processes.acknowledged)
            await until(lambda before=before: len(processes.acknowledged) > before + rng.randint(1, 300), 30)  # type: ignore[misc]
            for name in rng.choice([*NAMES, "ab", "bc", "ca", "abc"]):
                await asyncio.to_thread(processes.kill, name)
    finally:
        await asyncio.to_thread(processes.stop)
    print(f"{ROUNDS} rounds, {len(processes.acknowledged)} writes acknowledged, led by {sorted(processes.leaders)}")
    for name in NAMES:
        node = await made.make(name)
        await node.open()
    try:
        await made.leader()
        for node in made.nodes.values():
            await node.read_index()
            lost = processes.acknowledged - set(await node.table.list(""))
            assert not lost
    finally:
        for node in made.nodes.values():
            await node.close()
