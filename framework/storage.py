"""How engines and auth methods see storage, and what a physical store must offer.

Keys are ``/``-separated UTF-8 text without a leading slash. A listing gives the immediate children
of a prefix in byte order: leaf names as they are, folders once, with a trailing ``/``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from .errors import StoreError


class ReadView(Protocol):
    """Reads under one prefix: a mount's own storage, or the whole store."""

    async def get(self, key: str) -> bytes | None:
        """The value at ``key``, or None."""
        ...

    async def list(self, prefix: str = "", after: str = "", limit: int = 0) -> list[str]:
        """Children of ``prefix`` (empty, or ending in ``/``) greater than ``after``; 0 = no limit."""
        ...


class View(ReadView, Protocol):
    """Reads and writes of one request. Reads see the request's own writes; nothing is stored
    until the request commits, and then everything at once."""

    def put(self, key: str, value: bytes, *, new: bool = False) -> None:
        """Set ``key``. ``new``: the caller knows that it is absent (a random id, the next of a row of
        numbers), which saves looking for what it replaces."""
        ...

    def delete(self, key: str) -> None:
        """Remove ``key``; nothing happens when it is absent."""
        ...


Batch = Mapping[str, bytes | None]
"""Key -> new value, or None to delete it. Applied whole or not at all."""


class Physical(Protocol):
    """A physical store. It holds ciphertext and knows nothing of what it means.

    One conformance suite, ``tests/storage/conformance.py``, runs on every store.
    """

    async def open(self) -> None:
        """Connect and make the schema; raises StoreError with what to do about it."""
        ...

    async def close(self) -> None:
        """Finish the commits already given, then let go of everything."""
        ...

    async def get(self, key: str) -> bytes | None: ...

    async def list(self, prefix: str, after: str = "", limit: int = 0) -> list[str]: ...

    def commit(self, batch: Batch) -> Awaitable[None]:
        """Write ``batch`` atomically. Batches take effect in the order of these calls.

        The call itself never blocks and never suspends. The awaitable is done once the batch
        would survive a power cut (or the process, for a store that says it is not durable), and
        raises StoreError if nothing of it was written. After a failure the batches queued behind
        it fail too: they may have been computed from what it would have written.
        """
        ...


@runtime_checkable
class ReadsAhead(Protocol):
    """A physical store whose reads wait for a disk, and that can do some at once without holding up the event loop."""

    async def read_ahead(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        """The values of those keys that are there; raises StoreError."""
        ...


@runtime_checkable
class Snapshots(Protocol):
    """A physical store that can be copied while it works, and replaced as a whole."""

    @property
    def scratch(self) -> Path:
        """A folder on its disk, which may be missing, for files that are worked on. Nobody else uses it."""
        ...

    async def snapshot(self, path: str) -> int:
        """Write all that is committed into a new SQLite file at ``path``; the index of the last commit in it (0 where
        commits are not numbered). Raises StoreError."""
        ...

    async def restore(self, path: str) -> int:
        """Make all that is stored what such a file holds, in one commit; its index. The file was checked, and no commit
        is under way. Raises StoreError: nothing has changed then."""
        ...


@runtime_checkable
class Led(Protocol):
    """A physical store that several servers share and one at a time has: the others wait in ``open``."""

    async def deposed(self) -> StoreError:
        """Return when another server has it, or may have it, with the reason. Nothing can be read or written any
        more, and what this server remembers of it may be out of date."""
        ...
