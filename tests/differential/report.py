"""The differences of a replay as a table and as shares."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from .compare import Difference
from .intended import INTENDED, Intended
from .replay import Observation
from .script import Case, Request
from .sweep import ABSENT, mounted, operations


@dataclass(slots=True)
class Report:
    """What a replay found, with the intended differences told apart.

    Two answers *agree* when status, headers, keys, types and error texts are equal; values are a
    second, stricter count.
    """

    observed: Sequence[Observation]
    intended: Sequence[Intended] = INTENDED
    unexplained: list[tuple[Observation, Difference]] = field(init=False)
    unused: list[Intended] = field(init=False)

    def __post_init__(self) -> None:
        used: set[Intended] = set()
        self.unexplained = []
        for observation in self.observed:
            for difference in observation.differences:
                found = {i for i in self.intended if i.explains(observation.request.line, difference)}
                used |= found
                if not found:
                    self.unexplained.append((observation, difference))
        self.unused = [i for i in self.intended if i not in used]

    @property
    def agreeing_outright(self) -> float:
        return 1 - sum(any(not d.of_value for d in o.differences) for o in self.observed) / len(self.observed)

    def _disagreeing(self, *, values: bool) -> dict[int, Observation]:
        return {id(o): o for o, d in self.unexplained if values or not d.of_value}

    @property
    def agreeing(self) -> float:
        """The share of requests that agree but for intended differences."""
        return 1 - len(self._disagreeing(values=False)) / len(self.observed)

    @property
    def agreeing_in_values(self) -> float:
        return 1 - len(self._disagreeing(values=True)) / len(self.observed)

    def summary(self) -> str:
        lines = [
            f"{len(self.observed)} requests: {self.agreeing_outright:.2%} agree outright, "
            f"{self.agreeing:.2%} but for intended differences, {self.agreeing_in_values:.2%} in values too"
        ]
        asked = Counter(o.case.area for o in self.observed)
        wrong = Counter(o.case.area for o in self._disagreeing(values=False).values())
        lines += [
            f"  {area:16} {count:5} requests {1 - wrong[area] / count:8.2%}" for area, count in sorted(asked.items())
        ]
        lines += [f"  matches nothing: {entry.reason} ({entry.aspect})" for entry in self.unused]
        return "\n".join(lines)

    def table(self, limit: int | None = None) -> str:
        """One row a kind of difference, the most frequent first, with the request that showed it first."""
        rows: dict[Difference, list[Observation]] = defaultdict(list)
        for observation, difference in self.unexplained:
            rows[difference].append(observation)
        lines = [
            f"{len(where):4} | {where[0].case.area}: {where[0].case.name}: {where[0].request.line[:120]}"
            f" | {difference.aspect} | ours: {difference.ours[:200]!r} | theirs: {difference.theirs[:200]!r}"
            for difference, where in sorted(rows.items(), key=lambda r: (r[0].of_value, -len(r[1])))
        ]
        left = len(lines) - limit if limit is not None and len(lines) > limit else 0
        return "\n".join([*lines[:limit], *([f"... {left} more rows"] if left else [])])


def never_asked(cases: Iterable[Case]) -> list[str]:
    """The operations (``VERB path``) that Caveau has and no compared request of ``cases`` is of."""
    asked = {_operation(request) for case in cases for request in case.requests if not request.setup}
    by_verb: dict[str, list[str]] = defaultdict(list)
    for verb, path in asked:
        by_verb[verb].append(path)
    return [
        f"{verb} {path}"
        for paths in operations().values()
        for path, entry in paths.items()
        for verb in entry["operations"]
        if not any(re.fullmatch(_pattern(path), found) for found in by_verb[verb])
    ]


def _operation(request: Request) -> tuple[str, str]:
    path, _, query = request.path.partition("?")
    flag = re.search(r"\b(list|scan)=(true|1)", query)
    verb = flag[1].upper() if flag else "POST" if request.verb == "PUT" else request.verb
    return verb, path.strip("/")


def _pattern(path: str) -> str:
    """Of the paths that a template stands for."""
    return re.sub(r"\\\{\w+\\\}", "[^?]+", re.escape(mounted(path)))


def coverage(cases: Iterable[Case]) -> str:
    """How many of the operations are asked, which are not, and what Caveau has not."""
    cases = list(cases)
    total = sum(len(entry["operations"]) for paths in operations().values() for entry in paths.values())
    missing = never_asked(cases)
    lines = [f"{total - len(missing)} of {total} operations are asked"]
    lines += [f"  never asked: {operation}" for operation in missing]
    lines += [f"  absent: {path}*: {reason}" for path, reason in ABSENT.items()]
    return "\n".join(lines)
