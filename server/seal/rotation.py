"""The barrier's terms: ``sys/key-status``, ``sys/rotate`` and ``sys/rotate/config``."""

from __future__ import annotations

import logging
from typing import Any

from ...framework.clock import rfc3339
from ...storage.keyring import RotationConfig
from .unseal import SealCore

log = logging.getLogger(__name__)


def key_status(core: SealCore) -> dict[str, Any]:
    barrier = core.barrier
    return {
        "term": barrier.keyring.active,
        "install_time": rfc3339(barrier.keyring.active_term.installed),
        "encryptions": barrier.encryptions,
    }


async def rotate(core: SealCore) -> None:
    """``sys/rotate``, ``sys/rotate/keyring``: a new active term."""
    term = await core.barrier.rotate(core.clock.time())
    log.info("installed encryption key term %d", term)


def rotation_config(core: SealCore) -> dict[str, Any]:
    """``interval``: 0, or text like ``24h0m0s``."""
    rotation = core.barrier.keyring.rotation
    return {
        "enabled": rotation.enabled,
        "interval": _go_duration(rotation.interval) if rotation.interval else 0,
        "max_operations": rotation.max_operations,
    }


async def configure_rotation(
    core: SealCore,
    *,
    enabled: bool | None = None,
    interval: int | None = None,
    max_operations: int | None = None,
) -> None:
    """``PUT sys/rotate/config``: what is None stays. ``interval``: seconds. Raises InvalidRequest."""
    current = core.barrier.keyring.rotation
    await core.barrier.configure_rotation(
        RotationConfig(
            enabled=current.enabled if enabled is None else enabled,
            max_operations=current.max_operations if max_operations is None else max_operations,
            interval=current.interval if interval is None else interval,
        )
    )


async def maintain(core: SealCore) -> None:
    """Rotate if the configuration asks for it, and store the count of encryptions. For the active
    node to call every few minutes while open: what it counts between two calls, a crash forgets."""
    if core.barrier.rotation_due(core.clock.time()):
        await rotate(core)
    else:
        await core.barrier.store_encryptions()


def _go_duration(seconds: int) -> str:
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{seconds}s"
