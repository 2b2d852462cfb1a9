"""A secret, the envelope of most answers, as rows of a table, as one field, or as JSON."""

from __future__ import annotations

import re
from typing import Any

from . import durations, values

Secret = dict[str, Any]
Row = tuple[str, str]

_DURATION = re.compile(r"(.*_)?(period|ttl|duration)|lease_max|ttl_max")
_AUTH_KEYS = ("client_token", "accessor", "policies", "token_policies", "identity_policies", "metadata",
              "orphan", "entity_id", "lease_duration", "renewable", "mfa_requirement")  # fmt: skip
_AUTH_EMPTY: dict[str, Any] = {"client_token": "", "accessor": "", "orphan": False, "entity_id": "",
                               "lease_duration": 0, "renewable": False}  # fmt: skip
_WRAP_KEYS = ("token", "accessor", "ttl", "creation_time", "creation_path", "wrapped_accessor")


def machine(secret: Secret) -> dict[str, Any]:
    """The secret for JSON and YAML: the original's keys in its order, the rest of the wire left out."""
    shown: dict[str, Any] = {
        "request_id": secret.get("request_id") or "",
        "lease_id": secret.get("lease_id") or "",
        "lease_duration": secret.get("lease_duration") or 0,
        "renewable": bool(secret.get("renewable")),
        "data": values.ordered(secret.get("data")),
        "warnings": secret.get("warnings"),
    }
    if auth := secret.get("auth"):
        shown["auth"] = {key: values.ordered(auth.get(key, _AUTH_EMPTY.get(key))) for key in _AUTH_KEYS}
    if wrap := secret.get("wrap_info"):
        shown["wrap_info"] = {key: wrap.get(key, 0 if key == "ttl" else "") for key in _WRAP_KEYS}
    if kind := secret.get("mount_type"):
        shown["mount_type"] = kind
    return shown


def rows(secret: Secret) -> list[Row]:
    """The lines of the Key/Value table."""
    lease = secret.get("lease_duration") or 0
    found: list[Row] = []
    if secret.get("lease_id"):
        found += [("lease_id", secret["lease_id"]), ("lease_duration", durations.human(lease)),
                  ("lease_renewable", values.text(bool(secret.get("renewable"))))]  # fmt: skip
    elif lease:
        found.append(("refresh_interval", durations.human(lease)))
    if auth := secret.get("auth"):
        found += _mfa_rows(auth["mfa_requirement"]) if auth.get("mfa_requirement") else _auth_rows(auth)
    if wrap := secret.get("wrap_info"):
        found += [
            ("wrapping_token:", wrap.get("token", "")),
            ("wrapping_accessor:", wrap.get("accessor", "")),
            ("wrapping_token_ttl:", durations.human(wrap.get("ttl") or 0)),
            ("wrapping_token_creation_time:", _moment(wrap.get("creation_time", ""))),
            ("wrapping_token_creation_path:", wrap.get("creation_path", "")),
        ]
        if wrap.get("wrapped_accessor"):
            found.append(("wrapped_accessor:", wrap["wrapped_accessor"]))
    return found + data_rows(secret.get("data") or {})


def data_rows(data: dict[str, Any]) -> list[Row]:
    """The lines of a map; whole numbers under names such as ``ttl`` read as durations."""
    return [(key, _cell(key, data[key])) for key in sorted(data)]


def field(secret: Secret, name: str) -> Any:
    """The value of ``-field=name``, None where the secret has none."""
    auth, wrap = secret.get("auth"), secret.get("wrap_info")
    data = secret.get("data")
    if auth:
        special = {"token": "client_token", "token_accessor": "accessor", "token_duration": "lease_duration",
                   "token_renewable": "renewable", "token_policies": "token_policies",
                   "identity_policies": "identity_policies", "policies": "policies"}  # fmt: skip
        if name in special:
            return auth.get(special[name])
    if wrap:
        if name.startswith("wrapping_"):
            key = {"wrapping_token_creation_time": "creation_time", "wrapping_token_creation_path": "creation_path",
                   "wrapping_token_ttl": "ttl", "wrapping_accessor": "accessor", "wrapping_token": "token"}  # fmt: skip
            return wrap.get(key.get(name, ""))
        if name == "wrapped_accessor":
            return wrap.get(name)
    top = {"lease_duration": "lease_duration", "refresh_interval": "lease_duration", "lease_id": "lease_id",
           "lease_renewable": "renewable", "request_id": "request_id", "data": "data"}  # fmt: skip
    if isinstance(data, dict) and data.get(name) is not None and name not in top:
        return data[name]
    return secret.get(top[name]) if name in top else None


def _auth_rows(auth: dict[str, Any]) -> list[Row]:
    duration = auth.get("lease_duration") or 0
    found = [
        ("token", auth.get("client_token") or ""),
        ("token_accessor", auth.get("accessor") or ""),
        ("token_duration", durations.human(duration) if duration else "∞"),
        ("token_renewable", values.text(bool(auth.get("renewable")))),
        ("token_policies", values.quoted(auth.get("token_policies"))),
        ("identity_policies", values.quoted(auth.get("identity_policies"))),
        ("policies", values.quoted(auth.get("policies"))),
    ]
    metadata = auth.get("metadata") or {}
    return found + [(f"token_meta_{key}", values.text(metadata[key])) for key in sorted(metadata)]


def _mfa_rows(requirement: dict[str, Any]) -> list[Row]:
    found = [("mfa_request_id", requirement.get("mfa_request_id", ""))]
    for name, constraint in sorted((requirement.get("mfa_constraints") or {}).items()):
        for method in constraint.get("any") or ():
            prefix = f"mfa_constraint_{name}_{method.get('type', '')}"
            found += [
                (f"{prefix}_id", method.get("id", "")),
                (f"{prefix}_uses_passcode", values.text(bool(method.get("uses_passcode")))),
                (f"{prefix}_name", method.get("name", "")),
            ]
    return found


def _cell(key: str, value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and _DURATION.fullmatch(key):
        return durations.human(value)
    return values.text(value)


def _moment(text: str) -> str:
    """RFC 3339 as Go's ``time.Time`` prints itself."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d(?:\.\d+)?)(Z|[+-]\d\d:\d\d)", text)
    if not found:
        return text
    day, clock, zone = found.groups()
    offset = zone.replace(":", "")
    return f"{day} {clock} " + ("+0000 UTC" if zone == "Z" else f"{offset} {offset}")
