"""How much each logger says: the server's level, levels of single loggers, and what watchers want besides.

A watcher (``sys/monitor``) may ask for more than goes to the log. So a logger of Python's lets through what
anybody wants, and each handler takes of that what it is for.
"""

from __future__ import annotations

import logging
from typing import Final

TRACE: Final = 5
LEVELS: Final = {"trace": TRACE, "debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING,
                 "error": logging.ERROR}  # fmt: skip
SHOWN: Final = {number: name for name, number in LEVELS.items()} | {logging.CRITICAL: "error"}
_ALSO = {"": "info", "notice": "info", "warning": "warn", "err": "error"}
_ROOT = logging.getLogger("caveau")
_PREFIXES = ("caveau.server.", "caveau.")

_base = [logging.INFO]
_single: dict[str, int] = {}  # by the name that Python has for it
_watched: list[int] = []


def parse(text: str) -> int:
    """The number of a level; raises ValueError."""
    name = text.strip().lower()
    try:
        return LEVELS[_ALSO.get(name, name)]
    except KeyError:
        raise ValueError(f"unknown log level: {text[:64]}") from None


def shown_name(name: str) -> str:
    """What log lines call a logger."""
    return name.removeprefix("caveau.").removeprefix("server.")


def of_server() -> int:
    return _base[0]


def set_server(level: int) -> None:
    """Of all loggers but those that have one of their own."""
    _base[0] = level
    _apply()


def set_all(level: int | None) -> None:
    """Of every logger for now, until ``None`` gives them the server's again."""
    _single.clear()
    if level is not None:
        _single[_ROOT.name] = level
    _apply()


def set_one(name: str, level: int | None) -> None:
    """Of one logger and those below it; None gives it the server's. Raises KeyError for one that is not there."""
    known = _find(name)
    if level is None:
        _single.pop(known, None)
    else:
        _single[known] = level
    _apply()


def each() -> dict[str, int]:
    """Every logger of ours with its level."""
    return {shown_name(name): level_of(name) for name in sorted(_names())}


def one(name: str) -> int | None:
    """The level of a logger; None where there is none of that name."""
    try:
        return level_of(_find(name))
    except KeyError:
        return None


def level_of(name: str) -> int:
    """By the name that Python has for the logger: its own, else that of the nearest above it."""
    if not _single:
        return _base[0]
    while name:
        if (level := _single.get(name)) is not None:
            return level
        name = name.rpartition(".")[0]
    return _base[0]


def watch(level: int) -> None:
    """From now on lines of this level are made, for a handler that somebody has added."""
    _watched.append(level)
    _apply()


def unwatch(level: int) -> None:
    _watched.remove(level)
    _apply()


class OfServer(logging.Filter):
    """Lets through what belongs into the server's own log."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (_watched or _single) or record.levelno >= level_of(record.name) or not _is_ours(record.name)


def _is_ours(name: str) -> bool:
    return name == _ROOT.name or name.startswith(_PREFIXES)


def _names() -> list[str]:
    found = _ROOT.manager.loggerDict
    return [name for name, each in found.items() if name.startswith(_PREFIXES) and isinstance(each, logging.Logger)]


def _find(name: str) -> str:
    return {shown_name(each): each for each in _names()}[name]


_set: set[str] = set()  # loggers whose own level Python has


def _apply() -> None:
    """Tell Python's loggers what to let through."""
    for name in _set - _single.keys():
        logging.getLogger(name).setLevel(logging.NOTSET)
    _set.clear()
    _set.update(_single)
    most = min(_watched, default=logging.CRITICAL)
    for name, level in _single.items():
        logging.getLogger(name).setLevel(min(level, most))
    _ROOT.setLevel(min(level_of(_ROOT.name), most))
