"""``operator diagnose`` and ``operator validate-config``: what is wrong before a server starts."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ... import __version__
from .. import environment, terminal
from ..command import Command
from ..flags import Flag
from ..invocation import CommandError, Invocation

if TYPE_CHECKING:
    from ...server.diagnose import Check

_SKIPPABLE = ("listener", "storage", "autounseal")
_SHOWN = {"ok": "success", "warn": "warning", "error": "failure", "skipped": "skipped"}
_COLOURS = {"ok": 32, "warn": 33, "error": 31, "skipped": 90}
_CONFIG = Flag("config", "strings", "A configuration file, or a directory of *.hcl and *.json files. May be repeated.")
_NO_CONFIG, _UNREADABLE = 3, 4
_VALIDATION = "Validate Config"


def diagnose(run: Invocation) -> int:
    from ...server.diagnose import run as checks

    skip = run.flags.texts("skip")
    if wrong := next((each for each in skip if each not in _SKIPPABLE), ""):
        raise CommandError(f"-skip: {wrong} is not one of {', '.join(_SKIPPABLE)}", 1)
    found = checks(_paths(run), skip, thorough=run.flags.on("debug"))
    parsed = next(each for each in found.children if each.name == "Parse Configuration")
    code = {"error": 1, "warn": 2}.get(found.worst, 0)
    _show(run, found)
    return _UNREADABLE if parsed.status == "error" else code


def validate(run: Invocation) -> int:
    from ...server.config import ConfigError, check, load
    from ...server.diagnose import Check

    found = Check(_VALIDATION)
    try:
        check(load(_paths(run)))
    except ConfigError as error:
        found.status = "error"
        for problem in error.problems:
            found.add("Check Configuration Syntax", "error", problem)
    _show(run, found)
    return 1 if found.worst == "error" else 0


def _paths(run: Invocation) -> list[str]:
    paths = run.flags.texts("config") or [path for path in (environment.lookup("CONFIG_PATH"),) if path]
    if not paths:
        raise CommandError("Must specify a configuration file using -config.", _NO_CONFIG)
    return paths


def _show(run: Invocation, found: Check) -> None:
    if not run.table:
        run.data(found.wire())
        return
    run.say(f"Caveau v{__version__}")
    if found.name != _VALIDATION:
        run.say("\nResults:")
    colours = terminal.coloured(sys.stdout)
    for depth, check in found.walk():
        status, indent = check.worst, "  " * depth
        mark = f"[ {_SHOWN[status]} ]"
        if colours:
            mark = f"\033[{_COLOURS[status]}m{mark}\033[0m"
        run.say(f"{indent}{mark} {check.name}" + (f": {check.message}" if check.message else ""))
        if check.advice:
            run.say(terminal.wrap(check.advice, indent + "  "))


DIAGNOSE = Command(
    "diagnose", diagnose,
    "Looks for what would keep a server from starting, or from working well: its configuration, its store, its\n"
    "TLS files, its addresses and the limits of the system. Run it as the user that the server runs as.\n\n"
    "    $ caveau operator diagnose -config=/etc/caveau/server.hcl\n\n"
    "While the server runs, its address is taken and its store in use:\n\n"
    "    $ caveau operator diagnose -config=/etc/caveau/server.hcl -skip=listener -skip=storage\n\n"
    "Exit code 0: all is well; 1: a check failed; 2: there are warnings; 3: no configuration was named;\n"
    "4: it cannot be read.",
    usage="", arity=None, http=False, formats=True,
    flags=(
        _CONFIG,
        Flag("debug", "bool", "Show the settings that have no effect here, too."),
        Flag("skip", "strings", "Leave out checks: listener, storage or autounseal. May be repeated."),
    ),
)  # fmt: skip

VALIDATE = Command(
    "validate-config", validate,
    "Reads a configuration as a server would, and says what is wrong with it. Nothing but its files is looked at:\n"
    "it may be meant for another machine.\n\n    $ caveau operator validate-config -config=/etc/caveau/server.hcl",
    usage="", arity=None, http=False, formats=True, flags=(_CONFIG,),
)  # fmt: skip
