"""Mounts: what is mounted where, how it is tuned, and the router from a path to its engine."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import orjson

from ..framework import Engine
from ..framework.errors import InvalidRequest
from ..framework.metrics import Counter, Timing

SINGLETONS = ("sys/", "cubbyhole/", "identity/")
"""Mounts that every namespace has once, and that cannot be moved, unmounted or mounted over."""

_LOCKOUT_UNSET = {
    "lockout_counter_reset_duration": 0, "lockout_disable": False, "lockout_duration": 0, "lockout_threshold": 0,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class MountConfig:
    """The tunable part of a mount. Times are seconds; 0 takes the server's default; None is unset."""

    default_lease_ttl: int = 0
    max_lease_ttl: int = 0
    force_no_cache: bool = False
    listing_visibility: str | None = None
    audit_non_hmac_request_keys: tuple[str, ...] | None = None
    audit_non_hmac_response_keys: tuple[str, ...] | None = None
    passthrough_request_headers: tuple[str, ...] | None = None
    allowed_response_headers: tuple[str, ...] | None = None
    token_type: str | None = None
    user_lockout_config: Mapping[str, Any] | None = None

    def wire(self) -> dict[str, Any]:
        """As ``sys/mounts`` shows it: what is unset is left out."""
        shown = {f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not None}
        if lockout := shown.get("user_lockout_config"):
            shown["user_lockout_config"] = {
                f"user_{name}": lockout.get(name, unset) for name, unset in _LOCKOUT_UNSET.items()
            }
        return shown


@dataclass(frozen=True, slots=True)
class MountEntry:
    """One row of the mount table. ``path`` ends in ``/`` and is relative to its table."""

    path: str
    type: str
    table: str = "mounts"  # or "auth"
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))
    accessor: str = ""
    description: str = ""
    config: MountConfig = MountConfig()
    options: Mapping[str, str] | None = None
    local: bool = False
    seal_wrap: bool = False
    external_entropy_access: bool = False
    plugin_version: str = ""
    tainted: bool = False

    @classmethod
    def new(cls, path: str, type_: str, table: str = "mounts", **rest: Any) -> MountEntry:
        """An entry with a fresh accessor."""
        kind = type_.removeprefix("ns_")
        kind = f"auth_{kind}" if table == "auth" else kind
        return cls(path=path, type=type_, table=table, accessor=f"{kind}_{secrets.token_hex(4)}", **rest)

    @property
    def point(self) -> str:
        """The full path of the mount: ``secret/`` or ``auth/userpass/``."""
        return f"auth/{self.path}" if self.table == "auth" else self.path

    @property
    def storage_prefix(self) -> str:
        """Where its data is, within its namespace."""
        if self.type in ("system", "ns_system"):
            return "sys/"
        if self.type in ("identity", "ns_identity"):
            return "identity/"
        if self.type in ("cubbyhole", "ns_cubbyhole"):
            return "sys/cubbyhole/"
        return f"{'auth' if self.table == 'auth' else 'logical'}/{self.uuid}/"

    @property
    def key(self) -> str:
        """Where the entry itself is, within its namespace."""
        return f"core/{self.table}/{self.uuid}"

    @property
    def tag(self) -> str:
        """What API descriptions group its operations under."""
        return "system" if self.point == "sys/" else "auth" if self.table == "auth" else "secrets"

    def dump(self) -> bytes:
        return orjson.dumps(self)

    @classmethod
    def load(cls, raw: bytes) -> MountEntry:
        values: dict[str, Any] = orjson.loads(raw)
        config: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.pop("config").items()}
        return cls(config=MountConfig(**config), **values)

    def tuned(self, **changes: Any) -> MountEntry:
        """The entry with changes to its config."""
        return replace(self, config=replace(self.config, **changes))


@dataclass(slots=True)
class Mount:
    """A mount in service: its entry, its engine, and where its storage is."""

    entry: MountEntry
    engine: Engine
    prefix: str  # of storage keys, namespace included
    point: str = ""
    version: str = ""  # of the plugin that runs
    timings: dict[str, Timing] = field(default_factory=dict)  # of its requests, by operation
    tokens: dict[tuple[str, str], Counter] = field(default_factory=dict)  # it has given, by kind and class of lifetime

    def __post_init__(self) -> None:
        self.point = self.entry.point


class Router:
    """From a request path to its mount, by longest prefix. Mounts never nest, so the first is the one."""

    def __init__(self) -> None:
        self._mounts: dict[str, Mount] = {}

    def __iter__(self) -> Iterator[Mount]:
        return iter([self._mounts[point] for point in sorted(self._mounts)])

    def table(self, table: str) -> Iterator[Mount]:
        """The mounts of one table, in the order of their paths."""
        return (mount for mount in self if mount.entry.table == table)

    def get(self, point: str) -> Mount | None:
        """The mount at exactly this point (``/`` at its end)."""
        return self._mounts.get(point)

    def add(self, mount: Mount) -> None:
        self._mounts[mount.point] = mount

    def remove(self, point: str) -> None:
        self._mounts.pop(point, None)

    def match(self, path: str) -> tuple[Mount, str] | None:
        """The mount that serves ``path`` and the rest of the path; None when there is none."""
        mounts = self._mounts
        end = path.find("/")
        while end >= 0:
            mount = mounts.get(path[: end + 1])
            if mount is not None:
                return mount, path[end + 1 :]
            end = path.find("/", end + 1)
        mount = mounts.get(path + "/")  # "secret" means "secret/"
        return None if mount is None else (mount, "")


def clean_path(raw: str) -> str:
    """A mount path as stored: no slash in front, one at the end; raises InvalidRequest."""
    path = raw.strip("/") + "/"
    if path == "/":
        raise InvalidRequest("the path of the mount is empty")
    if any(part in ("", ".", "..") for part in path[:-1].split("/")) or not path.isprintable():
        raise InvalidRequest(f"path {raw[:128]!r} is not usable as a mount path")
    if len(path) > 512:
        raise InvalidRequest("the path of the mount is longer than 512 characters")
    return path
