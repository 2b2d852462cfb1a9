"""Where a key-value path is mounted, and which version of the engine is there."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..client import APIError, Client, ClientError
from ..envelope import Secret
from ..flags import Flag
from ..invocation import CommandError, Invocation
from .data import path_argument

MOUNT = Flag("mount", "string", "Where the engine is mounted; the argument is then the path inside it. "
             "Without it the argument starts with the mount's path.")  # fmt: skip
VERSIONS = Flag("versions", "strings", "Version numbers, separated by commas.")


class Place(NamedTuple):
    """A key in a mount. ``mount`` is without slashes at its ends."""

    mount: str
    key: str
    version: int

    def path(self, part: str) -> str:
        """The API path; ``part`` (``data``, ``metadata``, ...) goes in between in version 2."""
        middle = part if self.version == 2 else ""
        return "/".join(filter(None, (self.mount, middle, self.key)))


def locate(run: Invocation, argument: str | None = None) -> Place:
    """Ask the server what is mounted where the first argument points. Raises CommandError."""
    text = path_argument(argument if argument is not None else run.args[0] if run.args else "")
    mount = path_argument(run.flags.text("mount"))
    try:
        found, version = _preflight(run.client, mount or text)
    except ClientError as e:
        hint = ""
        if run.client.settings.show:
            hint = ("\n\nTo show this request, the version of the engine must be known: use a token that may read "
                    f"{mount or text}.")  # fmt: skip
        raise CommandError(f"{e}{hint}") from e
    if mount:
        return Place(mount, text, version)
    return Place(found, text.removeprefix(found).strip("/"), version)


def halves(secret: Secret | None, path: str) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """A version's data, None where it is deleted, and its metadata, empty where there is no such version."""
    found = (secret or {}).get("data") or {}
    data, metadata = found.get("data"), found.get("metadata") or {}
    if not isinstance(data, dict | None) or not isinstance(metadata, dict):
        raise CommandError(f"The answer for {path} is not what a key-value engine says")
    return data, metadata


def versions(run: Invocation) -> list[str]:
    """The ``-versions`` flag as a list of texts."""
    return [part for given in run.flags.texts("versions") for part in map(str.strip, given.split(",")) if part]


def _preflight(client: Client, path: str) -> tuple[str, int]:
    """The mount that holds ``path``, and its version; an old server without the endpoint is version 1.

    The client's wrap TTL must not apply here: it belongs to the request that follows.
    """
    plain = {name: value for name, value in client.settings.headers.items() if name != "X-Vault-Wrap-TTL"}
    try:
        secret = client.with_(headers=plain).read_strict(f"sys/internal/ui/mounts/{path}")
    except APIError as e:
        if e.status == 404:
            return "", 1
        raise
    data = (secret or {}).get("data") or {}
    options = data.get("options")
    versioned = isinstance(options, dict) and options.get("version") == "2"
    return str(data.get("path") or "").strip("/"), 2 if versioned else 1
