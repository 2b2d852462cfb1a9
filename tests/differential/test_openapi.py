"""Caveau's own description (OpenAPI) declares what OpenBao's declares, for every operation it serves."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from caveau.tests.differential.sweep import operations
from caveau.tests.peers import Server, bao_server, caveau_server

pytestmark = [pytest.mark.peer, pytest.mark.slow]

AT_LEAST = 0.97
# What OpenBao has over Vault, and Caveau leaves out on purpose.
_ONLY_OPENBAO = {"allow_slashes_in_identity_templates", "allow_wildcards_in_identity_templates", "cas_required",
                 "cas", "expiration"}


def _served() -> set[str]:
    """The paths of this comparison, as a development server with its ``secret/`` mount declares them."""
    return {path.replace("/kv-v2/", "/secret/") for area, paths in operations().items() if area != "kv-v1"
            for path in paths}


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
                    if ("/policies/acl/" not in path and "/policy/" not in path) or name not in _ONLY_OPENBAO:
                        yield path, verb, name, str(field.get("type"))


def _describe(server: Server) -> set[tuple[str, ...]]:
    request = urllib.request.Request(f"{server.address}/v1/sys/internal/specs/openapi",
                                     headers={"X-Vault-Token": server.token})
    with urllib.request.urlopen(request, timeout=30) as response:
        return set(_declared(json.load(response)))


def test_caveau_declares_what_openbao_declares(record_property: Callable[[str, object], None]) -> None:
    with bao_server() as bao, caveau_server() as caveau:
        theirs, ours = _describe(bao), _describe(caveau)
    missing = sorted(theirs - ours)
    agreeing = 1 - len(missing) / len(theirs)
    record_property("differential", "\n".join(
        [f"{agreeing:.2%} of the {len(theirs)} facts OpenBao declares; missing:", *map(" ".join, missing[:150])]))
    assert agreeing >= AT_LEAST


def test_openbao_declares_the_operations_the_sweep_asks() -> None:
    with bao_server() as bao:
        found = {fact[0] for fact in _describe(bao)}
    assert _served() <= found
