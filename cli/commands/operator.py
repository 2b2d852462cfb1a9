"""``operator``: running a server."""

from __future__ import annotations

import re
from typing import Any

from .. import values
from ..command import Command, Group, Lazy
from ..invocation import Invocation

_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


def seal(run: Invocation) -> int:
    with run.failing("Error sealing"):
        run.client.write("sys/seal")
    return run.say("Success! Vault is sealed.")


def step_down(run: Invocation) -> int:
    with run.failing("Error stepping down"):
        run.client.write("sys/step-down")
    return run.say(f"Success! Stepped down: {run.client.settings.address.text}")


def key_status(run: Invocation) -> int:
    return _show_key(run, _key(run))


def rotate(run: Invocation) -> int:
    with run.failing("Error rotating key"):
        run.client.write("sys/rotate")
    key = _key(run)
    if run.table:
        print("Success! Rotated key\n")
    return _show_key(run, key)


def _key(run: Invocation) -> dict[str, Any]:
    with run.failing("Error reading key status"):
        return run.client.answer("GET", "sys/key-status")


def _show_key(run: Invocation, key: dict[str, Any]) -> int:
    if not run.table:
        return run.data({name: key.get(name) for name in ("term", "install_time", "encryptions")})
    return run.say(values.columns([
        ("Key Term", values.text(key.get("term"))),
        ("Install Time", _moment(str(key.get("install_time", "")))),
        ("Encryption Count", values.text(key.get("encryptions") or 0)),
    ]))  # fmt: skip


def _moment(text: str) -> str:
    """RFC 3339 as RFC 822 writes it, which the original shows: ``24 Nov 26 08:10 UTC``."""
    found = re.match(r"\d\d(\d\d)-(\d\d)-(\d\d)T(\d\d:\d\d).*?(Z|[+-]\d\d:?\d\d)$", text)
    if not found:
        return text
    year, month, day, clock, zone = found.groups()
    return f"{day} {_MONTHS[int(month) - 1]} {year} {clock} {'UTC' if zone == 'Z' else zone}"


OPERATOR = Group(
    "operator",
    "Operates a server: its seal, its keys, its cluster.",
    (
        Lazy("diagnose", "Look for what keeps a server from starting", ".commands.operator_diagnose:DIAGNOSE"),
        Lazy("generate-root", "Make a root token from key shares", ".commands.operator_root:GENERATE_ROOT"),
        Lazy("init", "Initialize a server", ".commands.operator_init:INIT"),
        Command("key-status", key_status, "Shows the encryption key in use.\n\n    $ caveau operator key-status",
                summary="Show the encryption key in use", formats=True),
        Lazy("members", "List the nodes of the cluster", ".commands.operator_raft:MEMBERS"),
        Lazy("migrate", "Copy a store into another", ".commands.operator_migrate:MIGRATE"),
        Lazy("raft", "Operate a cluster", ".commands.operator_raft:RAFT"),
        Lazy("rekey", "Make new unseal keys", ".commands.operator_rekey:REKEY"),
        Command("rotate", rotate,
                "Makes a new encryption key for what is written from now on; what is there stays readable.\n\n"
                "    $ caveau operator rotate",
                summary="Make a new encryption key", formats=True),
        Lazy("rotate-keys", "Make new unseal keys, with a token", ".commands.operator_rekey:ROTATE_KEYS"),
        Command("seal", seal, "Seals the server: it forgets its keys and answers nothing until it is unsealed.\n\n"
                "    $ caveau operator seal", summary="Seal a server"),
        Command("step-down", step_down, "Asks the active node to let another one lead.\n\n"
                "    $ caveau operator step-down", summary="Let another node lead"),
        Lazy("unseal", "Unseal a server", ".commands.operator_unseal:UNSEAL"),
        Lazy("validate-config", "Check a configuration without using it", ".commands.operator_diagnose:VALIDATE"),
    ),
)  # fmt: skip
