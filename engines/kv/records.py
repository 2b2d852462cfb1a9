"""What KV version 2 keeps of a secret and of the mount, as values. Times are RFC 3339 text, durations seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from ...framework.clock import parse_rfc3339
from ...framework.wire import format_duration

DEFAULT_MAX_VERSIONS = 10


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of the mount. ``delete_version_after`` -1 switches it off for every secret."""

    cas_required: bool = False
    delete_version_after: int = 0
    max_versions: int = 0
    metadata_cas_required: bool = False

    def encode(self) -> bytes:
        return orjson.dumps(self, option=orjson.OPT_SORT_KEYS)

    @classmethod
    def decode(cls, raw: bytes) -> Config:
        return cls(**orjson.loads(raw))


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a secret. ``deletion_time`` may lie ahead; destroyed data is gone for good."""

    created_time: str
    deletion_time: str = ""
    destroyed: bool = False

    def readable(self, now: float) -> bool:
        return not self.destroyed and not (self.deletion_time and parse_rfc3339(self.deletion_time) <= now)


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret without its data. ``current_version`` 0: settings only, nothing written yet."""

    created_time: str
    updated_time: str
    cas_required: bool = False
    current_metadata_version: int = 0
    current_version: int = 0
    custom_metadata: Mapping[str, str] | None = None
    delete_version_after: int = 0
    max_versions: int = 0
    metadata_cas_required: bool = False
    oldest_version: int = 0  # 0 until the first one is pruned
    versions: Mapping[int, Version] = field(default_factory=dict)

    def encode(self) -> bytes:
        return orjson.dumps(self, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)

    @classmethod
    def decode(cls, raw: bytes) -> Secret:
        fields = orjson.loads(raw)
        fields["versions"] = {int(number): Version(**version) for number, version in fields["versions"].items()}
        return cls(**fields)

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
        version = self.versions[number]
        return {
            "created_time": version.created_time,
            "custom_metadata": self.custom_metadata,
            "deletion_time": version.deletion_time,
            "destroyed": version.destroyed,
            "version": number,
        }

    def describe(self) -> dict[str, Any]:
        """The secret as answers to reads of metadata show it."""
        return {
            "cas_required": self.cas_required,
            "created_time": self.created_time,
            "current_metadata_version": self.current_metadata_version,
            "current_version": self.current_version,
            "custom_metadata": self.custom_metadata,
            "delete_version_after": format_duration(self.delete_version_after),
            "max_versions": self.max_versions,
            "metadata_cas_required": self.metadata_cas_required,
            "oldest_version": self.oldest_version,
            "updated_time": self.updated_time,
            "versions": {
                str(number): {
                    "created_time": v.created_time,
                    "deletion_time": v.deletion_time,
                    "destroyed": v.destroyed,
                }
                for number, v in self.versions.items()
            },
        }
