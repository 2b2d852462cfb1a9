"""How many leases there are of each kind that somebody wants to know, counted in memory while they come and go."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

BREATH = 256  # ids counted between letting other requests run


class Tally:
    """Counts ids by a label of each. ``counts`` is right once ``count`` is through, and until then what it has seen."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._counted: str | None = None  # ids up to this one have been counted; None: nobody counts yet
        self._ahead: dict[str, str | None] | None = {}  # what has come (its label) and gone beyond; None: all counted

    @property
    def begun(self) -> bool:
        return self._counted is not None

    async def count(self, stored: AsyncIterator[tuple[str, str]]) -> None:
        """Count what is stored, ids with their labels in byte order, once.

        What comes and goes meanwhile is counted at once where the walk has been, and at the end beyond that.
        """
        if self._counted is not None:
            return
        self._counted = ""
        assert self._ahead is not None
        steps = 0
        async for id_, label in stored:
            self._counted = id_
            if id_ not in self._ahead:
                self.counts[label] += 1
            steps += 1
            if steps % BREATH == 0:
                await asyncio.sleep(0)
        ahead, self._ahead = self._ahead, None
        self.counts.update(label for label in ahead.values() if label is not None)

    def changed(self, id_: str, label: str, *, present: bool) -> None:
        """An id has come, or gone."""
        if self._counted is None:
            return
        if self._ahead is not None and (id_ in self._ahead or id_ > self._counted):
            self._ahead[id_] = label if present else None
        else:
            self.counts[label] += 1 if present else -1


@dataclass(slots=True, eq=False)
class Watch:
    """Those leases of a mount that one quota is for: given by requests to one path below it, or, with ``*`` at the end
    of ``suffix``, to paths that begin so; or the tokens of logins for a role."""

    mount: str
    suffix: str
    role: str
    tally: Tally = field(default_factory=Tally)
    counted: asyncio.Future[None] | None = None

    def covers(self, id_: str, role: str) -> bool:
        """``role``: of the login that gave the token whose lease this is; else empty."""
        if not id_.startswith(self.mount):
            return False
        if self.role:
            return role == self.role
        path = id_.rpartition("/")[0][len(self.mount) :]
        return path.startswith(self.suffix[:-1]) if self.suffix.endswith("*") else path == self.suffix

    @property
    def folder(self) -> str:
        """Under which all of them are: empty, or ending in a slash."""
        below = self.suffix[: self.suffix.rfind("/") + 1] if self.suffix.endswith("*") else f"{self.suffix}/"
        return self.mount if self.role else self.mount + below
