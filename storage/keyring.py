"""The keyring: the keys that encrypt entries, by term, and the root key that encrypts the keyring.

New entries use the active term; older terms stay, to read what they wrote. Everything here is a
value: a change gives a new keyring, and the barrier decides when it counts.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import orjson

from ..framework.clock import parse_rfc3339, rfc3339
from ..framework.errors import InvalidRequest, StoreError

KEY_SIZE = 32
"""Bytes of every key here: AES-256."""

MIN_OPERATIONS = 1_000_000
MAX_OPERATIONS = 3_865_470_566
"""90% of 2^32, what NIST SP 800-38D section 8.3 allows one AES-GCM key with random nonces."""
MIN_INTERVAL = 24 * 3600

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Term:
    """One encryption key. ``installed``: seconds since the epoch. ``encryptions``: how many entries
    it had encrypted when the keyring was last stored, so a lower estimate after a crash."""

    key: bytes = field(repr=False)
    installed: float
    encryptions: int = 0


@dataclass(frozen=True, slots=True)
class RotationConfig:
    """When the active term is replaced by itself. ``interval``: seconds, 0 = never by age."""

    enabled: bool = True
    max_operations: int = MAX_OPERATIONS
    interval: int = 0

    def __post_init__(self) -> None:
        if not MIN_OPERATIONS <= self.max_operations <= MAX_OPERATIONS:
            raise InvalidRequest(f"max_operations must be in the range [{MIN_OPERATIONS},{MAX_OPERATIONS}]")
        if self.interval and self.interval < MIN_INTERVAL:
            raise InvalidRequest("interval must be greater or equal to 24h0m0s")


@dataclass(frozen=True, slots=True)
class Keyring:
    root_key: bytes = field(repr=False)
    terms: Mapping[int, Term]
    active: int
    rotation: RotationConfig = RotationConfig()

    def __post_init__(self) -> None:
        assert self.active in self.terms, "the active term has a key"
        object.__setattr__(self, "terms", MappingProxyType(dict(self.terms)))

    @classmethod
    def generate(cls, root_key: bytes, now: float, random_bytes: Callable[[int], bytes] = os.urandom) -> Keyring:
        """A first keyring, with term 1."""
        return cls(root_key, {1: Term(random_bytes(KEY_SIZE), now)}, active=1)

    @property
    def active_term(self) -> Term:
        return self.terms[self.active]

    def rotate(self, now: float, random_bytes: Callable[[int], bytes] = os.urandom) -> Keyring:
        """With a new active term, one higher; the old ones stay."""
        number = self.active + 1
        return replace(self, terms={**self.terms, number: Term(random_bytes(KEY_SIZE), now)}, active=number)

    def with_encryptions(self, count: int) -> Keyring:
        """With ``count`` encryptions on the active term."""
        return replace(self, terms={**self.terms, self.active: replace(self.active_term, encryptions=count)})

    def rotation_due(self, now: float, encryptions: int) -> bool:
        """Whether ``encryptions`` or the age of the active term call for a new one."""
        rotation = self.rotation
        if not rotation.enabled:
            return False
        aged = rotation.interval > 0 and now - self.active_term.installed >= rotation.interval
        return aged or encryptions >= rotation.max_operations

    def dump(self) -> bytes:
        """The plaintext that the barrier stores encrypted under the root key."""
        return orjson.dumps(
            {
                "version": _VERSION,
                "root_key": base64.b64encode(self.root_key).decode(),
                "active": self.active,
                "terms": {
                    str(number): {
                        "key": base64.b64encode(term.key).decode(),
                        "installed": rfc3339(term.installed),
                        "encryptions": term.encryptions,
                    }
                    for number, term in sorted(self.terms.items())
                },
                "rotation": {
                    "enabled": self.rotation.enabled,
                    "max_operations": self.rotation.max_operations,
                    "interval": self.rotation.interval,
                },
            }
        )

    @classmethod
    def load(cls, data: bytes) -> Keyring:
        """What ``dump`` gave; raises StoreError for a version of the future."""
        stored = orjson.loads(data)
        if stored["version"] != _VERSION:
            raise StoreError(f"the keyring has format {stored['version']}, written by a newer Caveau; upgrade")
        terms = {
            int(number): Term(base64.b64decode(term["key"]), parse_rfc3339(term["installed"]), term["encryptions"])
            for number, term in stored["terms"].items()
        }
        rotation = RotationConfig(**stored["rotation"])
        return cls(base64.b64decode(stored["root_key"]), terms, stored["active"], rotation)
