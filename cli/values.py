"""Values as the original shows them: Go's text of a value, tables, JSON and YAML."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from json.encoder import encode_basestring
from typing import Any


class Decimal(float):
    """A number with a fraction or an exponent that remembers how it was written."""

    __slots__ = ("literal",)
    literal: str

    def __new__(cls, literal: str) -> Decimal:
        self = super().__new__(cls, literal)
        self.literal = literal
        return self


def loads(content: str | bytes) -> Any:
    """Decode JSON; numbers keep their digits."""
    return json.loads(content, parse_float=Decimal)


def text(value: Any) -> str:
    """Go's ``%v`` of a decoded JSON value: ``map[a:1 b:[x y]]``, ``<nil>``."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return value.literal
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{key}:{text(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list | tuple):
        return "[" + " ".join(map(text, value)) + "]"
    return str(value)


def quoted(values: Sequence[str] | None) -> str:
    """Go's ``%q`` of a list of strings: ``["a" "b"]``."""
    return "[" + " ".join(f'"{value}"' for value in values or ()) + "]"


def columns(rows: Sequence[Sequence[str]], gap: str = "    ") -> str:
    """Rows as aligned columns, ``gap`` apart; an empty cell reads ``n/a``."""
    cells = [[cell.strip() or "n/a" for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        gap.join([*(cell.ljust(width) for cell, width in zip(row[:-1], widths[:-1], strict=True)), row[-1]])
        for row in cells
    )


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns under a header, each word of which is underlined."""
    return columns([header, ["-" * len(word) for word in header], *rows])


def to_json(value: Any, indent: str = "") -> str:
    """Indented JSON as Go writes it: maps that are plain dicts keep their order, ``<>&`` are escaped."""
    inner = indent + "  "
    if isinstance(value, Mapping):
        if not value:
            return "{}"
        body = (f"{inner}{_string(str(key))}: {to_json(item, inner)}" for key, item in value.items())
        return "{\n" + ",\n".join(body) + f"\n{indent}}}"
    if isinstance(value, list | tuple):
        if not value:
            return "[]"
        return "[\n" + ",\n".join(inner + to_json(item, inner) for item in value) + f"\n{indent}]"
    if isinstance(value, str):
        return _string(value)
    return value.literal if isinstance(value, Decimal) else json.dumps(value)


def compact(value: Any) -> str:
    """JSON in one line, keys in order."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False).translate(_ESCAPES)


def ordered(value: Any) -> Any:
    """``value`` with the keys of every map in order, as Go writes maps."""
    if isinstance(value, Mapping):
        return {key: ordered(value[key]) for key in sorted(value)}
    return [ordered(item) for item in value] if isinstance(value, list) else value


def to_yaml(value: Any) -> str:
    """YAML: maps in order, lists not indented, doubtful strings in double quotes."""
    from .yaml_text import dump

    return dump(value)


_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})


def _string(value: str) -> str:
    return encode_basestring(value).translate(_ESCAPES)
