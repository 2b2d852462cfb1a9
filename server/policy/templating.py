"""Identity templates in rule paths: ``secret/{{identity.entity.name}}/*``.

The values come from identity providers and from users, so they must not be able to widen a rule:
one with a ``/``, ``+`` or ``*`` in it is refused unless the policy says otherwise (compare
GHSA-59w7-v8rr-pr4p, wildcards smuggled into OpenBao rules through templates).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, Protocol

from ...framework.errors import PermissionDenied


class Alias(Protocol):
    """An entity's login on one auth mount."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def metadata(self) -> Mapping[str, str]: ...
    @property
    def custom_metadata(self) -> Mapping[str, str]: ...


class Group(Protocol):
    """A group the entity belongs to, directly or through another group."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def metadata(self) -> Mapping[str, str]: ...


class Identity(Protocol):
    """Who asks: an entity, its aliases by mount accessor, and every group it is in."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def metadata(self) -> Mapping[str, str]: ...
    @property
    def aliases(self) -> Mapping[str, Alias]: ...
    @property
    def groups(self) -> Iterable[Group]: ...


def is_template(path: str) -> bool:
    return "{{" in path


def check_template(path: str) -> None:
    """Raises ValueError unless every ``{{`` has its ``}}``."""
    for part in path.split("{{")[1:]:
        if "}}" not in part:
            raise ValueError("unbalanced templating characters")
    if path.split("{{", 1)[0].count("}}"):
        raise ValueError("unbalanced templating characters")


def render(path: str, identity: Identity | None, *, slashes: bool = False, wildcards: bool = False) -> str | None:
    """``path`` with its templates replaced, or None where one has no value for this identity.

    Raises ``PermissionDenied`` when a value holds ``/`` without ``slashes``, or ``+`` or ``*`` without
    ``wildcards``: dropping the rule instead could lift a restriction.
    """
    first, *rest = path.split("{{")
    rendered = [first]
    for part in rest:
        name, _, plain = part.partition("}}")
        value = None if identity is None else _value(name.strip(), identity)
        if value is None:
            return None
        for char in ("" if slashes else "/") + ("" if wildcards else "+*"):
            if char in value:
                raise PermissionDenied(f'template substitution contains forbidden value: "{char}"')
        rendered += value, plain
    return "".join(rendered)


def _value(name: str, identity: Identity) -> str | None:
    match name.split("."):
        case ["identity", "entity", "aliases", accessor, *field]:
            alias = identity.aliases.get(accessor)
            return None if alias is None else _field(alias, field)
        case ["identity", "entity", *field]:
            return _field(identity, field)
        case ["identity", "groups", "ids" | "names" as by, wanted, *field]:
            for group in identity.groups:
                if wanted == (group.id if by == "ids" else group.name):
                    return _field(group, field)
    return None


def _field(owner: Identity | Alias | Group, field: list[str]) -> str | None:
    match field:
        case ["id"]:
            return owner.id
        case ["name"]:
            return owner.name
        case ["metadata", *key]:
            return owner.metadata.get(".".join(key))
        case ["custom_metadata", *key]:
            custom: Mapping[str, str] = getattr(owner, "custom_metadata", {})
            return custom.get(".".join(key))
    return None


_FILTER_FIELD: Final = re.compile(r"{{ *\.(key|path) *}}")


def check_filter_path(template: str) -> None:
    """Raises ValueError unless ``template`` tells keys apart and needs nothing but key and path."""
    fields = {found[1] for found in _FILTER_FIELD.finditer(template)}
    if "key" not in fields:
        raise ValueError("the template must hold {{ .key }}")
    if "{{" in _FILTER_FIELD.sub("", template):
        raise ValueError("the template may hold only {{ .key }} and {{ .path }}")


def fill_filter_path(template: str, path: str, key: str) -> str:
    """The path that ``key``, listed at ``path``, stands for."""
    return _FILTER_FIELD.sub(lambda found: key if found[1] == "key" else path, template)
