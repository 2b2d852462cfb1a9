"""The key-value secrets engine, version 1 (``v1.py``) and version 2 (all else; ``v2.py`` puts it together)."""

from __future__ import annotations

from ...framework.engine import Context, Engine
from ...framework.errors import InvalidRequest
from .v1 import KvV1
from .v2 import KvV2

__all__ = ["KvV1", "KvV2", "factory"]


def factory(context: Context) -> Engine:
    """The engine of a mount whose option ``version`` is 1 (also when absent) or 2."""
    version = context.options.get("version") or "1"
    if version == "1":
        return KvV1(context)
    if version == "2":
        return KvV2(context)
    raise InvalidRequest(f"no KV version {version[:32]!r}: use 1 or 2")
