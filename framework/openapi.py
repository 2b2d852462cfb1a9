"""The OpenAPI 3.0.2 document of an engine, derived from its routes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .engine import Engine
from .params import Spec
from .routes import METHODS, Route

_METHODS = frozenset(METHODS.values())


def paths(engine: type[Engine], prefix: str, tag: str, only: str | None = None) -> dict[str, Any]:
    """OpenAPI path items of ``engine`` mounted at ``prefix`` (no slash in front; ``/`` at the end).

    ``only``: a path below the mount; the items are then those that serve it.
    """
    items: dict[str, Any] = {}
    for route in engine.routes:
        if route.hidden or (only is not None and not route.regex.fullmatch(only)):
            continue
        for path in route.openapi_paths():
            captured = re.findall(r"\{(\w+)\}", path)
            full = "/" + (prefix + path).rstrip("/")
            item = items.setdefault(full, _path_item(route, re.findall(r"\{(\w+)\}", prefix), captured))
            if not route.auth:
                item["x-vault-unauthenticated"] = True
            if route.sudo:
                item["x-vault-sudo"] = True
            if route.exists:
                item["x-vault-createSupported"] = True
            _add_operation(item, route, captured, path, tag)
    return items


def _path_item(route: Route, mounts: list[str], captured: list[str]) -> dict[str, Any]:
    item: dict[str, Any] = {"description": route.summary}
    specs = [(name, route.params.specs[name]) for name in captured]
    if mounts or specs:
        item["parameters"] = [
            *(_path_parameter(name, "Path that the engine is mounted at.", {"type": "string"}) for name in mounts),
            *(_path_parameter(name, spec.field.doc, spec.wire.schema) for name, spec in specs),
        ]
    return item


def _path_parameter(name: str, description: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "description": description, "schema": dict(schema)}


def _add_operation(item: dict[str, Any], route: Route, captured: list[str], path: str, tag: str) -> None:
    method = METHODS[route.op]
    operation = item.get(method)
    if operation is None:
        operation = item[method] = {
            "operationId": _operation_id(route, path),
            "summary": route.summary,
            "tags": [tag],
            "responses": {
                "200": {"description": "OK"},
                "204": {"description": "Done; nothing to say"},
                "400": {"description": "The request is wrong"},
                "403": {"description": "Permission denied"},
                "404": {"description": "Nothing there"},
            },
        }
        if route.description:
            operation["description"] = route.description
    fields = [s for s in route.params.specs.values() if s.name not in captured]
    if method in ("post", "patch"):
        if fields or route.params.open:
            media = "application/merge-patch+json" if method == "patch" else "application/json"
            operation["requestBody"] = {"content": {media: {"schema": _body_schema(route, fields)}}}
        return
    query = operation.setdefault("parameters", [])
    present = {parameter["name"] for parameter in query}
    extra = [] if route.op == "read" else [_flag(route)]
    for parameter in [*extra, *map(_query_parameter, fields)]:
        if parameter["name"] not in present:
            query.append(parameter)


def _flag(route: Route) -> dict[str, Any]:
    flag = "scan" if route.op == "scan" else "list"
    return {"name": flag, "in": "query", "schema": {"type": "string", "enum": ["true"]},
            "description": f"Must be true to {flag}."}  # fmt: skip


def _query_parameter(spec: Spec) -> dict[str, Any]:
    return {"name": spec.key, "in": "query", "schema": _schema(spec), "description": spec.field.doc}


def _schema(spec: Spec) -> dict[str, Any]:
    schema = dict(spec.wire.schema)
    if spec.field.choices:
        schema["enum"] = list(spec.field.choices)
    if isinstance(spec.default, str | int | bool) and spec.default not in ("", 0):
        schema["default"] = spec.default
    return schema


def _body_schema(route: Route, fields: list[Spec]) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for spec in fields:
        schema = {**_schema(spec), "description": spec.field.doc}
        if spec.field.sensitive:
            schema["x-vault-displayAttrs"] = {"sensitive": True}
        if spec.field.deprecated:
            schema["deprecated"] = True
        properties[spec.key] = schema
        properties |= {alias: schema | {"deprecated": True} for alias in spec.field.aliases}
    body: dict[str, Any] = {"type": "object", "properties": properties}
    if required := [s.key for s in fields if s.required]:
        body["required"] = required
    return body


def _operation_id(route: Route, path: str) -> str:
    verb = {"update": "write"}.get(route.op, route.op)
    words = re.sub(r"[^A-Za-z0-9]+", "-", path).strip("-").lower()
    return f"{verb}-{words}" if words else verb


def _tell_apart(items: dict[str, Any]) -> None:
    """Give each operation an id of its own (OpenAPI 3.0.2, section 4.7.10): two mounts of an engine share them."""
    seen: dict[str, int] = {}
    for _, item in sorted(items.items()):
        for method in [key for key in item if key in _METHODS]:
            operation = item[method]
            name = operation["operationId"]
            seen[name] = seen.get(name, 0) + 1
            if seen[name] > 1:
                operation["operationId"] = f"{name}-{seen[name]}"


def document(items: dict[str, Any], version: str) -> dict[str, Any]:
    """A whole OpenAPI document around path items."""
    _tell_apart(items)
    return {
        "openapi": "3.0.2",
        "info": {
            "title": "Caveau API",
            "description": "HTTP API of a Vault-compatible secrets server. All API routes are prefixed with `/v1/`.",
            "version": version,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "paths": dict(sorted(items.items())),
        "components": {"schemas": {}},
    }
