"""What a check found."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ...framework.clock import rfc3339

OK, WARNING, ERROR, SKIPPED = "ok", "warn", "error", "skipped"
_WORSE = (SKIPPED, OK, WARNING, ERROR)


@dataclass(slots=True)
class Check:
    """One check, and those that it is made of. ``advice`` says what to do."""

    name: str
    status: str = OK
    message: str = ""
    advice: str = ""
    children: list[Check] = field(default_factory=list)
    time: float = field(default_factory=time.time)

    def add(self, name: str, status: str = OK, message: str = "", advice: str = "") -> Check:
        """A further part; it makes the whole no better than itself."""
        child = Check(name, status, message, advice)
        self.children.append(child)
        return child

    @property
    def worst(self) -> str:
        """Its own status or the worst of its parts."""
        return max((self.status, *(each.worst for each in self.children)), key=_WORSE.index)

    def walk(self, depth: int = 0) -> Iterator[tuple[int, Check]]:
        yield depth, self
        for child in self.children:
            yield from child.walk(depth + 1)

    def wire(self) -> dict[str, Any]:
        """As ``-format=json`` shows it."""
        status = self.worst
        shown: dict[str, Any] = {"time": rfc3339(self.time), "name": self.name, "status": status}
        if self.message:
            shown |= {"warnings": [self.message]} if status == WARNING else {"message": self.message}
        shown["Advice"] = self.advice
        if self.children:
            shown["children"] = [each.wire() for each in self.children]
        return shown
