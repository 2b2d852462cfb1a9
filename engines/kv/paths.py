"""Paths of secrets: which may be written, and how folders are listed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ...framework.errors import InvalidRequest


def is_secret(path: str) -> bool:
    """Whether ``path`` can name a secret; folders end in a slash."""
    return path[-1:] not in ("", "/")


def check_writable(path: str) -> None:
    if not is_secret(path):
        raise InvalidRequest("cannot write to a path ending in '/'")


def folder(path: str) -> str:
    """``path`` as the prefix of what is in it; empty for the top."""
    return path if path[-1:] in ("", "/") else path + "/"


async def scan(children: Callable[[str], Awaitable[list[str]]], top: str) -> list[str]:
    """Every secret below ``top`` relative to it: those of a folder before those of its folders.

    ``children`` lists one folder, given as a prefix.
    """
    found: list[str] = []
    folders = [""]
    while folders:
        here = folders.pop()
        for name in await children(top + here):
            (folders if name.endswith("/") else found).append(here + name)
    return found
