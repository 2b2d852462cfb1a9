"""Every operation of the API asked in every plain way, made from ``operations.json``.

``operations.json`` lists what OpenBao 2.7.2 declares in the areas that Caveau serves: a path, whether
it needs a token or sudo, and its operations with the fields of their bodies. The transcripts ask what
a person would think of; the sweep makes sure that nothing was forgotten. `ABSENT` says what Caveau has not.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from .replay import MOUNTS
from .script import Case, Request

_PLACEHOLDERS = {
    "{urlalgorithm}": "sha2-256",
    "{urlbytes}": "8",
    "{source}": "platform",
    "{type}": "secret",
    "{method_id}": "00000000-0000-4000-8000-000000000000",
}
_MOUNTED = {
    "/kv-v1/": "/$kv1/",
    "/kv-v2/": "/$kv2/",
    "/auth/approle/": "/$approle/",
    "/auth/userpass/": "/$userpass/",
}
_SHAPE_ONLY = (
    "sys/tools/random",
    "sys/host-info",
    "sys/internal/",
    "sys/plugins/catalog",
    "sys/key-status",
    "auth/token/accessors",
    "identity/alias",  # of everything that the transcripts have left, in any order
    "identity/entity",
    "identity/group",
    "identity/oidc/.well-known",
    "identity/oidc/provider",
    "identity/persona",
    "sys/config/state",
    "sys/locked-users",
    "sys/namespaces",
    "sys/policies/detailed",
    "sys/raw",
)
_DEPTH = {
    "identity/oidc": 99,
    "identity/": 2,
    "sys/config/state": 1,
    "sys/host-info": 2,
    "sys/internal/specs/openapi": 1,
    "sys/loggers": 1,
    "sys/plugins/catalog": 2,
}
# These would end the servers' service, or the tokens of the cases to come; and whether a tidy is still
# running when the next one is asked for is a matter of luck.
_ONLY_ANONYMOUS = (
    "sys/seal",
    "sys/step-down",
    "auth/token/revoke-self",
    "auth/token/tidy",
    "$approle/tidy/secret-id",
    "sys/leases/tidy",
)
# They have no end, take half a minute, or tell of the requests of this very moment; transcripts ask them.
_NOT_SWEPT = ("/sys/monitor", "/sys/pprof", "/sys/metrics", "/sys/in-flight-req")
_BODY = '{"no_such_parameter": 1}'

ABSENT = {
    "/sys/storage/raft/": "only a server whose storage is raft has a cluster; tests/clients has one",
    "/sys/ha-status": "only a server whose storage is raft has a cluster; tests/clients has one",
    "/sys/config/reload/": "OpenBao describes it and serves no subsystem; the signal HUP reloads",
    "/sys/external-keys/": "engines keep their keys behind the barrier; none uses an HSM or a cloud's keys",
    "/sys/internal/inspect/request": "shows a structure of OpenBao's own, for authors of its plugins",
    "/sys/namespaces/{path}/": "the server's seal protects every namespace",
    **{
        f"/sys/pprof/{name}": "a profile of Go's runtime"
        for name in ("allocs", "block", "cmdline", "mutex", "symbol", "threadcreate", "trace")
    },
    "/sys/workflows/": "OpenBao's own language of several requests in one; clients of Vault make them one by one",
}
"""By the beginning of its path, what OpenBao declares and Caveau does not have, and why."""


@cache
def declared() -> dict[str, dict[str, Any]]:
    """Area -> path -> ``{"unauthenticated", "sudo", "params", "operations": {VERB: {"body": {...}}}}``."""
    found: dict[str, dict[str, Any]] = orjson.loads(Path(__file__).with_name("operations.json").read_bytes())
    return found


def operations() -> dict[str, dict[str, Any]]:
    """Of `declared`, what Caveau has."""
    return {
        area: {path: entry for path, entry in paths.items() if not path.startswith(tuple(ABSENT))}
        for area, paths in declared().items()
    }


def mounted(template: str) -> str:
    """A path of the description where the cases have it."""
    for name, value in _MOUNTED.items():
        template = template.replace(name, value)
    return template.strip("/")


def _path(template: str) -> str:
    for name, value in _PLACEHOLDERS.items():
        template = template.replace(name, value)
    return "/".join("zq-$n" if part.startswith("{") else part for part in mounted(template).split("/"))


def _asked(path: str, verbs: set[str]) -> Iterator[tuple[str, str, str, str]]:
    """``(who, verb, path, body)`` for every way to ask."""
    everybody = ("anon", "nobody", "weak", "nosudo", "root")
    who_may = ("anon", "nobody") if path in _ONLY_ANONYMOUS else everybody
    for verb in sorted(verbs):
        for who in who_may:
            yield who, verb, path, ""
        if "root" not in who_may:
            continue
        match verb:
            case "POST":
                yield "root", "PUT", path, ""
                yield "root", "POST", path, _BODY
                yield "root", "POST", f"{path}/", ""
                yield "root", "POST", path, "[]"
            case "PATCH":
                yield "root", "PATCH", path, _BODY
            case "LIST" | "SCAN":
                yield "root", "GET", f"{path}?{verb.lower()}=true", ""
                yield "root", verb, f"{path}/", ""
                yield "root", verb, f"{path}?no_such_parameter=1", ""
            case _:
                yield "root", verb, f"{path}?no_such_parameter=1", ""
                yield "root", verb, f"{path}/", ""
    if path not in _ONLY_ANONYMOUS:
        for verb in sorted({"GET", "POST", "DELETE", "LIST", "SCAN"} - verbs):
            yield "root", verb, path, ""
    yield "weak", "HEAD", path, ""
    yield "root", "GET", f"{path}?help=1", ""


def sweep() -> Iterator[Case]:
    for area, paths in operations().items():
        for template, entry in paths.items():
            if template.startswith(_NOT_SWEPT):
                continue
            path = _path(template)
            case = Case(f"sweep {area}", template, frozenset({area.replace("-v", "")} & MOUNTS.keys()))
            for who, verb, asked, body in _asked(path, set(entry["operations"])):
                depth = (
                    1 if "?help" in asked else next((d for start, d in _DEPTH.items() if path.startswith(start)), 99)
                )
                case.requests.append(
                    Request(
                        f"{'' if who == 'root' else who + ' '}{verb} {asked}{' ' + body if body else ''}",
                        verb,
                        asked,
                        who,
                        body,
                        depth=depth,
                        headers=(("Content-Type", "application/merge-patch+json"),) if verb == "PATCH" else (),
                        shape_only="?help" in asked or path.startswith(_SHAPE_ONLY),
                    )
                )
            yield case
