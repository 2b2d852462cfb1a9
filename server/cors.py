"""Cross-origin requests (Fetch standard, section 3.2): off until enabled through ``sys/config/cors``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import orjson

METHODS = ("DELETE", "GET", "OPTIONS", "POST", "PUT", "LIST", "SCAN")
HEADERS = (
    "Content-Type", "X-Requested-With", "X-Vault-AWS-IAM-Server-ID", "X-Vault-MFA", "X-Vault-No-Request-Forwarding",
    "X-Vault-Wrap-Format", "X-Vault-Wrap-TTL", "X-Vault-Policy-Override", "Authorization", "X-Vault-Token",
)  # fmt: skip
_MAX_AGE = "300"


@dataclass(frozen=True, slots=True)
class Cors:
    """The configuration; the default refuses every other origin."""

    enabled: bool = False
    allowed_origins: tuple[str, ...] = ()
    allowed_headers: tuple[str, ...] = ()
    allow_credentials: bool = False

    def allows(self, origin: str) -> bool:
        return self.enabled and ("*" in self.allowed_origins or origin in self.allowed_origins)

    def answer_headers(self, origin: str) -> dict[str, str]:
        """Headers of an answer to an allowed origin."""
        headers = {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
        if self.allow_credentials:
            headers["Access-Control-Allow-Credentials"] = "true"
        return headers

    def preflight_headers(self) -> dict[str, str]:
        """What a preflight request is told beside ``answer_headers``."""
        return {
            "Access-Control-Allow-Methods": ",".join(METHODS),
            "Access-Control-Allow-Headers": ",".join((*HEADERS, *self.allowed_headers)),
            "Access-Control-Max-Age": _MAX_AGE,
        }

    def dump(self) -> bytes:
        return orjson.dumps(self)

    @classmethod
    def load(cls, raw: bytes) -> Cors:
        values: Mapping[str, object] = orjson.loads(raw)
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})  # type: ignore[arg-type]
