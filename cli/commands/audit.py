"""``audit``: where the server writes down who asked for what."""

from __future__ import annotations

from typing import Any

from .. import global_flags, values
from ..command import ONE, Command, Group
from ..flags import Flag
from ..invocation import CommandError, Invocation
from .data import data_argument


def list_(run: Invocation) -> int:
    with run.failing("Error listing audits"):
        devices = run.client.entries("sys/audit")
    if not run.table:
        return run.data({path: _machine(devices[path]) for path in sorted(devices)})
    if not devices:
        print("No audit devices are enabled.")
        return 2
    if not run.flags.on("detailed"):
        return run.rows([(path, devices[path].get("type", ""), devices[path].get("description") or "n/a")
                         for path in sorted(devices)], ("Path", "Type", "Description"))  # fmt: skip
    rows = [
        (path, device.get("type", ""), device.get("description") or "n/a",
         "local" if device.get("local") else "replicated",
         " ".join(f"{key}={value}" for key, value in sorted((device.get("options") or {}).items())))
        for path, device in sorted(devices.items())
    ]  # fmt: skip
    return run.rows(rows, ("Path", "Type", "Description", "Replication", "Options"))


def enable(run: Invocation) -> int:
    if not run.args:
        raise CommandError(
            "Error enabling audit device: audit type missing. Valid types include 'file', 'socket' and 'syslog'.", 1
        )
    kind = run.args[0].strip()
    path = (run.flags.text("path") or kind).strip("/")
    options = {key: values.text(value) for key, value in data_argument(run.args[1:]).items()}
    body = {"type": kind, "description": run.flags.text("description"), "options": options,
            "local": run.flags.on("local")}  # fmt: skip
    with run.failing("Error enabling audit device"):
        run.client.write(f"sys/audit/{path}", body)
    return run.say(f"Success! Enabled the {kind} audit device at: {path}/")


def disable(run: Invocation) -> int:
    path = run.args[0].strip().strip("/")
    with run.failing("Error disabling audit device"):
        run.client.delete(f"sys/audit/{path}")
    return run.say(f"Success! Disabled audit device (if it was enabled) at: {path}/")


def _machine(device: dict[str, Any]) -> dict[str, Any]:
    keys = ("type", "description", "options", "local", "path")
    return {key: values.ordered(device.get(key)) for key in keys}


AUDIT = Group(
    "audit",
    "Works with audit devices: the logs of every request and response.",
    (
        Command(
            "disable", disable,
            "Stops an audit device. What it wrote stays.\n\n    $ caveau audit disable file",
            summary="Stop an audit device", usage="[options] PATH", arity=ONE,
        ),
        Command(
            "enable", enable,
            "Starts an audit device.\n\n    $ caveau audit enable file file_path=/var/log/caveau/audit.log",
            summary="Start an audit device", usage="[options] TYPE [CONFIG K=V...]", arity=None,
            flags=(
                Flag("description", "string", "What it is for."),
                Flag("local", "bool", "Not replicated."),
                Flag("path", "string", "Where it is enabled. The default is the type."),
            ),
        ),
        Command(
            "list", list_,
            "Lists the audit devices. Exit code 2: there is none.\n\n    $ caveau audit list",
            summary="List audit devices", flags=(global_flags.DETAILED,), formats=True,
        ),
    ),
)  # fmt: skip
