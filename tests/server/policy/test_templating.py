from dataclasses import dataclass, field

import pytest
from caveau.framework.errors import PermissionDenied
from caveau.server.policy import ACL, parse_policy
from caveau.server.policy.templating import render


@dataclass(frozen=True)
class Thing:
    id: str
    name: str
    metadata: dict[str, str] = field(default_factory=dict)
    custom_metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Entity:
    id: str = "e-1"
    name: str = "ann"
    metadata: dict[str, str] = field(
        default_factory=lambda: {"team": "red", "empty": "", "folder": "a/b", "star": "*", "plus": "+"}
    )
    aliases: dict[str, Thing] = field(
        default_factory=lambda: {"userpass_1": Thing("al-1", "ann@x", {"ip": "10"}, {"cost": "c7"})}
    )
    groups: tuple[Thing, ...] = (Thing("g-1", "ops", {"floor": "3"}),)


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("identity.entity.id", "e-1"),
        (" identity.entity.name ", "ann"),
        ("identity.entity.metadata.team", "red"),
        ("identity.entity.metadata.empty", ""),
        ("identity.entity.aliases.userpass_1.id", "al-1"),
        ("identity.entity.aliases.userpass_1.name", "ann@x"),
        ("identity.entity.aliases.userpass_1.metadata.ip", "10"),
        ("identity.entity.aliases.userpass_1.custom_metadata.cost", "c7"),
        ("identity.groups.ids.g-1.name", "ops"),
        ("identity.groups.ids.g-1.metadata.floor", "3"),
        ("identity.groups.names.ops.id", "g-1"),
        ("identity.entity.metadata.none", None),
        ("identity.entity.metadata", None),
        ("identity.entity.aliases.other.name", None),
        ("identity.entity.aliases.userpass_1", None),
        ("identity.groups.names.dev.id", None),
        ("identity.entity.groups.names", None),
        ("identity.entity.__class__", None),
        ("time.now", None),
        ("", None),
    ],
)
def test_values(template: str, value: str | None) -> None:
    text = f"a/{{{{{template}}}}}/+/{{{{identity.entity.name}}}}*"
    assert render(text, Entity()) == (None if value is None else f"a/{value}/+/ann*")


def test_without_an_entity_there_is_no_rule() -> None:
    text = 'path "a/{{identity.entity.name}}" { policy = "read" }\npath "b" { policy = "read" }'
    acl = ACL([parse_policy("p", text)], None, now=0)
    assert acl.capabilities("a/") == ["deny"]
    assert acl.capabilities("b") == ["list", "read"]
    assert ACL([parse_policy("p", text)], Entity(), now=0).capabilities("a/ann") == ["list", "read"]


@pytest.mark.parametrize(("key", "permission"), [("folder", "slashes"), ("star", "wildcards"), ("plus", "wildcards")])
def test_values_cannot_widen_a_rule(key: str, permission: str) -> None:
    text = f'path "a/{{{{identity.entity.metadata.{key}}}}}" {{ policy = "read" }}'
    other = {"slashes": "wildcards", "wildcards": "slashes"}[permission]
    for flags in ({}, {f"template_{other}": True}):
        with pytest.raises(PermissionDenied, match="forbidden value"):
            ACL([parse_policy("p", text, **flags)], Entity(), now=0)
    acl = ACL([parse_policy("p", text, **{f"template_{permission}": True})], Entity(), now=0)
    assert acl.capabilities("a/a/b" if key == "folder" else "a/x") == ["list", "read"]
