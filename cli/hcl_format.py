"""Lay out HCL 1: two spaces a level, aligned ``=`` in consecutive lines, one item a line.

Comments stay where they are. The text is known to parse.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r]+)
      | (?P<newline>\n)
      | (?P<comment>\#[^\n]*|//[^\n]*|/\*.*?\*/)
      | (?P<heredoc><<-?(?P<tag>\w+)\r?\n.*?\n[ \t]*(?P=tag)(?=\r?\n|$))
      | (?P<string>"(?:\\.|[^"\\])*")
      | (?P<punct>[{}\[\],=])
      | (?P<word>[^\s{}\[\],="#]+)""",
    re.VERBOSE | re.DOTALL,
)


class _Token(NamedTuple):
    kind: str
    text: str


class _Item(NamedTuple):
    """An item or a comment of its own, as lines; ``key`` and ``value`` where it can be aligned."""

    lines: list[str]
    comment: bool = False
    key: str = ""
    value: str = ""
    note: str = ""

    @property
    def simple(self) -> bool:
        return bool(self.key) and "\n" not in self.value


def formatted(source: str) -> str:
    """``source`` laid out, with one newline at its end."""
    tokens = [_Token(found.lastgroup or "", found.group()) for found in _TOKEN.finditer(source)]
    tokens = [_kind(token) for token in tokens if token.kind != "space"]
    return "\n".join(_Layout(tokens).body(top=True)).strip("\n") + "\n"


def _kind(token: _Token) -> _Token:
    return token._replace(kind="heredoc") if token.kind == "tag" else token


class _Layout:
    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0

    def _peek(self) -> _Token:
        return self._tokens[self._at] if self._at < len(self._tokens) else _Token("end", "")

    def _next(self) -> _Token:
        token = self._peek()
        self._at += 1
        return token

    def _skip_newlines(self) -> int:
        count = 0
        while self._peek().kind == "newline":
            self._next()
            count += 1
        return count

    def body(self, top: bool = False) -> list[str]:
        """Items until ``}`` or the end, as lines; a blank line around items of several lines."""
        groups: list[list[_Item]] = [[]]
        while True:
            blank = self._skip_newlines() > 1
            token = self._peek()
            if token.kind == "end" or token.text == "}":
                break
            if token.text == ",":
                self._next()
                continue
            item = self._item()
            previous = groups[-1][-1] if groups[-1] else None
            joined = previous is not None and not blank and (previous.comment or (previous.simple and item.simple))
            if previous is not None and not joined:
                groups.append([])
            groups[-1].append(item)
        lines: list[str] = []
        for group in groups:
            if lines and group:
                lines.append("")
            lines += _aligned(group)
        return lines

    def _item(self) -> _Item:
        if self._peek().kind == "comment":
            return _Item(self._next().text.rstrip().split("\n"), comment=True)
        words = []
        while self._peek().kind in ("word", "string"):
            words.append(self._next().text)
        key = " ".join(words)
        if self._peek().text == "=":
            self._next()
            self._skip_newlines()
            value = self._value()
            return _Item([], key=key, value=value, note=self._note())
        value = self._value()
        return _Item([f"{key} {value}" + self._note()])

    def _note(self) -> str:
        """A comment on the same line."""
        return " " + self._next().text.rstrip() if self._peek().kind == "comment" else ""

    def _value(self) -> str:
        token = self._next()
        if token.text == "{":
            lines = self.body()
            self._next()
            return "\n".join(["{", *_indented(lines), "}"]) if lines else "{}"
        if token.text == "[":
            return self._list()
        return token.text

    def _list(self) -> str:
        """A list on one line, or one element a line where it was broken."""
        elements: list[str] = []
        broken = self._peek().kind == "newline"
        while True:
            self._skip_newlines()
            token = self._peek()
            if token.text == "]" or token.kind == "end":
                self._next()
                break
            if token.text == ",":
                self._next()
                if self._peek().kind == "comment" and elements:
                    elements[-1] += f", {self._next().text.rstrip()}"
                    broken = True
                continue
            if token.kind == "comment":
                elements.append(self._next().text.rstrip())
                broken = True
                continue
            elements.append(self._value())
        if not broken:
            return "[" + ", ".join(elements) + "]"
        lines = [element if element.startswith(("#", "//", "/*")) or ", #" in element or ", //" in element
                 else element + "," for element in elements]  # fmt: skip
        return "\n".join(["[", *_indented("\n".join(lines).split("\n")), "]"])


def _aligned(items: list[_Item]) -> list[str]:
    """The lines of items that stand together, their ``=`` in one column."""
    width = max((len(item.key) for item in items if item.simple), default=0)
    lines: list[str] = []
    for item in items:
        if not item.key:
            lines += item.lines if item.comment else "\n".join(item.lines).split("\n")
        else:
            key = item.key.ljust(width) if item.simple else item.key
            lines += (f"{key} = {item.value}{item.note}").split("\n")
    return lines


def _indented(lines: list[str]) -> list[str]:
    """Two spaces deeper; the text of a heredoc stays as it is."""
    result, inside = [], ""
    for line in lines:
        if inside:
            result.append(line)
            inside = "" if line.strip() == inside else inside
            continue
        result.append(f"  {line}" if line else line)
        if found := re.search(r"<<-?(\w+)\s*$", line):
            inside = found.group(1)
    return result
