"""One path's rules from all of a token's policies, merged: what it grants and on what conditions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from weakref import WeakValueDictionary

from ...framework.wire import INT
from .control import Control, Factor
from .parse import Parameters, Pattern, Rule

OPERATIONS: Final = frozenset({"create", "read", "update", "patch", "delete", "list", "scan"})
_WITH_PARAMETERS: Final = frozenset({"create", "read", "update", "patch"})


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to one request.

    ``sudo``: whether the rule carries it; the caller knows whether the route needs it. ``path`` and
    ``policies`` name the rule that decided and the policies behind the answer, ``reason`` says why not:
    for the audit log and operators, not for whoever was refused. ``pagination_limit`` (0: none) is the
    ``limit`` of a list request without one. ``filter_path`` is for ``ACL.visible``. ``control``: whose approval
    the request waits for, None where it does not.
    """

    allowed: bool
    root: bool = False
    sudo: bool = False
    path: str = ""
    policies: tuple[str, ...] = ()
    reason: str = ""
    pagination_limit: int = 0
    filter_path: str = ""
    control: Control | None = None


def without_sudo(decision: Decision) -> Decision:
    """What an allowed request is told on a path that needs ``sudo``, when the rule does not have it."""
    return replace(decision, allowed=False, reason="the path needs sudo, which the rule does not grant")


class Grant:
    """Merged rules of one path; ``add`` them all, then ``seal``, then ask."""

    __slots__ = (
        "__weakref__", "allowed", "capabilities", "conditional", "control_ttl", "decisions", "denied", "factors",
        "filter_path", "max_wrapping_ttl", "min_wrapping_ttl", "pagination_limit", "path", "required",
        "rules", "sources",
    )  # fmt: skip

    def __init__(self, path: str) -> None:
        self.path = path
        self.capabilities: set[str] = set()
        self.sources: dict[str, set[str]] = {}
        self.allowed: dict[str, tuple[Pattern, ...]] = {}
        self.denied: dict[str, tuple[Pattern, ...]] = {}
        self.required: tuple[str, ...] = ()
        self.min_wrapping_ttl = 0.0
        self.max_wrapping_ttl = 0.0
        self.pagination_limit = 0
        self.filter_path = ""
        self.factors: tuple[Factor, ...] = ()
        self.control_ttl = 0.0
        self.conditional = False
        self.decisions: dict[str, Decision] = {}
        self.rules: tuple[tuple[str, Rule], ...] = ()

    def add(self, policy: str, rule: Rule) -> None:
        """Capabilities add up, except that deny takes all; of two bounds the smaller counts."""
        self.sources.setdefault(policy, set()).update(rule.capabilities)
        self.capabilities |= rule.capabilities
        _merge(self.allowed, rule.allowed)
        _merge(self.denied, rule.denied)
        self.required += tuple(name for name in rule.required if name not in self.required)
        self.min_wrapping_ttl = _smaller(self.min_wrapping_ttl, rule.min_wrapping_ttl)
        self.max_wrapping_ttl = _smaller(self.max_wrapping_ttl, rule.max_wrapping_ttl)
        self.pagination_limit = int(_smaller(self.pagination_limit, rule.pagination_limit))
        self.filter_path = self.filter_path or rule.filter_path
        self.factors += tuple(factor for factor in rule.factors if factor not in self.factors)
        self.control_ttl = _smaller(self.control_ttl, rule.control_ttl)

    def seal(self) -> None:
        if not self.capabilities or "deny" in self.capabilities:
            self.capabilities = {"deny"}
        self.conditional = bool(
            self.allowed or self.denied or self.required or self.min_wrapping_ttl or self.max_wrapping_ttl
            or self.pagination_limit
        )  # fmt: skip
        for operation in OPERATIONS:
            allowed = operation in self.capabilities
            decisive = operation if allowed else "deny"
            self.decisions[operation] = Decision(
                allowed=allowed,
                sudo="sudo" in self.capabilities,
                path=self.path,
                policies=tuple(name for name, words in self.sources.items() if decisive in words)
                or tuple(self.sources),
                reason="" if allowed else f"the rule does not grant {operation}",
                pagination_limit=self.pagination_limit if operation in ("list", "scan") else 0,
                filter_path=self.filter_path if operation in ("list", "scan") else "",
                control=self._control(operation) if allowed and self.factors else None,
            )

    def _control(self, operation: str) -> Control | None:
        factors = tuple(each for each in self.factors if not each.capabilities or operation in each.capabilities)
        sudo = tuple(each for each in self.factors if "sudo" in each.capabilities)
        return Control(factors, sudo, self.control_ttl) if factors or sudo else None

    def objection(self, operation: str, data: Mapping[str, Any], wrap_ttl: float | None) -> str:
        """Why a granted operation is refused all the same, or ``""``. Never holds a value of ``data``."""
        if self.max_wrapping_ttl and (wrap_ttl is None or wrap_ttl > self.max_wrapping_ttl):
            return "the response must be wrapped, for no longer than the rule's max_wrapping_ttl"
        if self.min_wrapping_ttl and (wrap_ttl is None or wrap_ttl < self.min_wrapping_ttl):
            return "the response must be wrapped, for no less than the rule's min_wrapping_ttl"
        if operation in _WITH_PARAMETERS:
            return self._parameters(data)
        if self.pagination_limit and operation == "list":
            return self._limit(data.get("limit"))
        return ""

    def _parameters(self, data: Mapping[str, Any]) -> str:
        for name in self.required:
            if name.lower() not in data:
                return f"parameter {name} is required"
        if not data:
            return ""
        if "*" in self.denied:
            return "every parameter is denied"
        for name, value in data.items():
            values = self.denied.get(name.lower())
            if values is not None and _listed(value, values):
                return f"parameter {name.lower()} is denied"
        if not self.allowed or self.allowed.keys() == {"*"}:
            return ""
        for name, value in data.items():
            values = self.allowed.get(name.lower())
            if "*" not in self.allowed if values is None else not _listed(value, values):
                return f"parameter {name.lower()} is not allowed"
        return ""

    def _limit(self, asked: object) -> str:
        try:
            limit = INT.parse(asked or 0)
        except ValueError:
            return ""  # the route answers that
        return "" if 0 <= limit <= self.pagination_limit else "limit is above the rule's pagination_limit"


