"""``operator migrate``: from one store to another."""

from __future__ import annotations

import asyncio
import logging
import os

from ...framework.errors import CaveauError
from ..command import Command
from ..flags import Flag
from ..invocation import CommandError, Invocation

_log = logging.getLogger(__name__)


def migrate(run: Invocation) -> int:
    from ...server import logs, migration
    from ...server.config import ConfigError
    from ...server.log_levels import LEVELS

    if not (path := run.flags.text("config")):
        raise CommandError("Must specify exactly one config path using -config", 1)
    if (parallel := run.flags.number("max-parallel")) < 1:
        raise CommandError("Argument to flag -max-parallel must be between 1 and 2147483647", 1)
    if (level := run.flags.text("log-level").lower() or "info") not in LEVELS:
        raise CommandError(f"Unknown log level: {level}", 1)
    logs.configure(level=level)
    try:
        plan = migration.load(path, os.environ)
        if run.flags.on("reset"):
            asyncio.run(migration.reset(plan))
            return run.say("Success! Migration lock reset (if it was set).")
        start = run.flags.text("start") if run.flags.given("start") else None
        asyncio.run(migration.run(plan, start=start, parallel=parallel, told=_tell))
    except (CaveauError, ConfigError) as error:
        raise CommandError(f"Error migrating: {error}") from error
    return run.say("Success! All of the keys have been migrated.")


def _tell(copied: int, last: str) -> None:
    _log.info("%d entries copied", copied)
    _log.debug("the last of them is %s", last)


MIGRATE = Command(
    "migrate", migrate,
    "Copies all that one store holds into another, which must be empty. Entries are copied as they are, encrypted:\n"
    "no key is needed, and the new store opens with the keys of the old one. No server may use either store.\n\n"
    "    $ caveau operator migrate -config=migrate.hcl\n\n"
    "The file names both, each with the settings it has in a server's configuration:\n\n"
    '    storage_source "sqlite" {\n      path = "/var/lib/caveau"\n    }\n'
    '    storage_destination "postgresql" {\n      connection_url = "postgres://caveau@db/caveau"\n    }\n\n'
    "A migration that was interrupted goes on where it was when it is run again.",
    usage="[options]", arity=None, http=False,
    flags=(
        Flag("config", "string", "The file that names the two stores.", env="MIGRATE_CONFIG_PATH"),
        Flag("log-level", "string", "trace, debug, info, warn or error.", "info", env="LOG_LEVEL"),
        Flag("max-parallel", "int", "How many reads of the source are under way at a time.", 10),
        Flag("reset", "bool", "Give up an interrupted migration: empty its destination and copy nothing."),
        Flag("start", "string", "Copy only keys that do not come before this one."),
    ),
)  # fmt: skip
