"""Caveau's own description (OpenAPI) declares what OpenBao's declares, for every operation it serves."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from caveau.tests.differential.sweep import operations
from caveau.tests.peers import Server, bao_server, caveau_server

pytestmark = [pytest.mark.peer, pytest.mark.slow]

# Facts of OpenBao's that Caveau does not declare: a regular expression over the fact, and why.
_LEFT_OUT = {
    r"/sys/plugins/catalog/.* post (args|command|env|oci|sha256|version) \w+": "a plugin is a Python package with an entry point: nothing about a program to run can be registered",  # noqa: E501
    r"/(secret/metadata/\{path\}|sys/raw(/\{path\})?|auth/approle/role/\{role_name\}/secret-id) (post|patch) (after|limit) \w+": "OpenBao declares the fields of a path for all its operations; these two are of LIST only",  # noqa: E501
    r"/sys/leases/lookup/ .*": "the list of the leases is declared with the other operation of its path, /sys/leases/lookup",  # noqa: E501
    r"/sys/tools/random/\{source\} post.*": "what stands alone in this path is a count or a source; it is declared once, as {urlbytes}",  # noqa: E501
}


def _served() -> set[str]:
    """The paths of this comparison, as a development server with its ``secret/`` mount declares them."""
    return {
        path.replace("/kv-v2/", "/secret/") for area, paths in operations().items() if area != "kv-v1" for path in paths
    }


def _declared(document: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Facts: ``(path, flag)``, ``(path, verb)``, ``(path, verb, query argument)``, ``(path, verb, field, type)``."""
    schemas = document.get("components", {}).get("schemas", {})
    for path in _served() & document["paths"].keys():
        item = document["paths"][path]
        for flag in ("x-vault-unauthenticated", "x-vault-sudo"):
            if item.get(flag):
                yield path, flag
        for verb in item.keys() & {"get", "post", "patch", "delete"}:
            yield path, verb
            for parameter in item[verb].get("parameters", []):
                yield path, verb, parameter["name"]
            for media in item[verb].get("requestBody", {}).get("content", {}).values():
                schema = media.get("schema", {})
                schema = schemas.get(schema.get("$ref", "").rpartition("/")[2], schema)
                for name, field in schema.get("properties", {}).items():
                    yield path, verb, name, _type(field)


def _type(field: dict[str, Any]) -> str:
    """Durations are a kind of their own: strings in Vault's document and ours, integers in OpenBao's."""
    return "duration" if field.get("format") in ("seconds", "duration") else str(field.get("type"))


def _describe(server: Server) -> set[tuple[str, ...]]:
    """What a server declares, with the auth methods that are compared at the paths of their names."""
    for method in ("approle", "userpass"):
        body = json.dumps({"type": method}).encode()
        mount = urllib.request.Request(
            f"{server.address}/v1/sys/auth/{method}", body, {"X-Vault-Token": server.token}, method="POST"
        )
        urllib.request.urlopen(mount, timeout=30).close()
    request = urllib.request.Request(
        f"{server.address}/v1/sys/internal/specs/openapi", headers={"X-Vault-Token": server.token}
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        return set(_declared(json.load(response)))


def test_caveau_declares_what_openbao_declares(record_property: Callable[[str, object], None]) -> None:
    with bao_server() as bao, caveau_server() as caveau:
        theirs, ours = _describe(bao), _describe(caveau)
    missing = [" ".join(fact) for fact in sorted(theirs - ours)]
    unexplained = [fact for fact in missing if not any(re.fullmatch(row, fact) for row in _LEFT_OUT)]
    idle = [row for row in _LEFT_OUT if not any(re.fullmatch(row, fact) for fact in missing)]
    record_property(
        "differential",
        "\n".join([f"{len(theirs) - len(missing)} of the {len(theirs)} facts OpenBao declares; missing:", *missing]),
    )
    assert (unexplained, idle) == ([], [])


def test_openbao_declares_the_operations_the_sweep_asks() -> None:
    with bao_server() as bao:
        found = {fact[0] for fact in _describe(bao)}
    assert _served() <= found
