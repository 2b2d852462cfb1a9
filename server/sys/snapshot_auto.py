"""``sys/storage/raft/snapshot-auto``: snapshots that are taken by themselves."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Annotated, Any

from ...framework import Field, NoParams, Params, delete, list_, read, update
from ...framework.clock import rfc3339
from ...framework.errors import InvalidRequest, NotFound
from ...framework.wire import SECONDS
from ..request import CoreRequest
from ..snapshots.schedule import CONFIGS, STATUSES, Schedule
from .base import SystemRoutes

_TYPES = ("local", "aws-s3")
_SECRETS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
_OWN = ("name", "interval", "retain", "file_prefix")
_SHORTEST = 60  # seconds
_MOST = 10_000
_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class ScheduleName(Params):
    name: Annotated[str, Field("Name of the schedule.")]


class ScheduleParams(ScheduleName):
    interval: Annotated[int, Field("Time from one snapshot to the next, a minute at least.", SECONDS)] = 0
    retain: Annotated[int, Field("How many snapshots stay.")] = 1
    path_prefix: Annotated[str, Field("Folder of a local schedule; what names in the bucket begin with.")] = ""
    file_prefix: Annotated[str, Field("What the names of the files begin with.")] = "vault-snapshot"
    storage_type: Annotated[str, Field("Where to: local or aws-s3.")] = ""
    local_max_space: Annotated[int, Field("Bytes that all snapshots in the folder may take; 0 is no limit.")] = 0
    aws_s3_bucket: Annotated[str, Field("Name of the bucket.")] = ""
    aws_s3_region: Annotated[str, Field("Its region.")] = ""
    aws_access_key_id: Annotated[str, Field("Key id; the server's environment when left out.", sensitive=True)] = ""
    aws_secret_access_key: Annotated[str, Field("The secret key that goes with it.", sensitive=True)] = ""
    aws_session_token: Annotated[str, Field("Token of temporary credentials.", sensitive=True)] = ""
    aws_s3_endpoint: Annotated[str, Field("Host of another service than AWS's that speaks S3.")] = ""
    aws_s3_disable_tls: Annotated[bool, Field("Speak plain HTTP with it.")] = False
    aws_s3_force_path_style: Annotated[bool, Field("The bucket is named in the path, not in the host.")] = False
    aws_s3_server_side_encryption: Annotated[bool, Field("Have the bucket encrypt with keys of its own.")] = False
    aws_s3_enable_kms: Annotated[bool, Field("Have the bucket encrypt with KMS.")] = False
    aws_s3_kms_key: Annotated[str, Field("Id of the KMS key.")] = ""


class SnapshotAutoRoutes(SystemRoutes):
    """When snapshots are taken, and how it went."""

    @list_("storage/raft/snapshot-auto/config", sudo=True)
    async def list_schedules(self, req: CoreRequest, p: NoParams) -> dict[str, Any]:
        """List the schedules."""
        names = sorted(self.core.schedules.all)
        if not names:
            raise NotFound("")
        return {"keys": names}

    @read("storage/raft/snapshot-auto/config/{name}", sudo=True)
    async def read_schedule(self, req: CoreRequest, p: ScheduleName) -> dict[str, Any]:
        """Show a schedule, without its credentials."""
        schedule = self.core.schedules.find(p.name)
        shown = {**asdict(schedule), **schedule.options}
        local = schedule.options["storage_type"] == "local"
        other = "aws_s3_" if local else "local_"
        return {
            key: value
            for key, value in shown.items()
            if key not in ("name", "options", *_SECRETS) and not key.startswith(other)
        }

    @update("storage/raft/snapshot-auto/config/{name}", sudo=True)
    async def write_schedule(self, req: CoreRequest, p: ScheduleParams) -> None:
        """Set a schedule, and take its first snapshot at once. What is left out stays as it is."""
        schedules = self.core.schedules
        self.core.whole.store  # noqa: B018  # raises where the store has no snapshots
        old = schedules.all.get(p.name)
        had: dict[str, Any] = {**asdict(old), **old.options} if old else {}
        values = {key: had[key] if key in had and key not in p.given else getattr(p, key) for key in p.specs}
        _check(values)
        own = {key: values.pop(key) for key in _OWN}
        schedule = Schedule(**own, options=values)
        schedule.target()
        status = await schedules.set(req.root, schedule)
        req.on_commit(lambda: schedules.use(schedule, status))

    @delete("storage/raft/snapshot-auto/config/{name}", sudo=True)
    async def delete_schedule(self, req: CoreRequest, p: ScheduleName) -> None:
        """Forget a schedule. The snapshots that it took stay."""
        req.root.delete(CONFIGS + p.name)
        req.root.delete(STATUSES + p.name)
        req.on_commit(lambda: self.core.schedules.forget(p.name))

    @read("storage/raft/snapshot-auto/status/{name}", sudo=True)
    async def schedule_status(self, req: CoreRequest, p: ScheduleName) -> dict[str, Any]:
        """Show how the last snapshots of a schedule went."""
        schedules = self.core.schedules
        schedules.find(p.name)
        status = schedules.statuses[p.name]
        since, url = schedules.under_way.get(p.name, (0.0, ""))
        return {
            "consecutive_errors": status.errors,
            "last_snapshot_start": _time(status.started),
            "last_snapshot_end": _time(status.ended),
            "last_snapshot_error": status.error,
            "last_snapshot_url": status.url,
            "last_good_snapshot": _time(status.good),
            "next_snapshot_start": _time(status.due),
            "snapshot_start": _time(since),
            "snapshot_url": url,
        }


def _check(values: dict[str, Any]) -> None:
    """Raises InvalidRequest."""
    if values["storage_type"] not in _TYPES:
        raise InvalidRequest(
            f"storage_type is {' or '.join(_TYPES)}; other clouds have endpoints that speak S3: aws_s3_endpoint"
        )
    if values["interval"] < _SHORTEST:
        raise InvalidRequest(f"interval is {_SHORTEST} seconds at least")
    if not 1 <= values["retain"] <= _MOST:
        raise InvalidRequest(f"retain is 1 to {_MOST}")
    if values["local_max_space"] < 0:
        raise InvalidRequest("local_max_space is a number of bytes, and 0 no limit")
    if not _PREFIX.fullmatch(values["file_prefix"]):
        raise InvalidRequest("file_prefix has letters, digits, '.', '_' and '-', 64 at most, and begins with one")
    path = values["path_prefix"]
    if len(path) > 512 or not path.isprintable() or ".." in path.split("/"):
        raise InvalidRequest("path_prefix is a path of 512 characters at most, without '..'")


def _time(seconds: float) -> str:
    return rfc3339(seconds) if seconds else ""
