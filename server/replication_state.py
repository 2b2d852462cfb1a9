"""``X-Vault-Index``: a state of the cluster's store, that a client has seen and wants to find again.

It is base64 of ``v1:<cluster id>:<index>:<index>:``, as Vault's clients merge and compare them. OpenBao's form, base64
of the JSON object ``{"cluster": ..., "value": <index>}``, is understood too.
"""

from __future__ import annotations

import base64
from typing import NamedTuple

from ..framework import jsontext

INDEX, INCONSISTENT = "X-Vault-Index", "X-Vault-Inconsistent"
POLICIES = frozenset({"", "fail", "forward-active-node"})
"""Of ``X-Vault-Inconsistent``."""


class Index(NamedTuple):
    """A state of a cluster."""

    cluster: str
    value: int

    def text(self) -> str:
        """For the header."""
        return base64.b64encode(f"v1:{self.cluster}:{self.value}:{self.value}:".encode()).decode()

    @classmethod
    def parse(cls, text: str) -> Index:
        """Raises ValueError."""
        raw = base64.b64decode(text, validate=True)
        if not raw.startswith(b"v1:"):
            given = jsontext.loads(raw)
            if not isinstance(given, dict):
                return cls("", 0)
            value = given.get("value", 0)
            return cls(str(given.get("cluster", "")), int(value) if isinstance(value, int | str) else 0)
        _, cluster, own, replicated, _ = raw.decode().split(":")
        return cls(cluster, max(int(own), int(replicated)))
