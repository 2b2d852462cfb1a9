"""What the environment says: ``BAO_X`` first, then Vault's ``VAULT_X``."""

from __future__ import annotations

import os

PREFIXES = ("BAO_", "VAULT_")


def variable(name: str) -> str | None:
    """The environment variable that is set for ``name`` (``"ADDR"``), or None."""
    return next((prefix + name for prefix in PREFIXES if os.environ.get(prefix + name)), None)


def lookup(name: str) -> str:
    """The value for ``name`` (``"ADDR"``), ``""`` where it is unset or empty."""
    found = variable(name)
    return os.environ[found] if found else ""


def parse_bool(text: str) -> bool:
    """A boolean as Go's ``strconv.ParseBool`` reads it. Raises ValueError."""
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise ValueError(f'strconv.ParseBool: parsing "{text}": invalid syntax')
