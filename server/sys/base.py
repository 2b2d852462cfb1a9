"""What every part of ``sys/`` shares."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any

from ...framework import Context, Engine

if TYPE_CHECKING:
    from ..core import Core


class SystemRoutes(Engine):
    """Base of the files of this folder; each adds the routes of one resource."""

    def __init__(self, context: Context, core: Core) -> None:
        super().__init__(context)
        self.core = core


def measured(name: str) -> Callable[[Callable[..., Awaitable[Any]]], Callable[..., Awaitable[Any]]]:
    """Note how long a handler takes in a metric of its own, one that Vault has. Goes below the decorators of routes."""

    def measure(handler: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        @functools.wraps(handler)
        async def timed(self: SystemRoutes, req: Any, p: Any) -> Any:
            began = perf_counter()
            try:
                return await handler(self, req, p)
            finally:
                self.core.metrics.observe(name, perf_counter() - began)

        return timed

    return measure
