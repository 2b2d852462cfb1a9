"""What is wrong with a configuration, and where."""

from __future__ import annotations


class ConfigError(Exception):
    """The configuration cannot be used. One line a problem, each with its file and line."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def at(source: str, line: int, message: str) -> str:
    return f"{source}:{line}: {message}"
