"""``K=V`` arguments.

``key=value``; ``key=@file`` and ``key=-`` take the value from a file or standard input; ``@file``
and ``-`` alone take a JSON object. A key that comes twice becomes a list, ``\\@`` is a plain ``@``.
"""

from __future__ import annotations

import json
import sys
from typing import Any, TextIO

from .values import loads


class PairError(ValueError):
    """An argument that is no pair; the message never shows a value that came from a file."""


def parse(arguments: list[str], stdin: TextIO | None = None) -> dict[str, Any]:
    """The data of ``arguments``. Raises PairError."""
    result: dict[str, Any] = {}
    for argument in arguments:
        if argument == "-":
            result.update(_object(argument, _read_stdin(stdin)))
        elif argument.startswith("@"):
            result.update(_object(argument, _read_file(argument[1:], argument)))
        else:
            key, sign, value = argument.partition("=")
            if not sign:
                raise PairError(f'invalid key/value pair "{argument}": format must be key=value')
            _add(result, key, _value(argument, value, stdin))
    return result


def strings(arguments: list[str], stdin: TextIO | None = None) -> dict[str, list[str]]:
    """The same for query strings: every value a list of texts."""
    return {
        key: [text(item) for item in (value if isinstance(value, list) else [value])]
        for key, value in parse(arguments, stdin).items()
    }


def text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _value(argument: str, value: str, stdin: TextIO | None) -> str:
    if value == "-":
        return _read_stdin(stdin)
    if value.startswith("@"):
        return _read_file(value[1:], argument, "error reading file: ")
    return value[1:] if value.startswith("\\@") else value


def _add(result: dict[str, Any], key: str, value: str) -> None:
    before = result.get(key)
    if key not in result:
        result[key] = value
    elif isinstance(before, list):
        before.append(value)
    else:
        result[key] = [before, value]


def _read_file(path: str, argument: str, problem: str = "") -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError as e:
        reason = (e.strerror or str(e)).lower()
        raise PairError(f'invalid key/value pair "{argument}": {problem}open {path}: {reason}') from e
    except UnicodeDecodeError as e:
        raise PairError(f'invalid key/value pair "{argument}": {problem}{path} is not UTF-8 text') from e


def _read_stdin(stdin: TextIO | None) -> str:
    return (stdin or sys.stdin).read()


def _object(argument: str, content: str) -> dict[str, Any]:
    try:
        value = loads(content)
    except json.JSONDecodeError as e:
        reason = "EOF" if not content.strip() else f"{e.msg} at line {e.lineno} column {e.colno}"
        raise PairError(f'invalid key/value pair "{argument}": {reason}') from None
    if not isinstance(value, dict):
        raise PairError(f'invalid key/value pair "{argument}": not a JSON object')
    return value
