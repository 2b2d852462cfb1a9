"""Policy text to rules: what HCL or JSON says, checked, and nothing about who asks or where.

Vault's reading is kept to the letter, oddities included: repeated attributes accumulate, ``policy``
adds to ``capabilities``, a ``deny`` ends the reading of a list. Where an oddity may leave a path more
open than its author meant, the policy carries a warning.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

from ...framework.errors import InvalidRequest
from ...framework.wire import parse_duration, parse_moment
from .. import hcl
from ..hcl import Block, HclError, Item
from .control import Factor, parse_control_groups
from .templating import check_filter_path, check_template

CAPABILITIES: Final = frozenset(
    {"create", "read", "update", "patch", "delete", "list", "scan", "sudo", "deny", "recover", "subscribe"}
)
"""``recover`` and ``subscribe`` are Vault's words for operations that do not exist here."""

_SHORTHAND: Final[dict[str, frozenset[str]]] = {
    "": frozenset(),
    "deny": frozenset({"deny"}),
    "read": frozenset({"read", "list"}),
    "write": frozenset({"create", "read", "update", "delete", "list"}),
    "sudo": frozenset({"create", "read", "update", "delete", "list", "sudo"}),
}

T = TypeVar("T")

Pattern: TypeAlias = "str | int | float | bool | list[Pattern] | dict[str, Pattern] | None"
"""A parameter value of a rule."""

Parameters: TypeAlias = Mapping[str, tuple[Pattern, ...]]
"""Lower-cased parameter name to the values listed for it; no values means any value."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One ``path`` stanza. Times are in seconds; a wrapping bound or limit of 0 is none."""

    path: str
    capabilities: frozenset[str]
    allowed: Parameters
    denied: Parameters
    required: tuple[str, ...]
    min_wrapping_ttl: float
    max_wrapping_ttl: float
    pagination_limit: int
    filter_path: str
    expiration: float | None
    line: int
    factors: tuple[Factor, ...] = ()
    control_ttl: float = 0.0


@dataclass(frozen=True, slots=True)
class Policy:
    """A named list of rules, until ``expiration`` (seconds since the epoch; None: for good). The two flags let
    values put into templates hold ``/``, or ``+`` and ``*``."""

    name: str
    rules: tuple[Rule, ...]
    warnings: tuple[str, ...] = ()
    template_slashes: bool = False
    template_wildcards: bool = False
    expiration: float | None = None


def parse_policy(
    name: str,
    text: str,
    *,
    template_slashes: bool = False,
    template_wildcards: bool = False,
    expiration: float | None = None,
) -> Policy:
    """The rules of a policy's text. Raises ``InvalidRequest`` that names the path and the line."""
    try:
        rules, warnings = _rules(text)
    except HclError as error:
        raise InvalidRequest(f"failed to parse policy: {error}") from None
    return Policy(name, rules, warnings, template_slashes, template_wildcards, expiration)


def _rules(text: str) -> tuple[tuple[Rule, ...], tuple[str, ...]]:
    document = hcl.parse(text)
    json = hcl.is_json(text)
    rules: list[Rule] = []
    warnings: list[str] = []
    for item in document.items:
        if item.key not in ("path", "name"):
            raise HclError(f'invalid key "{item.key}"', item.line)
    for path, block, line in _stanzas(document, json):
        stanza = _Stanza(path, line, json, warnings)
        try:
            rules.append(stanza.rule(block))
        except HclError as error:
            raise HclError(f'path "{path}": {error.message}', error.line) from None
    return tuple(rules), tuple(warnings)


def _stanzas(document: Block, json: bool) -> Iterable[tuple[str, Block, int]]:
    if json:
        for (path,), block, line in document.blocks("path", 1):
            yield path, block, line
        return
    for item in document.all("path"):
        if not isinstance(item.value, Block) or len(item.labels) > 1:
            raise HclError('path must be a block with one label, such as path "secret/*" { }', item.line)
        yield item.labels[0] if item.labels else "path", item.value, item.line


