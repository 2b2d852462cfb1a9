"""HCL version 1, and the same documents written as JSON, as a small tree with line numbers.

This is the language of Vault's policies and server configuration. Nothing is merged here: a key
given twice gives two items, since whether repeats accumulate or override is the reader's rule.
The first character that is not white space tells the syntax: ``{`` begins JSON. As in HCL 1, text
after the first JSON document is not looked at.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

MAX_LENGTH: Final = 1 << 20
"""Longest accepted text, in characters."""
MAX_DEPTH: Final = 100
"""Deepest accepted nesting of blocks and lists."""


class HclError(ValueError):
    """The text is not HCL. ``line`` counts from 1."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(f"line {line}: {message}")
        self.message = message
        self.line = line


Value: TypeAlias = "str | int | float | bool | list[Value] | Block | None"


@dataclass(frozen=True, slots=True)
class Item:
    """``key = value`` or ``key "label" ... { }``; ``value`` of the latter is a ``Block``.

    JSON has no labels: its ``{"key": {"label": {}}}`` is a block in a block (see ``Block.blocks``).
    """

    key: str
    labels: tuple[str, ...]
    value: Value
    line: int


@dataclass(frozen=True, slots=True)
class Block:
    """What stands between braces, or the whole document, in the order written."""

    items: tuple[Item, ...]
    line: int

    def all(self, key: str) -> Iterator[Item]:
        """Every item named ``key``, labelled or not."""
        return (item for item in self.items if item.key == key)

    def blocks(self, key: str, labels: int = 0) -> Iterator[tuple[tuple[str, ...], Block, int]]:
        """Every block named ``key``, as ``(labels, block, line)`` with exactly ``labels`` labels.

        Labels, nested blocks and lists of blocks are the same thing in HCL 1, so
        ``listener "tcp" {}``, ``{"listener": {"tcp": {}}}``, ``{"listener": [{"tcp": {}}]}`` and
        ``{"listener": {"tcp": [{}]}}`` all yield ``(("tcp",), Block, line)``. Raises ``HclError``
        where something else than a block stands.
        """
        for item in self.all(key):
            yield from _labelled(item, (), key, labels)


def _labelled(
    item: Item, found: tuple[str, ...], key: str, wanted: int
) -> Iterator[tuple[tuple[str, ...], Block, int]]:
    found += item.labels
    for value in item.value if isinstance(item.value, list) else [item.value]:
        if not isinstance(value, Block):
            raise HclError(f'"{key}" must be a block{" with a label" if wanted else ""}', item.line)
        if len(found) > wanted:  # what is left of the labels stands for blocks in the block
            inner = Item(found[wanted], found[wanted + 1 :], value, item.line)
            yield found[:wanted], Block((inner,), item.line), item.line
        elif len(found) == wanted:
            yield found, value, item.line
        else:
            for child in value.items:
                yield from _labelled(child, (*found, child.key), key, wanted)


def is_json(text: str) -> bool:
    """Whether ``parse`` reads ``text`` as JSON."""
    return text.lstrip(_SPACE).startswith("{")


def parse(text: str) -> Block:
    """The document's items. Raises ``HclError``, and nothing else, whatever the text."""
    if len(text) > MAX_LENGTH:
        raise HclError(f"text is longer than {MAX_LENGTH} characters", 1)
    text = text.removeprefix("\ufeff")
    return _Parser(text, json=is_json(text)).document()


_SPACE: Final = " \t\r\n"
_BLANK = re.compile(r"(?:[ \t\r\n]+|\#[^\n]*|//[^\n]*|/\*(?s:.*?)\*/)*")
_JSON_BLANK = re.compile(r"[ \t\r\n]*")
_WORD = re.compile(r"[^\W\d][\w.\-]*")
_NUMBER = re.compile(r"-?(?:0[xX][0-9a-fA-F]+|(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)")
_BRACE = re.compile(r"[{}]")
_PLAIN = re.compile(r'[^"\\\n$\0]*')
_HEREDOC = re.compile(r"<<(-?)([^\W_]+)\r?\n")
_BYTES = re.compile(r"(?:\\x[0-9a-fA-F]{2}|\\[0-3][0-7]{2})+")
_UNICODE = re.compile(r"\\u([0-9a-fA-F]{4})|\\U([0-9a-fA-F]{8})")
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"'}
_JSON_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"', "/": "/"}


