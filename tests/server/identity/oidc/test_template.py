"""Templates of claims."""

from __future__ import annotations

import base64
from types import SimpleNamespace

import pytest
from caveau.framework.errors import InvalidRequest
from caveau.server.identity.oidc import template

ALIAS = SimpleNamespace(id="a-1", name="al", metadata={"m": "1"}, custom_metadata={"c": "2"})
GROUPS = [
    SimpleNamespace(id="g-2", name="ops", metadata={}),
    SimpleNamespace(id="g-1", name="dev", metadata={}),
]
ADA = SimpleNamespace(
    id="e-1", name='a"da', metadata={"k": "v", "a.b": "dotted"}, aliases={"acc": ALIAS}, groups=GROUPS
)


@pytest.mark.parametrize(
    ("directive", "value"),
    [
        ("identity.entity.id", "e-1"),
        ("identity.entity.name", 'a"da'),
        (" identity.entity.name ", 'a"da'),
        ("identity.entity.metadata", {"k": "v", "a.b": "dotted"}),
        ("identity.entity.metadata.k", "v"),
        ("identity.entity.metadata.a.b", "dotted"),
        ("identity.entity.metadata.none", ""),
        ("identity.entity.groups.names", ["dev", "ops"]),
        ("identity.entity.groups.ids", ["g-1", "g-2"]),
        ("identity.entity.aliases.acc.id", "a-1"),
        ("identity.entity.aliases.acc.name", "al"),
        ("identity.entity.aliases.acc.metadata", {"m": "1"}),
        ("identity.entity.aliases.acc.custom_metadata.c", "2"),
        ("identity.entity.aliases.none.name", ""),
        ("identity.entity.aliases.none.metadata", {}),
        ("time.now", 1000),
        ("time.now.plus.1h", 4600),
        ("time.now.plus.1.5h", 6400),
        ("time.now.minus.10s", 990),
    ],
)
def test_a_directive_is_a_value(directive, value):
    assert template.render('{"x": [{{' + directive + "}}]}", ADA, 1000.9) == {"x": [value]}


def test_a_value_cannot_break_out_of_its_place():
    evil = SimpleNamespace(**vars(ADA) | {"name": '", "admin": true, "x": "{{time.now}}'})
    assert template.render('{"n": {{identity.entity.name}}}', evil, 0) == {"n": evil.name}


@pytest.mark.parametrize(
    "text",
    [
        '{"x": {{identity.entity.secret}}}', '{"x": {{}}}', '{"x": {{time.now', "[1]", '"x"', "{", "x",
        '{"x": {{time.now.plus.soon}}}', '{"x": {{time.now.plus}}}', '{"x": "{{identity.entity.name}}"}', '{"x": NaN}',
        '{"x": {{identity.entity.name}}', "[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_template_is_refused(text):
    with pytest.raises(InvalidRequest, match=r"^error parsing template"):
        template.check(text)


@pytest.mark.parametrize("claim", template.RESERVED)
def test_claims_of_the_servers_own_cannot_be_set(claim):
    with pytest.raises(InvalidRequest, match=f'top level key "{claim}" not allowed'):
        template.check(f'{{"{claim}": 1}}')
    template.check(f'{{"x": {{"{claim}": 1}}}}')
    with pytest.raises(InvalidRequest):  # however it is spelt
        template.check(f'{{"\\u{ord(claim[0]):04x}{claim[1:]}": 1}}')


def test_a_template_may_be_in_base64():
    text = '{"n": {{identity.entity.name}}}'
    assert template.plain(base64.b64encode(text.encode()).decode()) == text
    assert template.plain(text) == text
    assert template.plain("") == ""
    assert template.plain("/w==") == "/w=="  # base64 of no text
