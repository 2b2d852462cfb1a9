"""What an audit device is: the interface behind the entry-point group ``caveau.audit``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from .options import Options


class Device(Protocol):
    """Where entries go. All but the factory is called on one thread of the device's own, and may block there.

    A device raises OSError with a text that tells an operator what to do about it.
    """

    def open(self) -> None:
        """Get ready, or find out that it cannot be done. ``write`` comes without it too."""
        ...

    def write(self, entries: Sequence[bytes]) -> None:
        """Keep the entries, each a line with its newline; return when that is done."""
        ...

    def reopen(self) -> None:
        """The server was told to reload (SIGHUP)."""
        ...

    def close(self) -> None: ...


DeviceFactory = Callable[[Options], Device]
"""Makes a device without touching anything outside; raises InvalidRequest for options that make no sense."""
