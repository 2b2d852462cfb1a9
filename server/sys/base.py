"""What every part of ``sys/`` shares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...framework import Context, Engine

if TYPE_CHECKING:
    from ..core import Core


class SystemRoutes(Engine):
    """Base of the files of this folder; each adds the routes of one resource."""

    def __init__(self, context: Context, core: Core) -> None:
        super().__init__(context)
        self.core = core
