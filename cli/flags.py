"""Command-line flags the way Go's ``flag`` package reads them.

``-name value``, ``-name=value`` and ``--name`` are the same flag; a boolean takes its value only
after ``=``; parsing stops at the first argument that is no flag, and at ``--``.
"""

from __future__ import annotations

from typing import NamedTuple

from . import durations, environment

Value = str | int | bool | list[str] | dict[str, str] | None


class UsageError(Exception):
    """The command line is wrong. The message is for the user."""


class Flag(NamedTuple):
    """One flag. ``type`` is ``string``, ``bool``, ``*bool`` (unset is not false), ``int``, ``uint``,
    ``duration`` (nanoseconds), ``key=value`` or ``strings`` (both may repeat)."""

    name: str
    type: str
    help: str
    default: Value = None
    env: str = ""
    aliases: tuple[str, ...] = ()
    placeholder: str = ""

    @property
    def shown_type(self) -> str:
        """The type as the help page shows it, ``""`` for a plain switch."""
        if self.placeholder:
            return self.placeholder
        return {"bool": "", "strings": "string"}.get(self.type, self.type)

    def unset(self) -> Value:
        """The value where the command line does not give one."""
        if self.env and (text := environment.lookup(self.env)):
            try:
                return self.parse(text, None)
            except ValueError as e:
                raise UsageError(f"failed to read environment: {environment.variable(self.env)}: {e}") from e
        if self.default is not None:
            return self.default
        empty: dict[str, Value] = {"string": "", "bool": False, "int": 0, "uint": 0, "duration": 0}
        if self.type == "strings":
            return []
        return {} if self.type == "key=value" else empty.get(self.type)

    def parse(self, text: str, before: Value) -> Value:
        """The value of ``text``, added to what earlier uses gave. Raises ValueError."""
        match self.type:
            case "bool" | "*bool":
                return environment.parse_bool(text)
            case "int" | "uint":
                return _integer(text, signed=self.type == "int")
            case "duration":
                return durations.parse(text)
            case "strings":
                return [*(before if isinstance(before, list) else []), text.strip()]
            case "key=value":
                key, sign, value = text.partition("=")
                if not sign:
                    raise ValueError(f'missing = in KV pair: "{text}"')
                return {**(before if isinstance(before, dict) else {}), key: value}
            case _:
                return text


class Flags:
    """The values of a command's flags."""

    def __init__(self, values: dict[str, Value], given: frozenset[str]) -> None:
        self._values = values
        self._given = given

    def given(self, name: str) -> bool:
        """Whether the command line named the flag."""
        return name in self._given

    def text(self, name: str) -> str:
        value = self._values.get(name, "")
        return value if isinstance(value, str) else ""

    def on(self, name: str) -> bool:
        return self._values.get(name) is True

    def maybe(self, name: str) -> bool | None:
        """A ``*bool``: None where nobody said."""
        value = self._values.get(name)
        return value if isinstance(value, bool) else None

    def number(self, name: str) -> int:
        value = self._values.get(name, 0)
        return value if isinstance(value, int) else 0

    def texts(self, name: str) -> list[str]:
        value = self._values.get(name)
        return value if isinstance(value, list) else []

    def pairs(self, name: str) -> dict[str, str]:
        value = self._values.get(name)
        return value if isinstance(value, dict) else {}


def parse(declared: tuple[Flag, ...], argv: list[str]) -> tuple[Flags, list[str]]:
    """Read ``argv`` up to its first argument that is no flag.

    Returns the values of all declared flags and the arguments left. Raises UsageError.
    """
    by_name = {name: flag for flag in declared for name in (flag.name, *flag.aliases)}
    found: dict[str, Value] = {}
    rest = list(argv)
    while rest and len(rest[0]) > 1 and rest[0].startswith("-"):
        argument = rest.pop(0)
        if argument == "--":
            break
        name, has_value, text = argument.removeprefix("-").removeprefix("-").partition("=")
        if not name or name.startswith("-"):
            raise UsageError(f"bad flag syntax: {argument}")
        flag = by_name.get(name)
        if flag is None:
            raise UsageError(f"flag provided but not defined: -{name}")
        boolean = flag.type in ("bool", "*bool")
        if not has_value:
            if boolean:
                text = "true"
            elif rest:
                text = rest.pop(0)
            else:
                raise UsageError(f"flag needs an argument: -{name}")
        try:
            found[flag.name] = flag.parse(text, found.get(flag.name))
        except ValueError as e:
            if boolean:
                raise UsageError(f'invalid boolean value "{text}" for -{name}: {e}') from e
            raise UsageError(f'invalid value "{text}" for flag -{name}: {e}') from e
    values = {flag.name: found[flag.name] if flag.name in found else flag.unset() for flag in declared}
    return Flags(values, frozenset(found)), rest


def trailing(arguments: list[str]) -> list[str]:
    """Arguments after the first positional one that look like flags, and will not be read as such."""
    global_names = ("output-curl-string", "output-policy", "format", "detailed")
    return [
        argument
        for argument in arguments
        if argument.startswith("-") and argument != "-" and argument.lstrip("-").partition("=")[0] not in global_names
    ]


def _integer(text: str, *, signed: bool) -> int:
    """A 64-bit integer; ``0x``, ``0o`` and ``0b`` prefixes count as Go's base 0 does."""
    parser = "ParseInt" if signed else "ParseUint"
    try:
        value = int(text, 0) if text == text.strip() else int("")
    except ValueError:
        raise ValueError(f'strconv.{parser}: parsing "{text}": invalid syntax') from None
    low, high = (-(2**63), 2**63) if signed else (0, 2**64)
    if not low <= value < high:
        problem = "invalid syntax" if not signed and value < 0 else "value out of range"
        raise ValueError(f'strconv.{parser}: parsing "{text}": {problem}')
    return value
