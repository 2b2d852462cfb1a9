"""A real server whose audit device fails under load: nothing that was answered is missing, and nothing hangs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import resource
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from caveau.server.logs import archives
from caveau.tests.server.running import Run, port_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
LONGEST = 10.0  # seconds that a request may take


@dataclass
class Load:
    """What came of the requests: ids of those that were answered, texts of those that were refused."""

    answered: list[Any] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    longest: float = 0.0


@dataclass
class Loaded:
    run: Run
    port: int
    token: str

    async def ask(self, load: Load, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> None:
        began = time.monotonic()
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        found = re.search(r"Content-Length: (\d+)", head)
        body = await reader.readexactly(int(found[1]) if found else 0)
        load.longest = max(load.longest, time.monotonic() - began)
        if head.startswith("HTTP/1.1 200"):
            answer = json.loads(body)
            load.answered.append(answer.get("request_id") or answer)
        elif head.startswith("HTTP/1.1 5"):
            load.refused.append(body.decode())

    def request(self, verb: str, path: str, body: object = None) -> bytes:
        raw = b"" if body is None else json.dumps(body).encode()
        head = f"{verb} /v1/{path} HTTP/1.1\r\nHost: x\r\nX-Vault-Token: {self.token}\r\nContent-Length: {len(raw)}\r\n"
        return f"{head}\r\n".encode() + raw

    def once(self, verb: str, path: str, body: object = None) -> Load:
        return asyncio.run(self._once(verb, path, body))

    async def _once(self, verb: str, path: str, body: object) -> Load:
        load = Load()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        await self.ask(load, reader, writer, self.request(verb, path, body))
        writer.close()
        return load

    def load(self, seconds: float, rate: float = 2000.0, connections: int = 8) -> Load:
        """Writes and reads at a rate, as far as the machine allows it."""
        return asyncio.run(self._load(seconds, rate, connections))

    async def _load(self, seconds: float, rate: float, connections: int) -> Load:
        load, end = Load(), time.monotonic() + seconds

        async def client(number: int) -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            due, step = time.monotonic(), connections / rate
            count = 0
            while time.monotonic() < end:
                path = f"secret/data/{number}-{count % 10}"
                body = {"data": {"n": str(count)}} if count < 10 or count % 8 == 0 else None
                await self.ask(load, reader, writer, self.request("POST" if body else "GET", path, body))
                count += 1
                due += step
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            writer.close()

        await asyncio.gather(*(client(number) for number in range(connections)))
        return load


@pytest.fixture
def loaded(tmp_path, tmp_path_factory) -> Iterator[Loaded]:
    run = Run(tmp_path, tmp_path_factory.mktemp("bytecode"), "-dev", "-dev-root-token-id=root",
              "-dev-listen-address=127.0.0.1:0", "-dev-no-store-token")  # fmt: skip
    try:
        run.started()
        yield Loaded(run, port_of(run), "root")
    finally:
        run.process.send_signal(signal.SIGTERM)
        run.process.wait(30)


def recorded(*files: Path) -> tuple[set[str], set[str]]:
    """Ids of the requests and of the responses in the log; every line has to be whole."""
    found: dict[str, set[str]] = {"request": set(), "response": set()}
    for file in files:
        for line in file.read_bytes().splitlines():
            entry = json.loads(line)
            found[entry["type"]].add(entry["request"]["id"])
    return found["request"], found["response"]


def check(load: Load, *files: Path) -> None:
    requests, responses = recorded(*files)
    assert load.answered
    assert set(load.answered) - requests == set()
    assert set(load.answered) - responses == set()
    assert load.longest < LONGEST


def enable(loaded: Loaded, type_: str, **options: str) -> None:
    load = loaded.once("POST", "sys/audit/d", {"type": type_, "options": options})
    assert load.refused == []


@contextlib.contextmanager
def small_disk(path: Path, kilobytes: int, server: int) -> Iterator[str]:
    """Makes ``path`` a file system of its own, and tells what a full one is called. Where that is not permitted, as
    in many a container, the files of the process ``server`` may not grow beyond that size."""
    path.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", path], capture_output=True)
    if made.returncode:
        _, hard = resource.prlimit(server, resource.RLIMIT_FSIZE)
        resource.prlimit(server, resource.RLIMIT_FSIZE, (kilobytes * 1024, hard))
        yield "File too large"
        return
    try:
        yield "No space left on device"
    finally:
        subprocess.run(["umount", "-l", path], check=True)


def test_rotation_under_load(loaded, tmp_path):
    file = tmp_path / "audit" / "audit.log"
    enable(loaded, "file", file_path=str(file), rotate_bytes="300000")
    load = loaded.load(4)
    assert load.refused == []
    assert len(archives(file)) > 2
    check(load, *archives(file), file)


def test_moved_and_reopened_under_load(loaded, tmp_path):
    file = tmp_path / "audit.log"
    enable(loaded, "file", file_path=str(file))

    moved = [file.with_name(f"moved-{number}") for number in range(5)]

    def move() -> None:
        for number, name in enumerate(moved):
            time.sleep(0.5)
            file.rename(name)
            if number % 2:
                loaded.run.process.send_signal(signal.SIGHUP)

    mover = threading.Thread(target=move)
    mover.start()
    load = loaded.load(3.5)
    mover.join()
    assert load.refused == []
    check(load, *moved, file)


def test_the_file_is_deleted(loaded, tmp_path):
    file = tmp_path / "audit.log"
    enable(loaded, "file", file_path=str(file))
    loaded.load(0.5)
    file.unlink()
    load = loaded.load(1)
    assert load.refused == []
    check(load, file)


def test_the_disk_is_full(loaded, tmp_path):
    disk = tmp_path / "small"
    with small_disk(disk, 400, loaded.run.process.pid) as full:
        file = disk / "audit.log"
        enable(loaded, "file", file_path=str(file))
        load = loaded.load(4)
        check(load, file)
        assert load.refused
        assert f"d/ ({full})" in load.refused[-1]
        health = loaded.once("GET", "sys/health")
        assert health.answered[0]["audit_failing"] == {"d/": full}
        os.truncate(file, 0)
        after = loaded.load(0.2, rate=300)  # or the disk is full again
        assert after.refused == []
        check(after, file)


def test_a_socket_hangs(loaded):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        host, port = server.getsockname()
        enable(loaded, "socket", address=f"{host}:{port}")
        load = loaded.load(12)  # nobody reads
        assert load.refused
        assert "d/ (" in load.refused[-1]
        assert load.longest < LONGEST
