"""``kv``: the key-value engine, both versions of it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from .. import envelope, terminal, values
from ..client import ClientError
from ..command import ONE, Arity, Command, Group, Lazy
from ..envelope import Secret
from ..flags import Flag
from ..invocation import CommandError, Invocation
from .data import data_argument, keys
from .kv_mount import MOUNT, VERSIONS, Place, halves, locate, versions

CAS = Flag("cas", "int", "Write only if this is the current version; 0 means the key must be new.", default=-1)


def get(run: Invocation) -> int:
    place = locate(run)
    version = run.flags.number("version")
    query = {"version": version} if version and place.version == 2 else None
    path = place.path("data")
    with run.failing(f"Error reading {path}"):
        secret = run.client.read(path, query)
    if secret is None:
        raise CommandError(f"No value found at {path}")
    field = run.flags.text("field")
    if secret.get("wrap_info"):
        return run.secret(secret, field)
    data, metadata = halves(secret, path) if place.version == 2 else (secret.get("data") or {}, {})
    if field and place.version == 2:
        if data is None:
            raise CommandError(f"No data found at {path}")
        return run.field({"data": data, **data}.get(field), field, "map")
    if field:
        return run.secret(secret, field)
    if not run.table:
        return run.secret(secret)
    run.warnings(secret)
    if place.version == 2:
        section("Secret Path", path)
        if metadata:
            titled(run, "Metadata", metadata)
            print()
    if data:
        titled(run, "Data", data)
    return 0


def put(run: Invocation) -> int:
    arguments = run.args[1:]
    if not arguments:
        raise CommandError("Must supply data", 1)
    data = data_argument(arguments)
    place = locate(run)
    path = place.path("data")
    dropped = _siblings(run, place, data)
    body: dict[str, Any] = data
    if place.version == 2:
        body = {"data": data, "options": cas_option(run)}
    with run.failing(f"Error writing data to {path}"):
        secret = run.client.write(path, body)
    code = written(run, secret, path, place)
    if dropped:
        terminal.warn(
            f"\nThe new version no longer has: {', '.join(dropped)}. The old one still does; "
            '"caveau kv patch" changes some keys and leaves the others.'
        )
    return code


def cas_option(run: Invocation) -> dict[str, int]:
    return {"cas": run.flags.number("cas")} if run.flags.number("cas") > -1 else {}


def written(run: Invocation, secret: Secret | None, path: str, place: Place) -> int:
    """Print what a write answered."""
    if secret is None:
        return run.success(f"Data written to: {path}")
    field = run.flags.text("field")
    if field or not run.table or secret.get("wrap_info"):
        return run.secret(secret, field)
    run.warnings(secret)
    section("Secret Path", path)
    return titled(run, "Metadata", secret.get("data") or {})


def delete(run: Invocation) -> int:
    place, chosen = locate(run), versions(run)
    path = place.path("data")
    if chosen and place.version == 1:
        raise CommandError("Deleting versions is not supported on KV Version 1", 1)
    with run.failing(f"Error deleting {path}"):
        secret = run.client.write(place.path("delete"), {"versions": chosen}) if chosen else run.client.delete(path)
    if secret is None:
        return run.success(f"Data deleted (if it existed) at: {path}")
    return run.secret(secret, run.flags.text("field"))


def undelete(run: Invocation) -> int:
    return _versions_action(run, "undelete")


def destroy(run: Invocation) -> int:
    return _versions_action(run, "destroy")


def _versions_action(run: Invocation, action: str) -> int:
    chosen = versions(run)
    if not chosen:
        raise CommandError(f'No versions provided, use the "-versions" flag to specify the version to {action}.', 1)
    place = locate(run)
    if place.version == 1:
        raise CommandError(f"{action.title()} not supported on KV Version 1", 1)
    path = place.path(action)
    with run.failing(f"Error writing data to {path}"):
        secret = run.client.write(path, {"versions": chosen})
    return run.secret(secret) if secret else run.success(f"Data written to: {path}")


def list_(run: Invocation) -> int:
    return _list(run, scan=False)


def scan(run: Invocation) -> int:
    return _list(run, scan=True)


def _list(run: Invocation, scan: bool) -> int:
    if not run.args and not run.flags.text("mount"):
        raise CommandError("Not enough arguments (expected 1, got 0)", 1)
    path = locate(run).path("metadata")
    with run.failing(f"Error {'scanning' if scan else 'listing'} {path}"):
        secret = run.client.list(path, scan=scan)
    return keys(run, secret, path)


def enable_versioning(run: Invocation) -> int:
    mount = run.args[0].strip("/") + "/"
    body = {"options": {"version": "2"}, "default_lease_ttl": "", "max_lease_ttl": "", "force_no_cache": False}
    with run.failing(f"Error tuning secrets engine {mount}"):
        run.client.write(f"sys/mounts/{mount}tune", body, "POST")
    return run.say(f"Success! Tuned the secrets engine at: {mount}")


def section(title: str, text: str) -> None:
    """A title above one line."""
    print(f"{_padded(title, len(text))}\n{text}\n")


def titled(run: Invocation, title: str, data: dict[str, Any], order: Sequence[str] | None = None) -> int:
    """A title above a Key/Value table, as wide as the table's keys make it."""
    print(_padded(title, max(map(len, data), default=0) + len("    Value")))
    return run.rows(envelope.data_rows(data)) if order is None else run.rows([(k, values.text(data[k])) for k in order])