class _Parser:
    """Recursive descent over the text; ``at`` is the place of the next unread character."""

    def __init__(self, text: str, *, json: bool) -> None:
        self.text = text
        self.json = json
        self.at = 0
        self.depth = 0
        self.newlines = [found.start() for found in re.finditer("\n", text)]

    def line(self, at: int | None = None) -> int:
        return bisect_left(self.newlines, self.at if at is None else at) + 1

    def error(self, message: str, at: int | None = None) -> HclError:
        return HclError(message, self.line(at))

    def peek(self) -> str:
        """Skip blanks and comments; the next character, or ``""`` at the end."""
        blank = (_JSON_BLANK if self.json else _BLANK).match(self.text, self.at)
        assert blank is not None
        self.at = blank.end()
        if self.text.startswith("/*", self.at) and not self.json:
            raise self.error("comment is not closed")
        return self.text[self.at : self.at + 1]

    def expected(self, what: str) -> HclError:
        found = self.peek()
        return self.error(f"expected {what}, found {found!r}" if found else f"expected {what}, found the end")

    def take(self, char: str) -> bool:
        if self.peek() == char:
            self.at += 1
            return True
        return False

    def need(self, char: str) -> None:
        if not self.take(char):
            raise self.expected(repr(char))

    def enter(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error(f"nested deeper than {MAX_DEPTH} levels")

    def document(self) -> Block:
        if self.json:
            return self.block()
        items: list[Item] = []
        while self.peek():
            items.append(self.item())
            self.take(",")
        return Block(tuple(items), 1)

    def block(self) -> Block:
        line = self.line()
        self.need("{")
        self.enter()
        items: list[Item] = []
        while not self.take("}"):
            items.append(self.item())
            if not self.take(",") and self.json and self.peek() != "}":
                raise self.expected("',' or '}'")
        self.depth -= 1
        return Block(tuple(items), line)

    def item(self) -> Item:
        keys = [self.key()]
        line = self.line(self.at - 1)
        if self.json:
            self.need(":")
            return Item(keys[0], (), self.value(), line)
        while True:
            char = self.peek()
            if char == "{":
                return Item(keys[0], tuple(keys[1:]), self.block(), line)
            if char == "=" and len(keys) == 1:
                self.at += 1
                return Item(keys[0], (), self.value(), line)
            if not char or char in "=,}]":
                raise self.expected("'{'" if len(keys) > 1 else "'{' or '='")
            keys.append(self.key())

    def key(self) -> str:
        if self.peek() == '"':
            return self.string()
        word = None if self.json else _WORD.match(self.text, self.at)
        if word is None:
            raise self.expected("a key")
        self.at = word.end()
        return word.group()

    def value(self) -> Value:
        char = self.peek()
        if char == '"':
            return self.string()
        if char == "{":
            return self.block()
        if char == "[":
            return self.values()
        if char == "<" and not self.json:
            return self.heredoc()
        if number := _NUMBER.match(self.text, self.at):
            return self.number(number.group())
        word = _WORD.match(self.text, self.at)
        text = word.group() if word else ""
        if text in ("true", "false") or (text == "null" and self.json):
            self.at += len(text)
            return None if text == "null" else text == "true"
        raise self.expected("a value")

    def values(self) -> list[Value]:
        self.need("[")
        self.enter()
        values: list[Value] = []
        while not self.take("]"):
            values.append(self.value())
            if not self.take(",") and self.peek() != "]":
                raise self.expected("',' or ']'")
        self.depth -= 1
        return values

    def number(self, text: str) -> int | float:
        try:
            if "x" in text or "X" in text:
                number: int | float = int(text, 16)
            elif not text.lstrip("-").isdigit():
                number = float(text)
            elif text.lstrip("-").startswith("0") and not self.json:
                number = int(text, 8)
            else:
                number = int(text)
        except ValueError:
            raise self.error(f"invalid number {text[:40]}") from None
        if not (math.isfinite(number) if isinstance(number, float) else -(1 << 63) <= number < 1 << 63):
            raise self.error(f"number {text[:40]} is out of range")
        self.at += len(text)
        if self.text[self.at : self.at + 1].isalnum():
            raise self.error(f"invalid number {text[:40]}")
        return number

    def string(self) -> str:
        start = self.at
        self.at += 1
        parts: list[str] = []
        while True:
            plain = _PLAIN.match(self.text, self.at)
            assert plain is not None
            parts.append(plain.group())
            self.at = plain.end()
            match self.text[self.at : self.at + 1]:
                case '"':
                    self.at += 1
                    return "".join(parts)
                case "\\":
                    parts.append(self.escape())
                case "$":
                    parts.append(self.dollar())
                case _:
                    raise self.error("string is not closed", start)

    def dollar(self) -> str:
        """``$``, or a whole ``${...}`` as it stands: its quotes and newlines end nothing."""
        start = self.at
        self.at += 1
        if self.json or not self.text.startswith("{", self.at):
            return "$"
        depth = 0
        for brace in _BRACE.finditer(self.text, self.at):
            depth += 1 if brace.group() == "{" else -1
            if not depth:
                self.at = brace.end()
                return self.text[start : self.at]
        raise self.error("'${' is not closed", start)

    def escape(self) -> str:
        known = _JSON_ESCAPES if self.json else _ESCAPES
        if (char := known.get(self.text[self.at + 1 : self.at + 2])) is not None:
            self.at += 2
            return char
        if code := _UNICODE.match(self.text, self.at):
            return self.codepoint(code)
        if not self.json and (run := _BYTES.match(self.text, self.at)):
            octets = bytes(
                int(text[1:], 16) if text[0] == "x" else int(text, 8) for text in run.group()[1:].split("\\")
            )
            try:
                text = octets.decode()
            except UnicodeDecodeError:
                raise self.error("escaped bytes are not UTF-8") from None
            self.at = run.end()
            return text
        raise self.error("unknown escape in a string")

    def codepoint(self, code: re.Match[str]) -> str:
        number = int(code[1] or code[2], 16)
        self.at = code.end()
        if 0xD800 <= number < 0xDC00 and (low := _UNICODE.match(self.text, self.at)) and low[1]:
            second = int(low[1], 16)
            if 0xDC00 <= second < 0xE000:
                self.at = low.end()
                return chr(0x10000 + (number - 0xD800) * 0x400 + second - 0xDC00)
        if number > 0x10FFFF or 0xD800 <= number < 0xE000 or (code[2] and self.json):
            raise self.error("escape is not a Unicode character", code.start())
        return chr(number)

    def heredoc(self) -> str:
        """``<<EOF`` keeps its lines as they are, ``<<-EOF`` takes the closing mark's indent off them."""
        opening = _HEREDOC.match(self.text, self.at)
        if opening is None:
            raise self.error("invalid heredoc")
        indent = r"[ \t]*" if opening[1] else ""
        closing = re.compile(rf"^({indent}){re.escape(opening[2])}(?=\r?$)", re.MULTILINE)
        end = closing.search(self.text, opening.end())
        if end is None:
            raise self.error(f"heredoc is not closed by {opening[2]}")
        self.at = end.end()
        body = self.text[opening.end() : end.start()]
        lines = body.split("\n")[:-1]
        if not all(line.startswith(end[1]) for line in lines):
            return body
        return "".join(line.removeprefix(end[1]) + "\n" for line in lines)
