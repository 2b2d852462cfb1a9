"""The real command as a process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

STARTED = "==> Caveau server started!"


class Run:
    """A server process; ``out`` and ``log`` are its standard output and error."""

    def __init__(self, home: Path, bytecode: Path, *arguments: str, environ: dict[str, str] | None = None) -> None:
        self.out_file, self.log_file = home / "out", home / "log"
        dropped = ("BAO_", "VAULT_", "CAVEAU_", "PYTHONDONTWRITEBYTECODE")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
        with self.out_file.open("wb") as out, self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "caveau", "server", *arguments],
                stdout=out, stderr=log, stdin=subprocess.DEVNULL, cwd=home,
                env=kept | {"HOME": str(home), "PYTHONPYCACHEPREFIX": str(bytecode)} | (environ or {}),
            )  # fmt: skip

    @property
    def out(self) -> str:
        return self.out_file.read_text()

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def wait_for(self, condition) -> None:
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, f"{self.out}\n{self.log}"
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.out}\n{self.log}"
            time.sleep(0.01)

    def started(self) -> Run:
        self.wait_for(lambda: STARTED in self.out)
        return self

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(15)


def port_of(run: Run) -> int:
    found = re.search(r'addr: "127\.0\.0\.1:(\d+)"', run.out)
    assert found, run.out
    return int(found[1])
