"""``kv metadata``: limits and notes of a key, and its versions."""

from __future__ import annotations

from typing import Any

from .. import durations
from ..command import ONE, Command, Group
from ..flags import Flag
from ..invocation import CommandError, Invocation
from .kv import section, titled
from .kv_mount import MOUNT, locate

SETTINGS = (
    Flag("cas-required", "*bool", "Require -cas on every write of the key."),
    Flag("custom-metadata", "key=value", "A note on the key; may be repeated."),
    Flag("delete-version-after", "duration", "Delete a version this long after it was written.", default=-1),
    Flag("max-versions", "int", "How many versions to keep.", default=-1),
    MOUNT,
)  # fmt: skip


def get(run: Invocation) -> int:
    path = _path(run)
    with run.failing(f"Error reading {path}"):
        secret = run.client.read(path)
    if secret is None:
        raise CommandError(f"No value found at {path}")
    if not run.table or secret.get("wrap_info"):
        return run.secret(secret)
    data = dict(secret.get("data") or {})
    found = data.pop("versions", None)
    if not isinstance(found, dict) or not all(isinstance(version, dict) for version in found.values()):
        raise CommandError(f"No value found at {path}")
    run.warnings(secret)
    section("Metadata Path", path)
    titled(run, "Metadata", data)
    for number in sorted(found, key=lambda number: (len(number), number)):
        print()
        titled(run, f"Version {number}", found[number])
    return 0


def put(run: Invocation) -> int:
    return _write(run, "PUT", _settings(run))


def patch(run: Invocation) -> int:
    settings = _settings(run)
    if removed := run.flags.texts("remove-custom-metadata"):
        settings["custom_metadata"] = settings.get("custom_metadata", {}) | dict.fromkeys(removed)
    return _write(run, "PATCH", settings)


def delete(run: Invocation) -> int:
    path = _path(run)
    with run.failing(f"Error deleting {path}"):
        secret = run.client.delete(path)
    return run.secret(secret) if secret else run.success(f"Data deleted (if it existed) at: {path}")


def _path(run: Invocation) -> str:
    place = locate(run)
    if place.version == 1:
        raise CommandError("Metadata not supported on KV Version 1", 1)
    return place.path("metadata")


def _settings(run: Invocation) -> dict[str, Any]:
    """The settings the command line names; the others are left to the server."""
    found: dict[str, Any] = {}
    if (required := run.flags.maybe("cas-required")) is not None:
        found["cas_required"] = required
    if run.flags.given("custom-metadata"):
        found["custom_metadata"] = run.flags.pairs("custom-metadata")
    if (after := run.flags.number("delete-version-after")) >= 0:
        found["delete_version_after"] = durations.text(after)
    if (limit := run.flags.number("max-versions")) >= 0:
        found["max_versions"] = limit
    return found


def _write(run: Invocation, method: str, settings: dict[str, Any]) -> int:
    path = _path(run)
    with run.failing(f"Error writing data to {path}"):
        secret = run.client.write(path, settings) if method == "PUT" else run.client.patch(path, settings)
    return run.secret(secret) if secret else run.success(f"Data written to: {path}")


METADATA = Group(
    "metadata",
    "Works with what is known about a key: its limits, its notes, and its versions.",
    (
        Command(
            "delete", delete,
            "Deletes a key with all its versions, for good.\n\n    $ caveau kv metadata delete -mount=secret db/prod",
            summary="Delete a key and all its versions", usage="[options] PATH", arity=ONE, flags=(MOUNT,),
        ),
        Command(
            "get", get,
            "Shows a key's settings and versions.\n\n    $ caveau kv metadata get -mount=secret db/prod",
            summary="Show a key's settings and versions", usage="[options] KEY", arity=ONE, flags=(MOUNT,),
            formats=True,
        ),
        Command(
            "patch", patch,
            "Changes the given settings of a key and leaves the others.\n\n"
            "    $ caveau kv metadata patch -mount=secret -custom-metadata=owner=ann db/prod",
            summary="Change some settings of a key", usage="[options] KEY", arity=ONE, formats=True,
            flags=(*SETTINGS, Flag("remove-custom-metadata", "strings", "Note to remove; may be repeated.")),
        ),
        Command(
            "put", put,
            "Writes a key's settings; a key that does not exist is made, with no data.\n\n"
            "    $ caveau kv metadata put -mount=secret -max-versions=5 db/prod",
            summary="Write a key's settings", usage="[options] KEY", arity=ONE, flags=SETTINGS, formats=True,
        ),
    ),
)  # fmt: skip
