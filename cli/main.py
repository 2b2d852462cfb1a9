"""The ``caveau`` command.

Exit codes are the original's: 0 done, 1 wrong use, 2 the server refused or had nothing, 127 no such
command.
"""

from __future__ import annotations

import os
import sys

from .command import Command, Group, find
from .flags import Flag, Flags, UsageError


def main(argv: list[str] | None = None) -> int:
    """Run one command line (``sys.argv`` by default) and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _dispatch(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    return code


def _dispatch(arguments: list[str]) -> int:
    from .tree import ROOT

    if arguments in (["-v"], ["-version"], ["--version"]):
        arguments = ["version"]
    node, words, rest = find(ROOT, arguments)
    wanted = rest[: rest.index("--")] if "--" in rest else rest
    if any(argument in ("-h", "-help", "--help") for argument in wanted) and (words or rest[0].startswith("-")):
        from .help import page

        print(page(node, words))
        return 0
    if not words and rest and rest[0].startswith("-") and find(ROOT, [a for a in rest if not a.startswith("-")])[1]:
        print("Flags belong after the command: caveau <command> [flags] [args].", file=sys.stderr)
        return 1
    if isinstance(node, Group):
        from .help import page

        print(page(node, words), file=sys.stderr)
        return 1 if words else 127
    if node.verbatim:
        from .invocation import Invocation

        return node.handler(Invocation(Flags({}, frozenset()), rest))
    return _run(node, rest)


def _run(command: Command, arguments: list[str]) -> int:
    from . import flags, terminal
    from .client import SetupError, Shown
    from .invocation import CommandError, Invocation, chosen_format

    dry = ""
    try:
        format = chosen_format(arguments)
        values, rest = flags.parse(declared(command), arguments)
        dry = "cURL string" if values.on("output-curl-string") else "policy" if values.on("output-policy") else ""
        if (ignored := flags.trailing(rest)) and format == "table":
            terminal.warn(
                "Command flags must be provided before positional arguments. "
                f"The following arguments will not be parsed as flags: [{','.join(ignored)}]"
            )
        if command.arity and (problem := command.arity.problem(len(rest))):
            raise CommandError(problem, 1)
        if format == "raw" and not command.raw and command.formats:
            raise CommandError("This command does not support the -format=raw option.", 1)
        code = command.handler(Invocation(values, rest, format))
    except Shown as shown:
        print(shown)
        return 0
    except UsageError as e:
        terminal.error(str(e))
        code = 1
    except SetupError as e:
        terminal.error(str(e))
        code = 2
    except CommandError as e:
        if str(e):
            terminal.error(str(e))
        code = e.code
    if dry:
        terminal.error(f"Unable to generate {dry} from command")
        return code or 1
    return code


def declared(command: Command) -> tuple[Flag, ...]:
    """Every flag the command takes."""
    from . import global_flags
    from .help import output_flags

    return (global_flags.HTTP if command.http else ()) + output_flags(command) + command.flags