def _padded(title: str, width: int) -> str:
    signs = width - len(title) - 2
    signs = 4 if signs <= 0 else signs + signs % 2
    return f"{'=' * (signs // 2)} {title} {'=' * (signs // 2)}"


def _siblings(run: Invocation, place: Place, data: dict[str, Any]) -> list[str]:
    """Keys of the current version that ``data`` does not have; asked only for a person at a terminal."""
    if not sys.stdout.isatty() or run.client.settings.show or "X-Vault-Wrap-TTL" in run.client.settings.headers:
        return []
    try:
        secret = run.client.read(place.path("data"))
        current = halves(secret, "")[0] if place.version == 2 else (secret or {}).get("data")
    except (ClientError, CommandError):
        return []
    return sorted(set(current or {}) - set(data))


KV = Group(
    "kv",
    "Works with the key-value engine, versioned or not. -mount names where it is mounted; without it the\n"
    "path starts with the mount.\n\n"
    "    $ caveau kv put -mount=secret db/prod password=-\n"
    "    $ caveau kv get -mount=secret db/prod",
    (
        Command(
            "delete", delete,
            "Deletes the latest version, or those of -versions. They can be brought back with undelete.\n\n"
            "    $ caveau kv delete -mount=secret -versions=3,4 db/prod",
            summary="Delete versions", usage="[options] PATH", arity=ONE, flags=(MOUNT, VERSIONS),
            formats=True, field=True,
        ),
        Command(
            "destroy", destroy,
            "Removes the data of versions for good.\n\n    $ caveau kv destroy -mount=secret -versions=3 db/prod",
            summary="Remove versions for good", usage="[options] KEY", arity=ONE, flags=(MOUNT, VERSIONS), formats=True,
        ),
        Command(
            "enable-versioning", enable_versioning,
            "Makes an unversioned engine keep versions.\n\n    $ caveau kv enable-versioning secret",
            summary="Turn on versions in a mount", usage="[options] KEY", arity=ONE, formats=True,
        ),
        Command(
            "get", get,
            "Shows a secret. A missing key is exit code 2.\n\n"
            "    $ caveau kv get -mount=secret -field=password db/prod",
            summary="Show a secret", usage="[options] KEY", arity=ONE, formats=True, field=True,
            flags=(MOUNT, Flag("version", "int", "Show this version. The default is the latest.")),
        ),
        Command(
            "list", list_,
            "Lists keys; one that ends with / holds more.\n\n    $ caveau kv list -mount=secret db",
            summary="List keys", usage="[options] PATH", arity=Arity(0, 1, "1"), flags=(MOUNT,), formats=True,
        ),
        Lazy("metadata", "Work with what is known about a key", ".commands.kv_metadata:METADATA"),
        Lazy("patch", "Change some keys of a secret", ".commands.kv_patch:PATCH"),
        Command(
            "put", put,
            "Writes a secret. Keys that are not given are gone in the new version; see patch.\n\n"
            "    $ caveau kv put -mount=secret db/prod user=app password=-",
            summary="Write a secret", usage="[options] KEY [DATA]", arity=Arity(1, None, ">1"), flags=(CAS, MOUNT),
            formats=True, field=True,
        ),
        Lazy("rollback", "Make an old version the current one", ".commands.kv_patch:ROLLBACK"),
        Command(
            "scan", scan,
            "Lists keys and everything below them.\n\n    $ caveau kv scan -mount=secret",
            summary="List keys recursively", usage="[options] PATH", arity=Arity(0, 1, "1"), flags=(MOUNT,),
            formats=True,
        ),
        Command(
            "undelete", undelete,
            "Brings deleted versions back.\n\n    $ caveau kv undelete -mount=secret -versions=3 db/prod",
            summary="Bring deleted versions back", usage="[options] KEY", arity=ONE, flags=(MOUNT, VERSIONS),
            formats=True,
        ),
    ),
)  # fmt: skip
