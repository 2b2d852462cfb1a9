"""Part of a view, under a prefix of its keys."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from ..framework.storage import View
from .transaction import Names


class PrefixView:
    """Part of a view as a whole one: what an engine sees of the store under its mount."""

    __slots__ = ("_prefix", "_view")

    def __init__(self, view: View, prefix: str) -> None:
        """``prefix``: empty, or ending in ``/``."""
        self._view = view
        self._prefix = prefix

    def get(self, key: str) -> Coroutine[Any, Any, bytes | None]:
        return self._view.get(self._prefix + key)

    def list(self, prefix: str = "", after: str = "", limit: int = 0) -> Coroutine[Any, Any, Names]:
        return self._view.list(self._prefix + prefix, after, limit)

    def put(self, key: str, value: bytes, *, new: bool = False) -> None:
        self._view.put(self._prefix + key, value, new=new)

    def delete(self, key: str) -> None:
        self._view.delete(self._prefix + key)
