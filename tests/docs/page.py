"""A page of documentation that runs: its commands are typed into one shell, and what it shows is compared.

In a page, HTML comments, which readers do not see, say what a test needs to know:

    <!-- file: NAME -->      the next fenced block is the content of this file
    <!-- exit: N -->         the last command of the next console block ends with this code, not 0
    <!-- capture: NAME = RE --> group 1 of RE in the output of the last console block's last command
                             becomes the shell variable NAME

A ``console`` block holds commands after ``$ ``, their further lines after ``> ``, and the output of each
below it. Output that is not shown is not compared; ``...`` stands for any text, on a line of its own for
any lines. Fixed addresses and paths of the page are those of the test's own server and folder.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

SECONDS = 30
_MARK = "-- done"
_PIECE = re.compile(
    r"<!-- (?P<kind>file|exit|capture): (?P<value>.+?) -->|^```(?P<language>\S*)\n(?P<body>.*?)^```$", re.S | re.M
)


@dataclass(slots=True)
class Command:
    text: str
    shown: list[str] = field(default_factory=list)
    status: int = 0


@dataclass(frozen=True, slots=True)
class File:
    name: str
    content: str


@dataclass(frozen=True, slots=True)
class Capture:
    name: str
    pattern: str


def steps(page: str) -> Iterator[Command | File | Capture]:
    """What a page does, in order."""
    file, status = "", 0
    for piece in _PIECE.finditer(page):
        kind, value = piece["kind"], piece["value"]
        if kind == "capture":
            yield Capture(*value.split(" = ", 1))
        elif kind == "exit":
            status = int(value)
        elif kind == "file":
            file = value
        elif file:
            yield File(file, piece["body"])
            file = ""
        elif piece["language"] == "console":
            commands = list(_commands(piece["body"]))
            commands[-1].status, status = status, 0
            yield from commands


def _commands(block: str) -> Iterator[Command]:
    command: Command | None = None
    for line in block.splitlines():
        if line.startswith("$ "):
            if command:
                yield command
            command = Command(line[2:])
        elif command is None:
            raise ValueError(f"a console block begins with a command: {block}")
        elif line.startswith("> ") and not command.shown:
            command.text += "\n" + line[2:]
        else:
            command.shown.append(line)
    if command:
        yield command


def matches(shown: list[str], output: str) -> bool:
    """Whether the output is what the page shows of it."""
    if not shown:
        return True
    pattern = ""
    for line in shown:
        if line.strip() == "...":
            pattern += r"(?:[^\n]*\n)*"
        else:
            text = re.sub(r"\s+", " ", line.strip())
            pattern += re.escape(text).replace(re.escape("..."), r"[^\n]*").replace(r"\ ", r"[ \t]+") + "\n"
    lines = "".join(re.sub(r"[ \t]+", " ", line.strip()) + "\n" for line in output.strip("\n").splitlines())
    return re.fullmatch(pattern, lines) is not None


class Shell:
    """One shell for a page, in ``folder``, which is also the home. ``places``: text of the page to what it is here."""

    def __init__(self, folder: Path, places: dict[str, str]) -> None:
        self.folder = folder
        self.places = places
        self._process: subprocess.Popen[bytes]

    def __enter__(self) -> Self:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("BAO_", "VAULT_", "CAVEAU_", "PYTHON"))}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self._process = subprocess.Popen(
            ["/bin/sh"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=self.folder,
            env=kept | {"HOME": str(self.folder), "PATH": path, "PS1": "", "TERM": "dumb"}, start_new_session=True,
        )  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        """End everything the page has started: the shell leads a process group of its own."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.communicate()

    def localize(self, text: str) -> str:
        for there, here in self.places.items():
            text = text.replace(there, here)
        return text

    def write(self, file: File) -> None:
        path = self.folder / self.localize(file.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.localize(file.content))

    def run(self, text: str) -> tuple[int, str]:
        """Exit status and output of one command, as the page would show it."""
        assert self._process.stdin
        log = re.search(r">(\w\S*) 2>&1 &$", text)  # a command put into the background is a server
        if log:
            (self.folder / log[1]).unlink(missing_ok=True)
        script = f"{{ {self.localize(text)}\n}} </dev/null\nprintf '\\n{_MARK} %s\\n' $?\n"
        self._process.stdin.write(script.encode())
        self._process.stdin.flush()
        status, output = self._read()
        if log:
            self._await_server(self.folder / log[1], "Development mode should NOT" if " -dev" in text else "started!")
        for there, here in self.places.items():
            output = output.replace(here, there)
        return status, output

    def _read(self) -> tuple[int, str]:
        assert self._process.stdout
        seen, deadline = b"", time.monotonic() + SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while not (found := re.search(rb"\n" + _MARK.encode() + rb" (\d+)\n$", seen)):
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError(f"no end after {SECONDS} seconds: {seen.decode()}")
                chunk = os.read(self._process.stdout.fileno(), 65536)
                if not chunk:
                    raise EOFError(f"the shell has ended: {seen.decode()}")
                seen += chunk
        return int(found[1]), seen[: found.start()].decode()

    def _await_server(self, log: Path, ready: str) -> None:
        """Wait until the server has written that it is ready."""
        deadline = time.monotonic() + SECONDS
        while not log.exists() or ready not in log.read_text():
            if time.monotonic() > deadline:
                raise TimeoutError(f"no {ready!r} in {log}:\n{log.read_text() if log.exists() else ''}")
            time.sleep(0.05)


def run(page: str, shell: Shell) -> list[str]:
    """Run a page; the disagreements between it and what happened."""
    problems: list[str] = []
    output = ""
    for step in steps(page):
        if isinstance(step, File):
            shell.write(step)
        elif isinstance(step, Capture):
            found = re.search(step.pattern, output)
            assert found, f"{step.pattern!r} is not in:\n{output}"
            shell.run(f"{step.name}='{found[1]}'")
        else:
            status, output = shell.run(step.text)
            if status != step.status:
                problems.append(f"$ {step.text}\nends with {status}, not {step.status}:\n{output}")
            elif not matches(step.shown, output):
                problems.append(f"$ {step.text}\nthe page shows:\n" + "\n".join(step.shown) + f"\nbut it is:\n{output}")
    return problems
