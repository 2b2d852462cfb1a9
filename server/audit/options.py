"""The options of an audit device: text pairs, read by name, every one of them known."""

from __future__ import annotations

from collections.abc import Mapping

from ...framework.errors import InvalidRequest
from ...framework.wire import parse_bool, parse_duration

COMMON = ("log_raw", "hmac_accessor", "elide_list_responses", "prefix", "filter", "exclude", "format")
"""What every device takes; the rest is read by the device itself."""


class Options:
    """Reads options; every method raises InvalidRequest for a value that cannot be read."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = given
        self._read: set[str] = set()

    def text(self, name: str, default: str | None = "", *aliases: str, choices: tuple[str, ...] = ()) -> str:
        """``default`` None: required."""
        self._read |= {name, *aliases}
        value = next((self._given[each] for each in (name, *aliases) if self._given.get(each)), default)
        if value is None:
            raise InvalidRequest(f"{name} is required")
        if choices and value not in choices:
            raise InvalidRequest(f"unsupported {name} {value[:64]!r}; use one of: {', '.join(choices)}")
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        try:
            text = self.text(name)
            return parse_bool(text) if text else default
        except ValueError:
            raise InvalidRequest(f"{name} is neither true nor false") from None

    def seconds(self, name: str, default: float, *, least: float = 0.0, most: float = float("inf")) -> float:
        text = self.text(name)
        try:
            value = parse_duration(text) if text else default
            if not least <= value <= most:
                raise ValueError(f"use {least:g} to {most:g} seconds")
        except ValueError as error:
            raise InvalidRequest(f"{name}: {error}") from None
        return value

    def natural(self, name: str, default: int, *, base: int = 10) -> int:
        text = self.text(name)
        try:
            value = int(text, base) if text else default
            if value < 0 or len(text) > 18:
                raise ValueError
        except ValueError:
            raise InvalidRequest(f"{name} is not a {'whole' if base == 10 else 'octal'} number") from None
        return value

    def finish(self) -> None:
        """Raises InvalidRequest if there are options that nobody has read."""
        unknown = sorted(self._given.keys() - self._read - set(COMMON))
        if unknown:
            raise InvalidRequest(f"the device has no option {', '.join(unknown)[:200]}")