_shared: WeakValueDictionary[tuple[object, ...], Grant] = WeakValueDictionary()


def merged(path: str, rules: tuple[tuple[str, Rule], ...]) -> Grant:
    """The sealed grant of ``rules``, each with the name of its policy, on ``path``.

    The ACLs of many entities differ in few of their paths: what is the same they share. A grant keeps its rules, so
    that no other object can have the identity of one of them for as long as the grant is found by it.
    """
    key = (path, *[part for name, rule in rules for part in (name, id(rule))])
    grant = _shared.get(key)
    if grant is None:
        grant = Grant(path)
        grant.rules = rules
        for policy, rule in rules:
            grant.add(policy, rule)
        grant.seal()
        _shared[key] = grant
    return grant


def _smaller(one: float, other: float) -> float:
    """The smaller of two bounds where 0 is no bound."""
    return min(one, other) if one and other else one or other


def _merge(into: dict[str, tuple[Pattern, ...]], parameters: Parameters) -> None:
    """No values, which is any value, beats values."""
    for name, values in parameters.items():
        known = into.get(name)
        if known is None:
            into[name] = values
        else:
            into[name] = (*known, *values) if known and values else ()


def _listed(value: object, patterns: tuple[Pattern, ...]) -> bool:
    return not patterns or any(_matches(value, pattern) for pattern in patterns)


def _matches(value: object, pattern: Pattern) -> bool:
    if isinstance(value, str) and isinstance(pattern, str):
        if len(pattern) < 2:
            return value == pattern
        head, tail = pattern.startswith("*"), pattern.endswith("*")
        if head and tail:
            return pattern[1:-1] in value
        if head:
            return value.endswith(pattern[1:])
        if tail:
            return value.startswith(pattern[:-1])
    return _equal(value, pattern)


def _equal(value: object, pattern: Pattern) -> bool:
    """Deep equality in which no two numbers are equal, as in Vault, which compares Go types."""
    if isinstance(value, str | bool):
        return type(value) is type(pattern) and value == pattern
    if isinstance(value, list) and isinstance(pattern, list):
        return len(value) == len(pattern) and all(map(_equal, value, pattern))
    if isinstance(value, Mapping) and isinstance(pattern, dict):
        return value.keys() == pattern.keys() and all(_equal(value[name], part) for name, part in pattern.items())
    return False
