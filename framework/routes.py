"""Path templates and the decorators that make a method a route.

    @read("keys/{name}", writes=False)
    async def read_key(self, req: Request, p: KeyName) -> ...:
        '''One line of summary.

        The description.
        '''

``{name}`` matches a word of letters, digits, ``_``, ``-`` and ``.``; ``{name:segment}`` one path segment;
``{name:path}`` anything, slashes too. ``[/...]`` is optional. A list or scan path may end in ``/``.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from .params import Params

Handler = TypeVar("Handler", bound=Callable[..., Awaitable[Any]])

METHODS = {
    "read": "get", "list": "get", "scan": "get", "update": "post", "patch": "patch", "delete": "delete",
}  # fmt: skip
_WRITES = frozenset({"update", "patch", "delete"})
_CAPTURE = re.compile(r"\{(\w+)(?::(\w+))?\}")
_PIECE = re.compile(rf"([^][{{]+|[][])|{_CAPTURE.pattern}")
_BRACKETS = re.compile(r"[^][{}]*(?:\[[^][{}]*\][^][{}]*)*")
_OPTIONAL = {"[": "(?:", "]": ")?"}
_PATTERNS = {"": r"\w(?:[\w.-]*\w)?", "segment": "[^/]+", "path": ".*", "some": ".+"}


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a decorator noted on a method; the engine class makes a Route of it."""

    op: str
    template: str
    auth: bool
    sudo: bool
    writes: bool
    external: bool
    sealed: bool
    exists: str
    hidden: bool
    login: str


@dataclass(frozen=True, slots=True)
class Route:
    """One operation on one path template of an engine.

    auth       a token is needed (else anyone may call)
    sudo       the token's policy must grant sudo too
    writes     runs in a storage transaction, on the active node
    external   has an effect outside the store: never rerun on a conflict
    sealed     answers while the server is sealed too
    exists     name of the method that tells create from update, and may do so by what it has found, which is
               ``req.existing`` then; empty: always update
    hidden     left out of the OpenAPI document
    login      name of the field that says who logs in: whom failures (InvalidCredentials) may lock out
    """

    op: str
    template: str
    handler: str
    params: type[Params]
    summary: str
    description: str
    auth: bool
    sudo: bool
    writes: bool
    external: bool
    sealed: bool
    exists: str
    hidden: bool
    login: str

    @property
    def regex(self) -> re.Pattern[str]:
        """What a path of the route matches in full, with its captures as named groups."""
        return compile_template(self.template, folder=self.op in ("list", "scan"))

    def openapi_paths(self) -> list[str]:
        """The paths of this route as OpenAPI writes them, optional parts left out and put in."""
        plain = re.sub(r"\{(\w+):\w+\}", r"{\1}", self.template)
        shortest = re.sub(r"\[[^\]]+\]", "", plain)
        longest = plain.replace("[", "").replace("]", "")
        return [shortest] if shortest == longest else [shortest, longest]

    def shapes(self) -> set[str]:
        """Its paths without the names of captures: routes that share one share paths."""
        return {re.sub(r"\{[^}]+\}", "{}", path) for path in self.openapi_paths()}

    @property
    def specificity(self) -> tuple[int, int, int]:
        """Sort key: most literal first, so that the order of declaration never matters."""
        return (self.template.count(":path}") + self.template.count(":some}"), self.template.count("{"),
                -len(self.template))  # fmt: skip


def captures(template: str) -> list[str]:
    """The names that a template captures; raises TypeError for one that cannot be read."""
    found = _CAPTURE.findall(template)
    names = [name for name, _ in found]
    if (
        not _BRACKETS.fullmatch(_CAPTURE.sub("", template))
        or any(kind not in _PATTERNS for _, kind in found)
        or not all(map(str.isidentifier, names))
        or len(set(names)) < len(names)
    ):
        raise TypeError(f"cannot read the path template {template!r}")
    return names


@functools.cache  # and no sooner than a path is to be matched: a server has hundreds of templates and starts with few
def compile_template(template: str, *, folder: bool) -> re.Pattern[str]:
    """The regular expression of a template that can be read, for ``fullmatch``; ``folder``: a slash may follow."""
    pattern = ""
    for text, name, kind in _PIECE.findall(template):
        pattern += f"(?P<{name}>{_PATTERNS[kind]})" if name else _OPTIONAL.get(text) or re.escape(text)
    return re.compile(pattern + ("/?" if folder else ""), re.ASCII | re.DOTALL)


def route(
    op: str,
    template: str,
    *,
    auth: bool = True,
    sudo: bool = False,
    writes: bool | None = None,
    external: bool = False,
    sealed: bool = False,
    exists: str = "",
    hidden: bool = False,
    login: str = "",
) -> Callable[[Handler], Handler]:
    """Declare the method as the handler of ``op`` on ``template``; the flags are those of Route."""
    if op not in METHODS:
        raise TypeError(f"unknown operation {op!r}")
    does_write = op in _WRITES if writes is None else writes
    declaration = Declaration(op, template, auth, sudo, does_write, external, sealed, exists, hidden, login)

    def mark(handler: Handler) -> Handler:
        is_async = inspect.iscoroutinefunction(handler)
        if not is_async:
            raise TypeError(f"{getattr(handler, '__qualname__', handler)}: a handler is an async function")
        handler.__dict__.setdefault("_routes", []).append(declaration)
        return handler

    return mark


def read(template: str, **flags: Any) -> Callable[[Handler], Handler]:
    """GET."""
    return route("read", template, **flags)


def list_(template: str, **flags: Any) -> Callable[[Handler], Handler]:
    """LIST, or GET with ``?list=true``."""
    return route("list", template, **flags)


def scan(template: str, **flags: Any) -> Callable[[Handler], Handler]:
    """SCAN, or GET with ``?scan=true``: a recursive list."""
    return route("scan", template, **flags)


def update(template: str, **flags: Any) -> Callable[[Handler], Handler]:
    """POST and PUT, whether it creates or updates."""
    return route("update", template, **flags)


def patch(template: str, **flags: Any) -> Callable[[Handler], Handler]:
    """PATCH with an ``application/merge-patch+json`` body."""
    return route("patch", template, **flags)


def delete(template: str, **flags: Any) -> Callable[[Handler], Handler]:
    """DELETE."""
    return route("delete", template, **flags)
