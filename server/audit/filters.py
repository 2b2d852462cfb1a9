"""Which entries a device gets (``filter``) and which fields it does not (``exclude``).

The language is the one of Vault's audit filters:

    operation == update and mount_type == kv
    not (path matches "^sys/" or mount_point contains "test")
    "/request/data/name" == "x"

A selector is one of the five names of `FIELDS`, or a JSON pointer (RFC 6901) into the entry, as it is written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from ...framework.errors import InvalidRequest

Entry = Mapping[str, Any]
Test = Callable[[Entry], bool]

FIELDS: Final = {
    "mount_point": "/request/mount_point",
    "mount_type": "/request/mount_type",
    "namespace": "/request/namespace/path",
    "operation": "/request/operation",
    "path": "/request/path",
}
_LONGEST: Final = 4096
_DEEPEST: Final = 50
_TOKEN: Final = re.compile(r'\s*(?:(==|!=|\(|\))|"((?:[^"\\]|\\.)*)"|`([^`]*)`|([\w./*+@:$-]+))')
_WORDS: Final = frozenset({"and", "or", "not", "in", "contains", "matches", "is", "empty"})


def condition(text: str) -> Test:
    """The test an expression stands for; raises InvalidRequest."""
    if len(text) > _LONGEST:
        raise InvalidRequest(f"the expression is longer than {_LONGEST} characters")
    parser = _Parser(text)
    test = parser.either()
    if parser.peek() is not None:
        raise parser.problem("the end")
    return test


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Fields, as JSON pointers, that are left out of the entries that pass ``test``."""

    test: Test
    fields: tuple[tuple[str, ...], ...]


def exclusions(text: str) -> tuple[Exclusion, ...]:
    """What the option ``exclude`` says: a JSON list of ``{"condition": ..., "fields": [...]}``.

    Raises InvalidRequest.
    """
    try:
        given: Any = orjson.loads(text)
        pairs = [(each.get("condition") or "", list(each["fields"])) for each in given]
        if not pairs or any(not isinstance(c, str) or not f for c, f in pairs) or len(text) > 4 * _LONGEST:
            raise ValueError
        return tuple(
            Exclusion(condition(test) if test else _always, tuple(_pointer(field) for field in fields))
            for test, fields in pairs
        )
    except (ValueError, AttributeError, TypeError, KeyError):
        raise InvalidRequest(
            'exclude is not a JSON list of {"condition": "...", "fields": ["/response/data"]}'
        ) from None


def without(entry: dict[str, Any], excluded: tuple[Exclusion, ...]) -> dict[str, Any]:
    """``entry`` less what is excluded; every condition sees it whole. Changes ``entry``."""
    for fields in [each.fields for each in excluded if each.test(entry)]:
        for *above, last in fields:
            parent: Any = entry
            for part in above:
                parent = parent.get(part) if isinstance(parent, dict) else None
            if isinstance(parent, dict):
                parent.pop(last, None)
    return entry


def _always(_: Entry) -> bool:
    return True


def _pointer(text: object) -> tuple[str, ...]:
    if not isinstance(text, str) or not text.startswith("/"):
        raise ValueError("not a JSON pointer")
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in text[1:].split("/"))


def _at(entry: Entry, pointer: tuple[str, ...]) -> Any:
    found: Any = entry
    for part in pointer:
        if isinstance(found, Mapping):
            found = found.get(part)
        elif isinstance(found, list) and part.isascii() and part.isdigit() and int(part) < len(found):
            found = found[int(part)]
        else:
            return None
    return found


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, bool]] = []  # text, and whether it was quoted
        self._next = self._depth = 0
        position, end = 0, len(text.rstrip())
        while position < end:
            found = _TOKEN.match(text, position)
            if found is None:
                raise InvalidRequest(f"the expression cannot be read at character {position + 1}")
            sign, quoted, raw, word = found.groups()
            if quoted is not None:
                self._tokens.append((re.sub(r"\\(.)", r"\1", quoted), True))
            else:
                self._tokens.append((raw, True) if raw is not None else (sign or word, False))
            position = found.end()

    def peek(self) -> str | None:
        """The next token if it is there and not quoted; a quoted one is the empty text."""
        if self._next >= len(self._tokens):
            return None
        text, quoted = self._tokens[self._next]
        return "" if quoted else text

    def problem(self, expected: str) -> InvalidRequest:
        found = repr(self._tokens[self._next][0][:64]) if self._next < len(self._tokens) else "the end"
        return InvalidRequest(f"the expression needs {expected} where it has {found}")

    def take(self, *words: str) -> str | None:
        word = self.peek()
        if word in words:
            self._next += 1
            return word
        return None

    def value(self, expected: str) -> str:
        word = self.peek()
        if word is None or word in _WORDS or word in ("==", "!=", "(", ")"):
            raise self.problem(expected)
        self._next += 1
        return self._tokens[self._next - 1][0]

    def either(self) -> Test:
        tests = [self.both()]
        while self.take("or"):
            tests.append(self.both())
        return tests[0] if len(tests) == 1 else lambda entry: any(test(entry) for test in tests)

    def both(self) -> Test:
        tests = [self.one()]
        while self.take("and"):
            tests.append(self.one())
        return tests[0] if len(tests) == 1 else lambda entry: all(test(entry) for test in tests)

    def one(self) -> Test:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise InvalidRequest("the expression nests too deeply")
        try:
            if self.take("not"):
                inner = self.one()
                return lambda entry: not inner(entry)
            if self.take("("):
                test = self.either()
                if not self.take(")"):
                    raise self.problem("')'")
                return test
            return self.comparison()
        finally:
            self._depth -= 1

    def comparison(self) -> Test:
        first = self.value("a selector")
        negated = bool(self.take("not"))
        if self.take("in"):  # VALUE in SELECTOR
            test = _holds(_selector(self.value("a selector")), first)
        elif not negated and self.take("is"):
            negated = bool(self.take("not"))
            if not self.take("empty"):
                raise self.problem("'empty'")
            pointer = _selector(first)
            test = lambda entry: not _at(entry, pointer)  # noqa: E731
        elif self.take("contains"):
            test = _holds(_selector(first), self.value("a value"))
        elif self.take("matches"):
            test = _matches(_selector(first), self.value("a regular expression"))
        elif not negated and (sign := self.take("==", "!=")):
            negated = sign == "!="
            pointer, value = _selector(first), self.value("a value")
            test = lambda entry: _text(_at(entry, pointer)) == value  # noqa: E731
        else:
            raise self.problem("==, !=, in, contains, matches or is")
        return (lambda entry: not test(entry)) if negated else test


def _selector(text: str) -> tuple[str, ...]:
    pointer = FIELDS.get(text, text)
    if not pointer.startswith("/"):
        raise InvalidRequest(f"{text[:64]!r} is no selector; use {', '.join(FIELDS)} or a JSON pointer")
    return _pointer(pointer)


def _holds(pointer: tuple[str, ...], value: str) -> Test:
    def test(entry: Entry) -> bool:
        found = _at(entry, pointer)
        if isinstance(found, list | Mapping):
            return value in (found if isinstance(found, Mapping) else [_text(each) for each in found])
        return value in _text(found)

    return test


def _matches(pointer: tuple[str, ...], pattern: str) -> Test:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise InvalidRequest(f"the regular expression cannot be read: {error}") from None
    return lambda entry: compiled.search(_text(_at(entry, pointer))[:_LONGEST]) is not None
