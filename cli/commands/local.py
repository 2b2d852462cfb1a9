"""``version`` and ``print token``: what needs no server."""

from __future__ import annotations

from ... import __version__
from ..command import Arity, Command, Group
from ..invocation import CommandError, Invocation


def version(run: Invocation) -> int:
    return run.say(f"Caveau v{__version__}")


def print_token(run: Invocation) -> int:
    from .. import token_store

    try:
        return run.say(token_store.current())
    except token_store.TokenStoreError as e:
        raise CommandError(str(e)) from e


VERSION = Command(
    "version", version, "Shows the version of this program, not the server's. Arguments are ignored.",
    usage="", http=False, verbatim=True,
)  # fmt: skip

PRINT = Group(
    "print",
    "Shows what commands would use, after the environment and the stored token are looked at.",
    (
        Command(
            "token", print_token, "Shows the token that commands would use.\n\n    $ caveau print token",
            summary="Show the token that commands would use", usage="", arity=Arity(0, None), http=False,
        ),
    ),
    usage="<subcommand>",
)  # fmt: skip
