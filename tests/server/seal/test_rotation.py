"""Terms change when asked, by count and by age; what was counted survives a restart."""

from __future__ import annotations

import pytest
from caveau.framework.errors import InvalidRequest, Sealed
from caveau.server.seal import configure_rotation, key_status, maintain, rotate, rotation_config
from caveau.storage.seals.shamir import ShamirSeal

from .conftest import Node

DAY = 86400


async def test_key_status_and_rotate(node: Node) -> None:
    await node.open()
    assert key_status(node.core) == {"term": 1, "install_time": "2025-06-15T15:06:40Z", "encryptions": 1}
    node.clock.advance(60)
    await rotate(node.core)
    assert key_status(node.core) == {"term": 2, "install_time": "2025-06-15T15:07:40Z", "encryptions": 0}
    node.core.barrier.encrypt("a", b"")
    assert key_status(node.core)["encryptions"] == 1


async def test_sealed(node: Node) -> None:
    await node.init()
    with pytest.raises(Sealed):
        key_status(node.core)
    with pytest.raises(Sealed):
        await rotate(node.core)


async def test_config(node: Node) -> None:
    await node.open()
    assert rotation_config(node.core) == {"enabled": True, "interval": 0, "max_operations": 3865470566}
    await configure_rotation(node.core, interval=25 * 3600 + 61)
    await configure_rotation(node.core, max_operations=1_000_000, enabled=False)
    assert rotation_config(node.core) == {"enabled": False, "interval": "25h1m1s", "max_operations": 1_000_000}
    for change in ({"max_operations": 5}, {"interval": 3}):
        with pytest.raises(InvalidRequest):
            await configure_rotation(node.core, **change)  # type: ignore[arg-type]
    await configure_rotation(node.core)
    assert rotation_config(node.core) == {"enabled": False, "interval": "25h1m1s", "max_operations": 1_000_000}


async def test_by_age(node: Node) -> None:
    await node.open()
    await configure_rotation(node.core, interval=DAY)
    node.clock.advance(DAY - 1)
    await maintain(node.core)
    assert key_status(node.core)["term"] == 1
    node.clock.advance(1)
    await maintain(node.core)
    await maintain(node.core)
    assert key_status(node.core)["term"] == 2


async def test_count_is_kept_by_maintenance(node: Node) -> None:
    keys = await node.open()
    for _ in range(10):
        node.core.barrier.encrypt("a", b"")
    await maintain(node.core)
    fresh = Node(node.store, ShamirSeal())
    for key in keys[:2]:
        await fresh.core.unseal(key)
    assert key_status(fresh.core)["encryptions"] == 12  # and one each when a node is set up
