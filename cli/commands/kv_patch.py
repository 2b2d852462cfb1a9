"""``kv patch`` and ``kv rollback``: new versions made from older ones."""

from __future__ import annotations

from typing import Any

from ..client import APIError
from ..command import ONE, Arity, Command
from ..envelope import Secret
from ..flags import Flag
from ..invocation import CommandError, Invocation
from .data import data_argument
from .kv import CAS, cas_option, written
from .kv_mount import MOUNT, Place, halves, locate


def patch(run: Invocation) -> int:
    removed = run.flags.texts("remove-data")
    if not run.args[1:] and not removed:
        raise CommandError("Must supply data", 1)
    data: dict[str, Any] = data_argument(run.args[1:])
    data.update(dict.fromkeys(removed))
    place = locate(run)
    if place.version != 2:
        raise CommandError("K/V engine mount must be version 2 for patch support")
    path = place.path("data")
    match run.flags.text("method"):
        case "rw":
            secret = _read_write(run, path, data)
        case "patch":
            with run.failing(f"Error writing data to {path}"):
                secret = run.client.patch(path, {"data": data, "options": cas_option(run)})
        case "":
            secret = _patch_or_rewrite(run, path, data)
        case other:
            raise CommandError(f"Unsupported method provided to -method flag: {other}")
    return written(run, secret, path, place)


def _patch_or_rewrite(run: Invocation, path: str, data: dict[str, Any]) -> Secret | None:
    """Patch; where the token may not, or the server cannot, read and write instead."""
    with run.failing(f"Error writing data to {path}"):
        try:
            return run.client.patch(path, {"data": data, "options": cas_option(run)})
        except APIError as e:
            if e.status not in (403, 405):
                raise
    return _read_write(run, path, data)


def _read_write(run: Invocation, path: str, data: dict[str, Any]) -> Secret | None:
    """Read the current version and write it back changed, unless somebody else wrote in between."""
    current, version = _version(run, path, preflight=True)
    merged = {key: value for key, value in (current | data).items() if value is not None or key not in data}
    with run.failing(f"Error writing data to {path}"):
        return run.client.write(path, {"data": merged, "options": cas_option(run) or {"cas": version}})


def rollback(run: Invocation) -> int:
    if not run.flags.given("version"):
        raise CommandError("Version flag must be specified", 1)
    if run.flags.number("version") <= 0:
        raise CommandError(f'Invalid value "{run.flags.number("version")}" for the version flag', 1)
    place = locate(run)
    if place.version != 2:
        raise CommandError("K/V engine mount must be version 2 for rollback support")
    path = place.path("data")
    newest = _newest(run, place, path)
    wanted, _ = _version(run, path, run.flags.number("version"))
    with run.failing(f"Error writing data to {path}"):
        secret = run.client.write(path, {"data": wanted, "options": {"cas": newest}})
    return run.secret(secret) if secret else run.success(f"Data written to: {path}")


def _newest(run: Invocation, place: Place, path: str) -> int:
    """The number of the latest version, deleted or not."""
    with run.failing(f"Error doing pre-read at {path}"):
        secret = run.client.read(path)
    return _number(halves(secret, path)[1], path)


def _version(run: Invocation, path: str, version: int = 0, preflight: bool = False) -> tuple[dict[str, Any], int]:
    """The data of a version (0: the latest) and its number. Raises CommandError where it has none."""
    with run.failing(f"Error doing pre-read at {path}"):
        secret = run.client.read(path, {"version": version} if version else None, preflight=preflight)
    data, metadata = halves(secret, path)
    number = _number(metadata, path)
    if version and metadata.get("deletion_time"):
        raise CommandError("Cannot roll back to a version that has been deleted")
    if version and metadata.get("destroyed"):
        raise CommandError("Cannot roll back to a version that has been destroyed")
    if data is None:
        raise CommandError(f"No data found at {path}")
    return data, number


def _number(metadata: dict[str, Any], path: str) -> int:
    number = metadata.get("version")
    if not isinstance(number, int):
        raise CommandError(f"No value found at {path}")
    return number


PATCH = Command(
    "patch", patch,
    "Changes the given keys of a secret and leaves the others. It asks the server to merge; where the\n"
    "token may not patch, it reads and writes.\n\n"
    "    $ caveau kv patch -mount=secret db/prod password=-",
    usage="[options] KEY [DATA]", arity=Arity(1, None, ">1"), formats=True, field=True,
    flags=(
        CAS, MOUNT,
        Flag("method", "string", '"patch" or "rw" (read, then write). The default is patch, then rw where '
             "patch is not allowed."),
        Flag("remove-data", "strings", "Key to remove; may be repeated."),
    ),
)  # fmt: skip

ROLLBACK = Command(
    "rollback", rollback,
    "Writes the data of an old version again, as the newest.\n\n"
    "    $ caveau kv rollback -mount=secret -version=2 db/prod",
    usage="[options] KEY", arity=ONE, formats=True,
    flags=(MOUNT, Flag("version", "int", "The version to bring back.")),
)  # fmt: skip
