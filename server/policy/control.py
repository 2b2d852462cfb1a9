"""``control_group`` of a rule: whose approval a request needs before it is carried out."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...framework.wire import parse_bool, parse_duration
from ..hcl import Block, HclError, Item, Value

_OF_GROUP = frozenset({"ttl", "factor"})
_OF_FACTOR = frozenset({"controlled_capabilities", "identity"})
_OF_IDENTITY = frozenset({"group_ids", "group_names", "approvals", "ttl", "self_authorization"})
_MOST_APPROVALS = 100


@dataclass(frozen=True, slots=True)
class Factor:
    """So many ``approvals`` of members of some groups, for operations that need one of ``capabilities`` (none: for
    all). An approval counts for ``ttl`` seconds (0: for as long as the request waits).
    """

    name: str
    capabilities: tuple[str, ...] = ()
    group_ids: tuple[str, ...] = ()
    group_names: tuple[str, ...] = ()
    approvals: int = 1
    ttl: float = 0.0
    self_authorization: bool = False


@dataclass(frozen=True, slots=True)
class Control:
    """What an operation waits for. ``sudo``: what it waits for beside, on paths that need sudo. ``ttl``: for how many
    seconds it waits; 0 is the server's default."""

    factors: tuple[Factor, ...] = ()
    sudo: tuple[Factor, ...] = ()
    ttl: float = 0.0

    def of(self, *, sudo: bool) -> tuple[Factor, ...]:
        return (
            (*self.factors, *(factor for factor in self.sudo if factor not in self.factors)) if sudo else self.factors
        )


@dataclass(slots=True)
class _Found:
    factors: list[Factor] = field(default_factory=list)
    ttl: float = 0.0


def parse_control_groups(rule: Block, capabilities: frozenset[str]) -> tuple[tuple[Factor, ...], float]:
    """The factors of a rule that has these capabilities, and for how long a request waits for them.

    Raises HclError.
    """
    found = _Found()
    for _, group, line in rule.blocks("control_group"):
        _check_keys(group, _OF_GROUP)
        for item in group.all("ttl"):
            found.ttl = _seconds(item)
        before = len(found.factors)
        for (name,), factor, at in group.blocks("factor", 1):
            found.factors.append(_factor(name, factor, at, capabilities))
        if len(found.factors) == before:
            raise HclError("control_group has no factor", line)
    return tuple(found.factors), found.ttl


def _factor(name: str, block: Block, line: int, capabilities: frozenset[str]) -> Factor:
    _check_keys(block, _OF_FACTOR)
    controlled = frozenset(word for item in block.all("controlled_capabilities") for word in _words(item))
    if wrong := controlled - capabilities:
        raise HclError(f'factor "{name}": controlled capability "{min(wrong)}" is not one of the rule', line)
    identities = list(block.blocks("identity"))
    if len(identities) != 1:
        raise HclError(f'factor "{name}" needs one identity block', line)
    _, identity, at = identities[0]
    _check_keys(identity, _OF_IDENTITY)
    ids = frozenset(word for item in identity.all("group_ids") for word in _words(item))
    names = frozenset(word.lower() for item in identity.all("group_names") for word in _words(item))
    if not ids and not names:
        raise HclError(f'factor "{name}" names no group', at)
    approvals, ttl, own = 1, 0.0, False
    for item in identity.items:
        if item.key == "approvals":
            approvals = _count(item)
        elif item.key == "ttl":
            ttl = _seconds(item)
        elif item.key == "self_authorization":
            try:
                own = parse_bool(item.value)
            except ValueError as error:
                raise HclError(f"invalid self_authorization: {error}", item.line) from None
    return Factor(name, tuple(sorted(controlled)), tuple(sorted(ids)), tuple(sorted(names)), approvals, ttl, own)


def _check_keys(block: Block, known: frozenset[str]) -> None:
    for item in block.items:
        if item.key not in known:
            raise HclError(f'invalid key "{item.key}" in control_group', item.line)


def _words(item: Item) -> list[str]:
    values: list[Value] = item.value if isinstance(item.value, list) else [item.value]
    if not all(isinstance(value, str) and value for value in values):
        raise HclError(f"{item.key} must be a list of strings", item.line)
    return [str(value) for value in values]


def _seconds(item: Item) -> float:
    try:
        seconds = parse_duration(item.value)
    except ValueError as error:
        raise HclError(f"invalid ttl: {error}", item.line) from None
    if seconds < 0:
        raise HclError("invalid ttl: it is negative", item.line)
    return seconds


def _count(item: Item) -> int:
    if isinstance(item.value, bool) or not isinstance(item.value, int) or not 1 <= item.value <= _MOST_APPROVALS:
        raise HclError(f"approvals must be a whole number from 1 to {_MOST_APPROVALS}", item.line)
    return item.value
