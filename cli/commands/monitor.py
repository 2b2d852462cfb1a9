"""``monitor``: the log of a server, as it is made."""

from __future__ import annotations

import sys

from ..command import Command
from ..flags import Flag
from ..invocation import CommandError, Invocation

_LEVELS = ("trace", "debug", "info", "warn", "error")
_FORMATS = ("standard", "json")


def monitor(run: Invocation) -> int:
    level = (run.flags.text("log-level") or "info").strip().lower()
    format = (run.flags.text("log-format") or "standard").strip().lower()
    if level not in _LEVELS:
        raise CommandError(f"{level} is an unknown log level. Valid log levels are: [{' '.join(_LEVELS)}]", 1)
    if format not in _FORMATS:
        raise CommandError(f"{format} is an unknown log format. Valid log formats are: [{' '.join(_FORMATS)}]", 1)
    try:
        with (
            run.failing("Error starting monitor"),
            run.client.lines("sys/monitor", {"log_level": level, "log_format": format}) as lines,
        ):
            for line in lines:
                sys.stdout.write(line.decode(errors="replace"))
                sys.stdout.flush()
    except CommandError as error:
        raise CommandError(str(error), 1) from error
    return 0


MONITOR = Command(
    "monitor", monitor,
    "Shows the log of a server as it is made, until the server stops or you do. It may show more than the server\n"
    "itself logs:\n\n    $ caveau monitor -log-level=debug",
    flags=(
        Flag("log-format", "string", "standard or json.", default="standard", env="LOG_FORMAT"),
        Flag("log-level", "string", "The least level of lines that are shown: trace, debug, info, warn or error.",
             default="info", env="LOG_LEVEL"),
    ),
)  # fmt: skip
