"""``sys/loggers`` and ``sys/monitor``: how much is logged, and the log as it is made."""

from __future__ import annotations

from typing import Annotated

from ...framework import Field, NoParams, Params, Response, delete, read, update
from ...framework.errors import InvalidRequest
from .. import log_levels, logs
from ..log_levels import SHOWN
from ..request import CoreRequest
from ..telemetry.monitor import Monitor
from .base import SystemRoutes

_FORMATS = {"": "standard", "standard": "standard", "json": "json"}


class LoggerName(Params):
    name: Annotated[str, Field("The logger, as log lines call it.")]


class Level(Params):
    level: Annotated[str, Field("trace, debug, info, warn or error.")] = ""

    def number(self) -> int:
        """Raises InvalidRequest."""
        if not self.level:
            raise InvalidRequest("level is required")
        try:
            return log_levels.parse(self.level)
        except ValueError as error:
            raise InvalidRequest(f"invalid level provided: {error}") from None


class LevelOf(Level, LoggerName):
    pass


class Watch(Params):
    log_level: Annotated[str, Field("The least level of lines that are shown; info by default.")] = ""
    log_format: Annotated[str, Field("standard or json.")] = ""


class LoggerRoutes(SystemRoutes):
    """What goes to the log. Levels set here last until the server ends or is told otherwise."""

    @read("loggers")
    async def read_loggers(self, req: CoreRequest, p: NoParams) -> dict[str, str]:
        """Show every logger and its level."""
        return {name: SHOWN[level] for name, level in log_levels.each().items()}

    @update("loggers", writes=False)
    async def update_loggers(self, req: CoreRequest, p: Level) -> None:
        """Set the level of every logger."""
        log_levels.set_all(p.number())

    @delete("loggers", writes=False)
    async def delete_loggers(self, req: CoreRequest, p: NoParams) -> None:
        """Give every logger the level of the configuration again."""
        log_levels.set_all(None)

    @read("loggers/{name:segment}")
    async def read_logger(self, req: CoreRequest, p: LoggerName) -> dict[str, str]:
        """Show the level of a logger."""
        level = log_levels.one(p.name)
        return {} if level is None else {p.name: SHOWN[level]}

    @update("loggers/{name:segment}", writes=False)
    async def update_logger(self, req: CoreRequest, p: LevelOf) -> None:
        """Set the level of a logger and of those below it."""
        _set(p.name, p.number())

    @delete("loggers/{name:segment}", writes=False)
    async def delete_logger(self, req: CoreRequest, p: LoggerName) -> None:
        """Give a logger the level of the configuration again."""
        _set(p.name, None)

    @read("monitor")
    async def monitor(self, req: CoreRequest, p: Watch) -> Response:
        """Show the log as it is made, until the client goes.

        A client that reads more slowly than lines are made is sent away.
        """
        if (level := log_levels.LEVELS.get(p.log_level.strip().lower() or "info")) is None:
            raise InvalidRequest("unknown log level")
        if (format := _FORMATS.get(p.log_format.strip().lower())) is None:
            raise InvalidRequest("unknown log format")
        core, node = self.core, self.core.node
        watcher = Monitor(level, logs.FORMATS[format]())
        lines = watcher.lines(lambda: core.stopping or core.node is not node)
        kind = "application/x-ndjson" if format == "json" else "text/plain; charset=utf-8"
        return Response(stream=lines, headers={"Content-Type": kind})


def _set(name: str, level: int | None) -> None:
    try:
        log_levels.set_one(name, level)
    except KeyError:
        raise InvalidRequest(f'logger "{name[:128]}" not found') from None
