"""What KV version 2 keeps of a secret and of the mount, as values.

Times are RFC 3339 text, durations seconds. Values are never changed in place: decoded ones are shared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from ...framework.clock import parse_rfc3339
from ...framework.wire import format_duration

DEFAULT_MAX_VERSIONS = 10


@dataclass(frozen=True)
class Config:
    """Settings of the mount. ``delete_version_after`` -1 switches it off for every secret."""

    cas_required: bool = False
    delete_version_after: int = 0
    max_versions: int = 0
    metadata_cas_required: bool = False

    def encode(self) -> bytes:
        return orjson.dumps(vars(self))

    @classmethod
    def decode(cls, raw: bytes) -> Config:
        return cls(**orjson.loads(raw))

    def describe(self) -> dict[str, Any]:
        """The settings as a read of them shows them."""
        return {**vars(self), "delete_version_after": format_duration(self.delete_version_after)}


Version = tuple[str, str, bool]
"""One version of a secret: when it was created, when it is or was deleted (may lie ahead, or be empty), and whether
it was destroyed: its data is gone for good then. As short as it is because every write stores those of all versions."""


def is_readable(version: Version, now: float) -> bool:
    _, gone, destroyed = version
    return not destroyed and not (gone and parse_rfc3339(gone) <= now)


def deleted_at(version: Version, time: str) -> Version:
    """The version with another time of deletion."""
    return version[0], time, version[2]


def _describe(version: Version) -> dict[str, Any]:
    created, deletion, destroyed = version
    return {"created_time": created, "deletion_time": deletion, "destroyed": destroyed}


@dataclass(frozen=True)
class Secret:
    """A secret without its data. ``current_version`` 0: settings only, nothing written yet.

    ``versions`` is by number in decimal, as in JSON.
    """

    cas_required: bool = False
    created_time: str = ""
    current_metadata_version: int = 0
    current_version: int = 0
    custom_metadata: Mapping[str, str] | None = None
    delete_version_after: int = 0
    max_versions: int = 0
    metadata_cas_required: bool = False
    oldest_version: int = 0  # 0 until the first one is pruned
    updated_time: str = ""
    versions: Mapping[str, Version] = field(default_factory=dict)

    def encode(self) -> bytes:
        """The values of the fields in their order."""
        return orjson.dumps([*vars(self).values()])

    @classmethod
    def decode(cls, raw: bytes) -> Secret:
        values: list[Any] = orjson.loads(raw)
        values[-1] = {number: tuple(version) for number, version in values[-1].items()}
        return cls(*values)

    def changed(self, **changes: Any) -> Secret:
        """A copy with other values in some fields. (``dataclasses.replace`` takes five times as long.)"""
        copy = object.__new__(Secret)
        copy.__dict__.update(self.__dict__, **changes)
        return copy

    def version(self, number: int) -> Version | None:
        return self.versions.get(str(number))

    def kept_versions(self, config: Config) -> int:
        """How many versions are kept: the greater of the secret's and the mount's limits."""
        return max(self.max_versions, config.max_versions) or DEFAULT_MAX_VERSIONS

    def lifetime(self, config: Config) -> int:
        """Seconds until a version written now deletes itself, 0 for never: the shorter of both settings."""
        if config.delete_version_after < 0:
            return 0
        return min(filter(None, (self.delete_version_after, config.delete_version_after)), default=0)

    def describe_version(self, number: int) -> dict[str, Any]:
        """One version as answers to reads and writes of data show it."""
        created, deletion, destroyed = self.versions[str(number)]
        return {
            "created_time": created,
            "custom_metadata": self.custom_metadata,
            "deletion_time": deletion,
            "destroyed": destroyed,
            "version": number,
        }

    def describe(self) -> dict[str, Any]:
        """The secret as answers to reads of metadata show it."""
        versions = {number: _describe(version) for number, version in self.versions.items()}
        lifetime = format_duration(self.delete_version_after)
        return {**vars(self), "delete_version_after": lifetime, "versions": versions}
