"""``path-help``: what the server says about a path."""

from __future__ import annotations

from .. import values
from ..command import ONE, Command
from ..invocation import CommandError, Invocation
from .data import path_argument


def path_help(run: Invocation) -> int:
    path = path_argument(run.args[0])
    with run.failing("Error retrieving help"):
        answer = run.client.answer("GET", path, query={"help": "1"})
    if not isinstance(answer, dict):
        raise CommandError(f"No help found at {path}")
    if run.table:
        return run.say(str(answer.get("help", "")))
    description = answer.get("openapi") or answer
    if run.format == "json":
        return run.say(values.compact(description))
    return run.data(description)


PATH_HELP = Command(
    "path-help", path_help,
    "Shows the server's own help for a path, or for all paths of a mount.\n\n    $ caveau path-help database/",
    usage="[options] PATH", arity=ONE, formats=True,
)  # fmt: skip
