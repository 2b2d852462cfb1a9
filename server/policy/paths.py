"""Which of many rule paths rules a request path.

A rule path is exact, a prefix (ends in ``*``), or has ``+`` segments, each standing for one segment,
also an empty one. An exact path wins; among the others the order is, until one differs: later first
wildcard, no ``*``, fewer ``+``, longer text, greater text, as bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")
_Rank = tuple[int, bool, int, int, bytes]
_Ranked = tuple[_Rank, T]


@dataclass(slots=True)
class _Segment(Generic[T]):
    """A node of the tree of rules with ``+``: what may follow the segments walked so far."""

    children: dict[str, _Segment[T]] = field(default_factory=dict)
    end: _Ranked[T] | None = None
    prefixes: list[tuple[str, _Ranked[T]]] = field(default_factory=list)


class PathRules(Generic[T]):
    """Values by rule path. Built once, then asked; a look-up costs about the length of the path."""

    def __init__(self, rules: dict[str, T]) -> None:
        self.exact: dict[str, T] = {}
        self.prefixes: dict[str, T] = {}
        self.wild: dict[str, T] = {}
        self._root: _Segment[T] = _Segment()
        for path, value in rules.items():
            if has_wild_segment(path):
                self.wild[path] = value
                self._plant(path, value)
            elif path.endswith("*"):
                self.prefixes[path[:-1]] = value
            else:
                self.exact[path] = value
        self._lengths = sorted({len(prefix) for prefix in self.prefixes}, reverse=True)

    def at(self, rule: str) -> T | None:
        """The value of exactly this rule path."""
        if rule in self.wild:
            return self.wild[rule]
        return self.prefixes.get(rule[:-1]) if rule.endswith("*") else self.exact.get(rule)

    def find(self, path: str) -> T | None:
        """What rules ``path``; leading slashes do not count."""
        path = path.lstrip("/")
        value = self.exact.get(path)
        return self._match(path) if value is None else value

    def find_either(self, path: str) -> T | None:
        """Like ``find``, and where ``path`` ends in a slash, ruled by the path without it as well.

        Exact rules of both forms come before patterns, and the form with the slash before the other.
        """
        path = path.lstrip("/")
        if not path.endswith("/"):
            return self.find(path)
        bare = path[:-1]
        for value in (self.exact.get(path), self.exact.get(bare), self._match(path)):
            if value is not None:
                return value
        return self._match(bare)

    def below(self, prefix: str) -> Iterator[T]:
        """Everything whose rule path may rule something that begins with ``prefix``."""
        prefix = prefix.lstrip("/")
        for path, value in self.exact.items():
            if path.startswith(prefix):
                yield value
        for path, value in self.prefixes.items():
            if path.startswith(prefix) or prefix.startswith(path):
                yield value
        for path, value in self.wild.items():
            if _may_reach(path, prefix):
                yield value

    def _plant(self, path: str, value: T) -> None:
        glob = path.endswith("*")
        *parts, last = path.removesuffix("*").split("/") if glob else path.split("/")
        node = self._root
        for part in parts if glob else [*parts, last]:
            node = node.children.setdefault(part, _Segment())
        ranked = (_rank(path), value)
        if glob:
            node.prefixes.append((last, ranked))
        else:
            node.end = ranked

    def _match(self, path: str) -> T | None:
        best: _Ranked[T] | None = None
        for length in self._lengths:
            if length <= len(path) and (value := self.prefixes.get(path[:length])) is not None:
                best = (_rank(path[:length] + "*"), value)
                break
        for ranked in self._walk(path) if self.wild else ():
            if best is None or ranked[0] > best[0]:
                best = ranked
        return None if best is None else best[1]

    def _walk(self, path: str) -> Iterator[_Ranked[T]]:
        nodes = [self._root]
        for part in path.split("/"):
            for node in nodes:
                for text, ranked in node.prefixes:
                    if part.startswith(text):
                        yield ranked
            nodes = [node.children[key] for node in nodes for key in {part, "+"} if key in node.children]
        for node in nodes:
            if node.end is not None:
                yield node.end


def has_wild_segment(path: str) -> bool:
    """Whether ``path`` is among the rules with ``+``, where Vault also counts ``a/+b``."""
    return path == "+" or path.startswith("+/") or "/+" in path


def _rank(path: str) -> _Rank:
    glob = path.endswith("*")
    text = (path[:-1] if glob else path).encode()
    first = text.index(b"+") if has_wild_segment(path) else len(text)
    plus = text.split(b"/").count(b"+")
    return first, not glob, -plus, len(text), text


def _may_reach(path: str, prefix: str) -> bool:
    """Whether a path with ``+`` segments may rule something that begins with ``prefix``."""
    glob = path.endswith("*")
    rule = (path[:-1] if glob else path).split("/")
    *asked, tail = prefix.split("/")
    for index, part in enumerate(asked):
        if index >= len(rule):
            return False
        if glob and index == len(rule) - 1:
            return rule[index] == "+" or part.startswith(rule[index])
        if rule[index] not in ("+", part):
            return False
    if len(rule) <= len(asked):
        return False
    part = rule[len(asked)]
    return part == "+" or part.startswith(tail) or (glob and len(rule) - 1 == len(asked) and tail.startswith(part))
