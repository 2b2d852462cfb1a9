"""``operator unseal``: one key share at a time."""

from __future__ import annotations

import sys
from typing import Any

from ..client import ClientError
from ..command import Arity, Command
from ..flags import Flag
from ..invocation import Invocation
from .status import show_seal_status


def key_argument(run: Invocation, arguments: list[str]) -> str:
    """The key share: an argument, standard input for ``-``, or asked for on the terminal."""
    if arguments:
        return sys.stdin.read().strip() if arguments[0] == "-" else arguments[0].strip()
    return run.prompt(
        "Unseal Key (will be hidden): ",
        lambda reason: (
            "An error occurred attempting to ask for an unseal key. Run the command from a terminal, which "
            f'is safest, or pass "-" as the argument to read the key from standard input. The raw error was: {reason}'
        ),
    )


def unseal(run: Invocation) -> int:
    if run.flags.on("reset"):
        body: dict[str, Any] = {"reset": True}
    else:
        body = {"key": key_argument(run, run.args), "reset": False, "migrate": run.flags.on("migrate")}
    with run.failing("Error unsealing"):
        status = run.client.answer("PUT", "sys/unseal", body=body)
    leader: dict[str, Any] = {}
    if not status.get("sealed"):
        try:
            leader = run.client.answer("GET", "sys/leader")
        except ClientError:
            leader = {}  # a node that has just unsealed may not know yet
    return show_seal_status(run, status, leader)


UNSEAL = Command(
    "unseal", unseal,
    "Gives a key share to a sealed server; it opens when enough are there. Without KEY the share is asked\n"
    "for and not shown; - reads it from standard input. A share as an argument ends up in the shell's history.\n\n"
    "    $ caveau operator unseal",
    usage="[options] [KEY]", arity=Arity(0, 1, "1"), formats=True,
    flags=(
        Flag("migrate", "bool", "The share is for a migration to another seal."),
        Flag("reset", "bool", "Forget the shares given so far."),
    ),
)  # fmt: skip
