"""What ``-output-curl-string`` and ``-output-policy`` print for a request."""

from __future__ import annotations

import re
from typing import Any

from .client import Settings

# Paths that need the sudo capability besides the verb's own.
_SUDO = re.compile(
    r"auth/token/accessors/?|sys/audit(/.*)?|sys/auth/[^/]+|sys/config/auditing/request-headers(/.*)?"
    r"|sys/config/cors|sys/config/ui/headers(/.*)?|sys/internal/inspect/router/.+"
    r"|sys/leases(/lookup/?.*)?|sys/leases/revoke-(force|prefix)/.+|sys/plugins/catalog(/.*)?"
    r"|sys/raw(/.*)?|sys/remount|sys/revoke-(force|prefix)/.+|sys/rotate(/.*)?|sys/seal|sys/step-down"
    r"|sys/storage/raft/snapshot-auto/config(/.*)?"
)
_CAPABILITIES = {
    "GET": ["read"], "HEAD": ["read"], "LIST": ["list"], "SCAN": ["scan"], "PATCH": ["patch"],
    "POST": ["create", "update"], "PUT": ["create", "update"], "DELETE": ["delete"],
}  # fmt: skip


def curl(
    settings: Settings, method: str, path: str, url: str, headers: dict[str, str], content: bytes | None,
    query: dict[str, Any],
) -> str:  # fmt: skip
    """A curl command; the token is asked for when it runs, and is not in the text."""
    words = ["curl"]
    if method != "GET":
        words.append(f"-X {method}")
    tls = settings.tls
    if tls.skip_verify:
        words.append("--insecure")
    for option, value in (
        ("cacert", tls.ca_cert), ("capath", tls.ca_path), ("cert", tls.client_cert), ("key", tls.client_key),
    ):  # fmt: skip
        if value:
            words.append(f"--{option} {_quote(value)}")
    if settings.address.scheme == "unix":
        words.append(f"--unix-socket {_quote(settings.address.host)}")
    for name in sorted(headers, key=lambda name: (name != "X-Vault-Request", name)):
        value = "$(caveau print token)" if name == "X-Vault-Token" else _escape(headers[name])
        words.append(f'-H "{name}: {value}"')
    if content is not None:
        words.append(f"-d {_quote(content.decode())}")
    words.append(f'"{url}"')
    return " ".join(words)


def policy(
    settings: Settings, method: str, path: str, url: str, headers: dict[str, str], content: bytes | None,
    query: dict[str, Any],
) -> str:  # fmt: skip
    """The policy stanza that allows the request."""
    verb = "LIST" if "list" in query else "SCAN" if "scan" in query else method
    needed = _CAPABILITIES[verb] + (["sudo"] if _SUDO.fullmatch(path) else [])
    names = ", ".join(f'"{name}"' for name in needed)
    return f'path "{path}" {{\n  capabilities = [{names}]\n}}'


def _quote(text: str) -> str:
    return "'" + text.replace("'", "'\"'\"'") + "'"


def _escape(text: str) -> str:
    return re.sub(r'(["\\$`])', r"\\\1", text)
