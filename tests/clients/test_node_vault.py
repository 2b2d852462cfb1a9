"""A program that uses node-vault: `node/session.js`, run by Node.js on a server that nobody has initialised."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ..peers import Server, clean_environment

SOURCES = Path(__file__).parent / "node"


@pytest.fixture(scope="session")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script, in a folder where npm has installed what it needs, as the lock file says."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("needs Node.js and npm")
    folder = tmp_path_factory.mktemp("node")
    for source in SOURCES.iterdir():
        shutil.copy(source, folder)
    done = subprocess.run(
        [npm, "ci", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder / "session.js"


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_life_of_a_server(session: Path, new_server: Server, tmp_path: Path) -> None:
    done = subprocess.run(
        ["node", session, new_server.address],
        env=clean_environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