class _Stanza:
    """Reads one stanza; ``warnings`` grows."""

    def __init__(self, path: str, line: int, json: bool, warnings: list[str]) -> None:
        self.path = path.removeprefix("/")
        self.line = line
        self.json = json
        self.warnings = warnings

    def warn(self, text: str, line: int) -> None:
        self.warnings.append(f'path "{self.path}" on line {line}: {text}')

    def rule(self, block: Block) -> Rule:
        for item in block.items:
            if item.key not in _KEYS:
                raise HclError(f'invalid key "{item.key}"', item.line)
            if item.key == "mfa_methods":
                self.warn("mfa_methods is not enforced; use login MFA", item.line)
        self.check_path()
        low = self.last(block, "min_wrapping_ttl", _seconds, 0.0)
        high = self.last(block, "max_wrapping_ttl", _seconds, 0.0)
        if low and high and high < low:
            raise HclError("max_wrapping_ttl cannot be less than min_wrapping_ttl", self.line)
        capabilities = self.capabilities(block)
        factors, control_ttl = parse_control_groups(block, capabilities)
        rule = Rule(
            path=self.path,
            capabilities=capabilities,
            allowed=self.parameters(block, "allowed_parameters"),
            denied=self.parameters(block, "denied_parameters"),
            required=tuple(str(name) for name in self.listed(block, "required_parameters", (str, int))),
            min_wrapping_ttl=max(low, 0.0),
            max_wrapping_ttl=max(high, 0.0),
            pagination_limit=max(self.last(block, "pagination_limit", _whole, 0), 0),
            filter_path=self.last(block, "list_scan_response_keys_filter_path", _filter_path, ""),
            expiration=self.last(block, "expiration", _moment, None),
            line=self.line,
            factors=factors,
            control_ttl=control_ttl,
        )
        if rule.filter_path and "list" not in rule.capabilities:
            raise HclError("list_scan_response_keys_filter_path needs the list capability", self.line)
        return rule

    def check_path(self) -> None:
        if "+*" in self.path:
            raise HclError("invalid use of wildcards ('+*' is forbidden)", self.line)
        try:
            check_template(self.path)
        except ValueError as error:
            raise HclError(str(error), self.line) from None
        if self.path.startswith("/"):
            self.warn("a path with two leading slashes is never asked for: this rule has no effect", self.line)
        if "*" in self.path[:-1]:
            self.warn("'*' is a wildcard only as the last character: here it is a plain character", self.line)
        if any("+" in part and part != "+" for part in self.path.split("/")):
            self.warn("'+' is a wildcard only as a whole segment: here it is a plain character", self.line)

    def last(self, block: Block, key: str, read: Callable[[object], T], default: T) -> T:
        value = default
        for item in block.all(key):
            try:
                value = read(item.value)
            except ValueError as error:
                raise HclError(f"invalid {key}: {error}", item.line) from None
        return value

    def listed(self, block: Block, key: str, types: tuple[type, ...]) -> Iterable[object]:
        """The values of every list given to ``key``, in order; booleans in JSON lists are lost."""
        for item in block.all(key):
            for value in _list(item):
                if isinstance(value, bool) and self.json:
                    continue
                if not isinstance(value, types) or isinstance(value, bool):
                    raise HclError(f"{key} must be a list of strings", item.line)
                yield value

    def capabilities(self, block: Block) -> frozenset[str]:
        shorthand = self.last(block, "policy", _text, "")
        if shorthand not in _SHORTHAND:
            raise HclError(f'invalid policy "{shorthand}"', self.line)
        found = set(_SHORTHAND[shorthand])
        if "deny" in found:
            return frozenset({"deny"})
        for word in self.listed(block, "capabilities", (str, int)):
            if word == "deny":
                return frozenset({"deny"})
            if word not in CAPABILITIES:
                raise HclError(f'invalid capability "{word}"', self.line)
            found.add(str(word))
        return frozenset(found)

    def parameters(self, block: Block, key: str) -> Parameters:
        found: dict[str, tuple[Pattern, ...]] = {}
        for item in block.all(key):
            if not isinstance(item.value, Block) or item.labels:
                raise HclError(f"{key} must be a map from parameter names to lists of values", item.line)
            for entry in item.value.items:
                values = self.patterns(key, entry)
                found[entry.key.lower()] = (*found.get(entry.key.lower(), ()), *values)
        if key == "denied_parameters" and found.get("*"):
            self.warn('denied_parameters "*" refuses every parameter: its values are ignored', self.line)
        elif found.get("*"):
            self.warn('allowed_parameters "*" allows every other parameter: its values are ignored', self.line)
        return found

    def patterns(self, key: str, entry: Item) -> list[Pattern]:
        if isinstance(entry.value, Block) and not entry.labels and not self.json:
            values: list[hcl.Value] = [entry.value]
        else:
            values = _list(entry)
        kept = [value for value in values if not (self.json and isinstance(value, bool))]
        where = f'{key} "{entry.key}"'
        if len(kept) < len(values):
            open_ended = "" if kept else ", so that any value matches"
            self.warn(f"{where}: booleans in JSON lists are ignored{open_ended}; write HCL", entry.line)
        for value in kept:
            if isinstance(value, int | float) and not isinstance(value, bool):
                effect = "denies nothing" if key == "denied_parameters" else "allows nothing"
                self.warn(f"{where}: numbers match no value of a request: {value} {effect}", entry.line)
            elif isinstance(value, str) and (value == "*" or "*" in value[1:-1]):
                self.warn(f"{where}: in \"{value}\" the '*' is a plain character, not a wildcard", entry.line)
        return [_pattern(value) for value in kept]


_KEYS: Final = frozenset(
    {
        "capabilities", "policy", "allowed_parameters", "denied_parameters", "required_parameters",
        "min_wrapping_ttl", "max_wrapping_ttl", "pagination_limit", "list_scan_response_keys_filter_path",
        "expiration", "comment", "mfa_methods", "control_group", "subscribe_event_types",
    }
)  # fmt: skip


def _list(item: Item) -> list[hcl.Value]:
    """An item's list; ``{}`` stands for the empty one."""
    if isinstance(item.value, list):
        return item.value
    if isinstance(item.value, Block) and not item.value.items and not item.labels:
        return []
    raise HclError(f'"{item.key}" must be a list', item.line)


def _pattern(value: hcl.Value) -> Pattern:
    if isinstance(value, Block):
        return {item.key: _pattern(item.value) for item in value.items}
    if isinstance(value, list):
        return [_pattern(entry) for entry in value]
    return value


def _text(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("expected a string")
    return str(value)


def _seconds(value: object) -> float:
    return float(int(value)) if isinstance(value, float) else parse_duration(value)


def _whole(value: object) -> int:
    if isinstance(value, str) and re.fullmatch(r"[+-]?(0[xX][0-9a-fA-F]{1,15}|[0-9]{1,18})", value):
        digits = value.lstrip("+-").lower()
        base = 16 if digits.startswith("0x") else 8 if digits.startswith("0") else 10
        return int(digits, base) * (-1 if value.startswith("-") else 1)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("expected a whole number")
    return value


def _moment(value: object) -> float | None:
    return parse_moment(_text(value) or None)


def _filter_path(value: object) -> str:
    text = _text(value)
    if text:
        check_filter_path(text)
    return text
