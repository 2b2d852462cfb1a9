"""The language of filters, and leaving fields out."""

from __future__ import annotations

import json

import pytest
from caveau.framework.errors import InvalidRequest
from caveau.server.audit.filters import condition, exclusions, without

ENTRY = {
    "type": "request",
    "auth": {"policies": ["default", "app"]},
    "request": {
        "operation": "update", "path": "secret/data/a", "mount_point": "secret/", "mount_type": "kv",
        "namespace": {"id": "root"}, "data": {"n": 1, "flag": True, "a/b": "x"},
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("operation == update", True),
        ('operation == "read"', False),
        ("operation != read", True),
        ("mount_type == kv and operation == update", True),
        ("mount_type == pki or operation == update", True),
        ("mount_type == pki or operation == update and path == x", False),
        ("not mount_type == pki", True),
        ("not (mount_type == kv and operation == update)", False),
        ("path matches `^secret/.*a$`", True),
        ("path not matches `^sys/`", True),
        ("mount_point contains secr", True),
        ("mount_point not contains secr", False),
        ('"/auth/policies" contains app', True),
        ('"/auth/policies" contains ap', False),
        ('app in "/auth/policies"', True),
        ('other not in "/auth/policies"', True),
        ("namespace is empty", True),
        ("namespace is not empty", False),
        ('namespace == ""', True),
        ('"/request/data/n" == 1', True),
        ('"/request/data/flag" == true', True),
        ('"/request/data/a~1b" == x', True),
        ('"/auth/policies/1" == app', True),
        ('"/no/such" == x', False),
    ],
)
def test_conditions(text, passes):
    assert condition(text)(ENTRY) is passes


@pytest.mark.parametrize(
    "text",
    ["", "operation", "operation ==", "operation == update x", "(operation == update", "== update", "nosuch == x",
     "operation == update and", "path matches `(`", "operation = update", "not " * 60 + "path == x", "p" * 5000,
     "operation is x"],
)  # fmt: skip
def test_what_is_no_condition(text):
    with pytest.raises(InvalidRequest):
        condition(text)


def test_fields_are_left_out_where_the_condition_holds():
    given = [
        {"condition": "mount_type == kv", "fields": ["/request/data", "/auth/policies"]},
        {"condition": "mount_type == pki", "fields": ["/type"]},
        {"fields": ["/request/path", "/x/y"]},
    ]
    entry = without(json.loads(json.dumps(ENTRY)), exclusions(json.dumps(given)))
    assert "data" not in entry["request"]
    assert "path" not in entry["request"]
    assert entry["auth"] == {}
    assert entry["type"] == "request"


@pytest.mark.parametrize(
    "text", ["x", "{}", "[]", '[{"fields": []}]', '[{"fields": ["x"]}]', '[{"condition": 1}]', "[1]"]
)
def test_what_is_no_exclusion(text):
    with pytest.raises(InvalidRequest):
        exclusions(text)


async def test_a_device_gets_what_it_wants(audited):
    server = audited.server
    await audited.enable(filter="mount_type == kv and operation != read", exclude='[{"fields": ["/request/data"]}]')
    await server.call("read", "sys/mounts")
    await server.call("update", "kv-v1/a", {"k": "v"})
    await server.call("read", "kv-v1/a")
    entries = audited.entries()
    assert [entry["type"] for entry in entries] == ["request", "response"]
    assert all("data" not in entry["request"] for entry in entries)
