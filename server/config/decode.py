"""From one parsed file to values, by the directives that the model's fields declare.

Every problem of a file is found in one go. An unknown name is an error that says what was probably meant.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..hcl import Block, HclError, Item, parse
from . import known
from .errors import ConfigError, at
from .model import (
    AuditConfig,
    ListenerConfig,
    SealConfig,
    ServerConfig,
    StorageConfig,
    TelemetryConfig,
    UserLockoutConfig,
    directives,
)
from .values import FLAG, OPTIONS, TEXT, Kind


@dataclass(slots=True)
class Document:
    """What one file said: only the directives that it gives."""

    values: dict[str, Any] = field(default_factory=dict)
    storage: StorageConfig | None = None
    ha_storage: StorageConfig | None = None
    telemetry: TelemetryConfig | None = None
    listeners: list[ListenerConfig] = field(default_factory=list)
    seals: list[SealConfig] = field(default_factory=list)
    audits: list[AuditConfig] = field(default_factory=list)
    user_lockouts: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    notices: list[tuple[str, str]] = field(default_factory=list)


def decode(text: str, source: str) -> Document:
    """The document ``text``, HCL or JSON; ``source`` is its name in messages. Raises ConfigError."""
    try:
        return _Decoder(parse(text), source).document()
    except HclError as error:
        raise ConfigError(at(source, error.line, error.message)) from None


_BLOCKS = ("storage", "backend", "ha_storage", "ha_backend", "listener", "seal", "audit", "user_lockout", "telemetry")
_LOCKOUT_METHODS = ("all", "userpass", "ldap", "approle")


class _Decoder:
    def __init__(self, root: Block, source: str) -> None:
        self.root = root
        self.source = source
        self.problems: list[str] = []
        self.out = Document()

    def problem(self, line: int, message: str) -> None:
        self.problems.append(at(self.source, line, message))

    def document(self) -> Document:
        out = self.out
        out.values = self.fields(ServerConfig, self.root, "", known.SERVER, blocks=_BLOCKS)
        out.storage = self.store("storage", "backend")
        out.ha_storage = self.store("ha_storage", "ha_backend")
        for (type_,), block, line in self.labelled("listener", 1):
            self.listener(type_, block, line)
        for (type_,), block, line in self.labelled("seal", 1):
            self.seal(type_, block, line)
        for (type_, path), block, line in self.labelled("audit", 2):
            values = self.fields(AuditConfig, block, "audit", {})
            out.audits.append(AuditConfig(type=type_, path=path, origin=f"{self.source}:{line}", **values))
        for (method,), block, line in self.labelled("user_lockout", 1):
            if method not in _LOCKOUT_METHODS:
                self.problem(line, f'user_lockout "{method}": must be one of {", ".join(_LOCKOUT_METHODS)}')
            out.user_lockouts.append((method, self.fields(UserLockoutConfig, block, "user_lockout", {})))
        for _, block, line in self.labelled("telemetry", 0):
            if out.telemetry is not None:
                self.problem(line, "only one telemetry block is permitted in a file")
            out.telemetry = TelemetryConfig(**self.fields(TelemetryConfig, block, "telemetry", known.TELEMETRY))
        if self.problems:
            raise ConfigError(*self.problems)
        return out

    def labelled(self, key: str, labels: int) -> Iterator[tuple[tuple[str, ...], Block, int]]:
        try:
            yield from self.root.blocks(key, labels)
        except HclError as error:
            shape = key + "".join(f" {label}" for label in ('"TYPE"', '"PATH"')[:labels]) + " { ... }"
            self.problem(error.line, f"{key} must be a block: {shape}")

    def fields(
        self, cls: type[Any], block: Block, where: str, ignored: known.Known, blocks: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        """The values of the directives of ``cls`` in ``block``, by field name."""
        table = directives(cls)
        nested = {name.partition(".")[0] for name in table if "." in name}
        values: dict[str, Any] = {}
        seen: dict[str, int] = {}
        for item in self.flat(block, nested):
            if item.key in blocks:
                continue
            if item.key not in table:
                self.unknown(item, where, ignored, [*table, *nested, *blocks])
                continue
            if item.key in seen:
                self.problem(item.line, f"{item.key} is given twice; the first is on line {seen[item.key]}")
            seen[item.key] = item.line
            target, kind = table[item.key]
            self.read(item, kind, values, target.name)
        return values

    def flat(self, block: Block, nested: set[str]) -> Iterator[Item]:
        """The items of a block, with those of the blocks inside as ``block.directive``."""
        for item in block.items:
            if item.key not in nested:
                yield item
                continue
            for inner in item.value if isinstance(item.value, list) else [item.value]:
                if not isinstance(inner, Block):
                    self.problem(item.line, f"{item.key} must be a block: {item.key} {{ ... }}")
                    continue
                for child in inner.items:
                    yield Item(f"{item.key}.{child.key}", child.labels, child.value, child.line)

    def read(self, item: Item, kind: Kind, values: dict[str, Any], name: str) -> None:
        if item.labels:
            self.problem(item.line, f"{item.key} takes no label")
            return
        value = item.value
        if isinstance(value, list) and len(value) == 1 and isinstance(value[0], Block):
            value = value[0]  # JSON may write a block as a list of one
        try:
            values[name] = kind.parse(value)
        except ValueError as error:
            self.problem(item.line, f"{item.key}: {error}")

    def unknown(self, item: Item, where: str, ignored: known.Known, names: list[str]) -> None:
        if item.key in ignored:
            level, reason = ignored[item.key]
            text = f"{item.key}: {reason}"
            if level == "error":
                self.problem(item.line, text)
            else:
                self.out.notices.append((level, at(self.source, item.line, text)))
            return
        close = difflib.get_close_matches(item.key, [*names, *ignored], n=1)
        hint = f'; did you mean "{close[0]}"?' if close else ""
        place = f" in {where}" if where else ""
        self.problem(item.line, f'unknown directive "{item.key}"{place}{hint}')

    def store(self, *names: str) -> StorageConfig | None:
        found = [each for name in names for each in self.labelled(name, 1)]
        for _, _, line in found[1:]:
            self.problem(line, f"only one {names[0]} block is permitted in a file; another is on line {found[0][2]}")
        for (type_,), block, line in found[:1]:
            return StorageConfig(type=type_, options=OPTIONS.parse(block), origin=f"{self.source}:{line}")
        return None

    def listener(self, type_: str, block: Block, line: int) -> None:
        type_ = type_.lower()
        if type_ not in ("tcp", "unix"):
            self.problem(line, f'listener "{type_}": must be "tcp" or "unix"')
        values = self.fields(ListenerConfig, block, f'listener "{type_}"', known.LISTENER)
        self.out.listeners.append(ListenerConfig(type=type_, origin=f"{self.source}:{line}", **values))

    def seal(self, type_: str, block: Block, line: int) -> None:
        own: dict[str, Any] = {}
        options: list[Item] = []
        for item in block.items:
            if item.key in _SEAL_FIELDS:
                self.read(item, _SEAL_FIELDS[item.key], own, item.key)
            else:
                options.append(item)
        self.out.seals.append(
            SealConfig(
                type=type_,
                options=OPTIONS.parse(Block(tuple(options), block.line)),
                origin=f"{self.source}:{line}",
                **own,
            )
        )


_SEAL_FIELDS = {"disabled": FLAG, "name": TEXT}
