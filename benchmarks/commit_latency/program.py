"""Processes of a cluster under test, at their places in the network."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

_LINE = 64 << 20
_PATIENCE = 120.0


class Program:
    """A process. What it says on standard error is kept beside it."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, command: list[str]) -> None:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE if self.talks else log,
                stderr=log,
                limit=_LINE,
            )

    talks = False

    def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def gone(self) -> None:
        if self._process is not None:
            await self._process.wait()

    async def stop(self) -> None:
        self.kill()
        await self.gone()

    def last_words(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]


class Talker(Program):
    """One that takes orders: ``node``."""

    talks = True

    def __init__(self, log: Path) -> None:
        super().__init__(log)
        self._turn = asyncio.Lock()

    async def ask(self, do: str, **what: Any) -> Any:
        """Raises RuntimeError with what went wrong there. The answer is read even if nobody waits for it any more:
        it would be taken for that of the next order."""
        return await asyncio.shield(asyncio.ensure_future(self._exchange({"do": do} | what)))

    async def _exchange(self, order: dict[str, Any]) -> Any:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        async with self._turn, asyncio.timeout(_PATIENCE):
            process.stdin.write(json.dumps(order).encode() + b"\n")
            line = await process.stdout.readline()
        if not line:
            raise RuntimeError(f"the node has ended: {self.last_words()}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["answer"]


def python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"{__package__}.{module}", *arguments]
