"""The person at the terminal: prompts, colour, line lengths."""

from __future__ import annotations

import os
import sys
from typing import TextIO

from . import environment

WIDTH = 78


def coloured(stream: TextIO | None = None) -> bool:
    """Whether ``stream`` (standard error) may carry colour: a terminal, and nobody asked for none."""
    if "NO_COLOR" in os.environ or environment.lookup("CLI_NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return (stream or sys.stderr).isatty()


def error(text: str) -> None:
    """Print ``text`` to standard error, red on a terminal."""
    print(f"\033[31m{text}\033[0m" if coloured() else text, file=sys.stderr)


def warn(text: str) -> None:
    """Print ``text`` to standard error, yellow on a terminal."""
    print(f"\033[33m{text}\033[0m" if coloured() else text, file=sys.stderr)


def wrap(text: str, indent: str = "") -> str:
    """Break ``text`` into lines that fit the terminal, each after ``indent``; its own breaks stay."""
    lines = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split():
            if line and len(indent) + len(line) + 1 + len(word) > WIDTH:
                lines.append(indent + line)
                line = word
            else:
                line = f"{line} {word}" if line else word
        lines.append((indent + line).rstrip())
    return "\n".join(lines)


def ask_hidden(prompt: str) -> str:
    """Read a line from the terminal without showing it. Raises OSError where there is no terminal."""
    if not sys.stdin.isatty():
        raise OSError("standard input is not a terminal")
    import getpass

    return getpass.getpass(prompt).strip()
