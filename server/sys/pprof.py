"""``sys/pprof``: profiles, as far as an interpreter has what Go's runtime has. They are text."""

from __future__ import annotations

import asyncio
from typing import Annotated

from ...framework import Field, NoParams, Params, Response, read
from ...framework.errors import InvalidRequest, MultipleErrors, RateLimited, UnsupportedPath
from ...framework.wire import NUMBER
from ..request import CoreRequest
from ..telemetry import profiles
from .base import SystemRoutes

_LONGEST = 60.0  # seconds
_OFFERED = {
    "goroutine": "what every task and thread is at",
    "heap": "how many objects there are of which type",
    "profile": "where the processor's time goes, for seconds (30, at most 60)",
}
_GO = frozenset({"allocs", "block", "cmdline", "mutex", "symbol", "threadcreate", "trace"})


class ProfileName(Params):
    name: Annotated[str, Field("goroutine, heap or profile.")]


class ProfileTime(Params):
    seconds: Annotated[float, Field("How long to look, at most 60 seconds.", NUMBER)] = 30.0


class ProfileRoutes(SystemRoutes):
    """Where time and memory go."""

    _busy = False

    @read("pprof[/]")
    async def profiles(self, req: CoreRequest, p: NoParams) -> Response:
        """List the profiles that there are."""
        return _text("".join(f"{name}: {what}\n" for name, what in _OFFERED.items()))

    @read("pprof/goroutine")
    async def tasks(self, req: CoreRequest, p: NoParams) -> Response:
        """Show what every task and thread is at."""
        return _text(profiles.tasks())

    @read("pprof/heap")
    async def heap(self, req: CoreRequest, p: NoParams) -> Response:
        """Show how many objects there are of which type."""
        return _text(await asyncio.to_thread(profiles.heap))

    @read("pprof/profile")
    async def profile(self, req: CoreRequest, p: ProfileTime) -> Response:
        """Show where the processor's time goes: stacks, one a line, with how often they were seen.

        This is the "folded" form that flame graphs are drawn of.
        """
        if not 0 < p.seconds <= _LONGEST:
            raise InvalidRequest(f"seconds is more than 0 and at most {_LONGEST:g}")
        if ProfileRoutes._busy:
            raise RateLimited("a profile is being taken; try again when it is ready")
        ProfileRoutes._busy = True
        try:
            return _text(await asyncio.to_thread(profiles.processor, p.seconds))
        finally:
            ProfileRoutes._busy = False

    @read("pprof/{name:segment}")
    async def other(self, req: CoreRequest, p: ProfileName) -> Response:
        """Say which profiles there are."""
        if p.name not in _GO:
            raise UnsupportedPath(MultipleErrors("unsupported path").args[0])
        raise InvalidRequest(f"{p.name} is a profile of Go's runtime; there are: {', '.join(_OFFERED)}")


def _text(text: str) -> Response:
    return Response(status=200, body=text.encode(), content_type="text/plain; charset=utf-8")
