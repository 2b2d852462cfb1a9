"""Running ``caveau`` in this process, with no settings but the test's, and the real ``bao`` beside it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from caveau.cli.main import main

from ..peers import Server, bao_binary, bao_server


class Ran(NamedTuple):
    code: int
    out: str
    err: str


Runner = Callable[..., Ran]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home directory, and an environment that says nothing."""
    for name in list(os.environ):
        if name.startswith(("BAO_", "VAULT_")) or name == "NO_COLOR":
            monkeypatch.delenv(name)
    directory = tmp_path / "home"
    directory.mkdir()
    monkeypatch.setenv("HOME", str(directory))
    return directory


@pytest.fixture
def caveau(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Runner:
    """Run one command line in this process. ``stdin`` is what it reads there."""

    def run(*argv: str, stdin: str = "") -> Ran:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        code = main(list(argv))
        return Ran(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A real ``bao server -dev``, shared."""
    with bao_server() as running:
        yield running


@pytest.fixture
def at_server(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Commands go to the shared server, with its root token."""
    monkeypatch.setenv("VAULT_ADDR", server.address)
    monkeypatch.setenv("VAULT_TOKEN", server.token)
    return server


@pytest.fixture
def bao() -> Runner:
    """Run the real ``bao`` in the test's environment."""

    def run(*argv: str, stdin: str = "") -> Ran:
        done = subprocess.run([bao_binary(), *argv], input=stdin, capture_output=True, text=True, timeout=30)
        return Ran(done.returncode, done.stdout, done.stderr)

    return run
