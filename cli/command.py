"""How a command is declared: its parser, its help page and its place in the tree come from this."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from .flags import Flag

if TYPE_CHECKING:
    from .invocation import Invocation


class Arity(NamedTuple):
    """How many arguments a command takes; ``high`` None is any number."""

    low: int = 0
    high: int | None = 0
    expected: str = ""  # how the message names the number, where not "1" or "0-1"

    def problem(self, got: int) -> str | None:
        """What is wrong with ``got`` arguments, or None."""
        expected = self.expected or (str(self.low) if self.low == self.high else f"{self.low}-{self.high}")
        if self.high is None:
            expected = self.expected or str(self.low)
        if got < self.low:
            return f"Not enough arguments (expected {expected}, got {got})"
        if self.high is not None and got > self.high:
            return f"Too many arguments (expected {expected}, got {got})"
        return None


ONE = Arity(1, 1)


class Command(NamedTuple):
    """A command that does something.

    ``usage`` follows the name on the help page. ``http`` gives it the flags of every request,
    ``field`` and ``formats`` those of output. ``arity`` None leaves the count to the handler.
    The handler returns the exit code.
    """

    name: str
    handler: Callable[[Invocation], int]
    help: str
    summary: str = ""
    usage: str = "[options]"
    arity: Arity | None = Arity()
    flags: tuple[Flag, ...] = ()
    http: bool = True
    formats: bool = False
    field: bool = False
    raw: bool = False
    verbatim: bool = False  # arguments are passed on unread


class Group(NamedTuple):
    """A command that only holds others."""

    name: str
    help: str
    children: tuple[Command | Group | Lazy, ...]
    summary: str = ""
    usage: str = "<subcommand> [options] [args]"


class Lazy(NamedTuple):
    """A command whose module is imported only when it runs; ``target`` is ``module:NAME``."""

    name: str
    summary: str
    target: str
    common: bool = False

    def load(self) -> Command | Group:
        module, _, attribute = self.target.partition(":")
        found = getattr(import_module(module, __package__), attribute)
        if not isinstance(found, Command | Group):
            raise TypeError(f"{self.target} is no command")
        return found


def find(root: Group, argv: list[str]) -> tuple[Command | Group, list[str], list[str]]:
    """Follow ``argv`` down the tree: the deepest command, its words, and the arguments left."""
    node: Command | Group = root
    words: list[str] = []
    rest = list(argv)
    while isinstance(node, Group) and rest:
        child = next((child for child in node.children if child.name == rest[0]), None)
        if child is None:
            break
        words.append(rest.pop(0))
        node = child.load() if isinstance(child, Lazy) else child
    return node, words, rest
