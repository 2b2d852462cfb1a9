"""Shares open the server; wrong ones do not; whatever fails on the way leaves it sealed."""

from __future__ import annotations

import asyncio
import base64
import itertools
import re

import pytest
from caveau.framework.errors import InvalidRequest, Sealed, StoreError
from caveau.storage.inmem import InmemStore
from caveau.storage.seals.shamir import ShamirSeal

from .conftest import Node, SelfOpeningSeal


async def test_status_before_and_after(node: Node) -> None:
    build = {"version": "0.1.0", "build_date": "2026-11-24T00:00:00Z"}
    common = {**build, "migration": False, "recovery_seal": False, "storage_type": "inmem", "type": "shamir"}
    idle = {"progress": 0, "nonce": "", **common}
    assert await node.core.status() == {"initialized": False, "sealed": True, "t": 0, "n": 0, **idle}
    keys = await node.init()
    assert await node.core.status() == {"initialized": True, "sealed": True, "t": 2, "n": 3, **idle}
    first = await node.core.unseal(keys[0])
    assert first["progress"] == 1
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", first["nonce"])
    assert await node.core.unseal(keys[2]) == {
        "initialized": True, "sealed": False, "t": 2, "n": 3, **idle,
        "cluster_name": "vault-cluster-1", "cluster_id": "u-u-i-d",
    }  # fmt: skip


async def test_any_threshold_of_shares_opens(node: Node) -> None:
    keys = await node.init(4, 3)
    for chosen in itertools.permutations(keys, 3):
        for key in chosen:
            status = await node.core.unseal(key)
        assert not status["sealed"]
        await node.core.seal()


async def test_hex_and_base64(node: Node) -> None:
    keys = await node.init()
    await node.core.unseal(keys[0].upper())
    status = await node.core.unseal(base64.b64encode(bytes.fromhex(keys[1])).decode())
    assert not status["sealed"]


async def test_repeated_share_counts_once_and_keeps_the_nonce(node: Node) -> None:
    keys = await node.init()
    first = await node.core.unseal(keys[0])
    assert await node.core.unseal(keys[0]) == first


async def test_reset(node: Node) -> None:
    keys = await node.init()
    await node.core.unseal(keys[0])
    status = await node.core.unseal(keys[1], reset=True)
    assert (status["sealed"], status["progress"], status["nonce"]) == (True, 0, "")


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("", "'key' must be specified in request body as JSON, or 'reset' set to true"),
        ("zz!!", "'key' must be a valid hex or base64 string"),
        ("00" * 15, "invalid key: key is shorter than minimum 16 bytes"),
        ("00" * 34, "invalid key: key is longer than maximum 33 bytes"),
    ],
)
async def test_what_is_no_share(node: Node, key: str, text: str) -> None:
    await node.init()
    with pytest.raises(InvalidRequest) as caught:
        await node.core.unseal(key)
    assert str(caught.value) == text
    assert (await node.core.status())["progress"] == 0


async def test_uninitialized(node: Node) -> None:
    with pytest.raises(InvalidRequest, match="Vault is not initialized"):
        await node.core.unseal("00" * 33)
    assert not await node.core.auto_unseal()


async def test_migration_is_not_on_offer(node: Node) -> None:
    keys = await node.init()
    with pytest.raises(InvalidRequest, match="can't perform a seal migration, no migration seal found"):
        await node.core.unseal(keys[0], migrate=True)


async def test_wrong_combination_starts_over(node: Node) -> None:
    keys = await node.init()
    await node.core.unseal("11" * 32 + "07")
    with pytest.raises(InvalidRequest, match="unable to retrieve stored keys: invalid key: failed to decrypt"):
        await node.core.unseal(keys[0])
    status = await node.core.status()
    assert (status["sealed"], status["progress"], status["nonce"]) == (True, 0, "")
    assert node.told == ["unseal", "seal"]  # those of init
    for key in keys[:2]:
        await node.core.unseal(key)
    assert not node.core.sealed


async def test_shares_that_cannot_be_combined(node: Node) -> None:
    keys = await node.init()
    await node.core.unseal("00" * 32)
    with pytest.raises(InvalidRequest, match="invalid key: failed to compute combined key: all parts must"):
        await node.core.unseal(keys[0])
    await node.core.unseal(keys[0])
    with pytest.raises(InvalidRequest, match="failed to compute combined key: duplicate part detected"):
        await node.core.unseal("00" * 32 + keys[0][-2:])
    assert (await node.core.status())["progress"] == 0


async def test_single_key_of_the_wrong_size(node: Node) -> None:
    (key,) = await node.init(1, 1)
    with pytest.raises(InvalidRequest, match="an unseal key has 32 bytes, not 31"):
        await node.core.unseal(key[:-2])


async def test_when_open_keys_are_ignored_and_reset_refused(node: Node) -> None:
    keys = await node.open()
    assert (await node.core.unseal(keys[2]))["progress"] == 0
    with pytest.raises(InvalidRequest, match="vault is unsealed"):
        await node.core.unseal(reset=True)


async def test_failing_setup_stays_sealed(node: Node) -> None:
    keys = await node.init()
    node.failing = "unseal"
    await node.core.unseal(keys[0])
    with pytest.raises(RuntimeError, match="mounts are broken"):
        await node.core.unseal(keys[1])
    assert node.core.sealed
    assert node.told[-2:] == ["unseal", "seal"]
    with pytest.raises(Sealed):
        node.core.barrier.encrypt("a", b"")


async def test_seal_even_when_taking_down_fails(node: Node) -> None:
    await node.open()
    node.failing = "seal"
    with pytest.raises(RuntimeError, match="flush failed"):
        await node.core.seal()
    assert node.core.sealed
    await node.core.seal()  # once is enough
    assert node.told.count("seal") == 2


async def test_sealing_forgets_operations_in_progress(node: Node) -> None:
    keys = await node.open()
    rekey = await node.rekey.init(secret_shares=1, secret_threshold=1)
    await node.rekey.update(keys[0], rekey["nonce"])
    await node.root.init()
    await node.core.seal()
    for key in keys[:2]:
        await node.core.unseal(key)
    assert not (await node.rekey.status())["started"]
    assert not (await node.root.status())["started"]


class YieldingStore(InmemStore):
    """Reads let others run, as those of a store over the network do."""

    async def get(self, key: str) -> bytes | None:
        await asyncio.sleep(0)
        return await super().get(key)


async def test_concurrent_shares_open_once() -> None:
    node = Node(YieldingStore(), ShamirSeal())
    keys = await node.init(4, 2)
    node.told.clear()
    await asyncio.gather(*(node.core.unseal(key) for key in keys))
    assert not node.core.sealed
    assert node.told == ["unseal"]


async def test_tampered_store_does_not_open(node: Node) -> None:
    keys = await node.init()
    stored = await node.store.get("core/keyring")
    assert stored is not None
    await node.store.commit({"core/keyring": stored[:-1] + bytes((stored[-1] ^ 1,))})
    await node.core.unseal(keys[0])
    with pytest.raises(StoreError, match="root key does not open the keyring"):
        await node.core.unseal(keys[1])
    assert node.core.sealed


async def test_self_opening_seal(auto_node: Node) -> None:
    await auto_node.init()
    status = await auto_node.core.status()
    assert (status["type"], status["recovery_seal"], status["recovery_seal_type"]) == ("static", True, "shamir")
    assert (status["t"], status["n"]) == (2, 3)
    again = Node(auto_node.store, SelfOpeningSeal())
    assert await again.core.auto_unseal()
    assert again.told == ["unseal"]
    assert await again.core.auto_unseal()
    assert again.told == ["unseal"]


async def test_self_opening_seal_sealed_by_hand_opens_with_recovery_shares(auto_node: Node) -> None:
    keys = await auto_node.init()
    await auto_node.core.seal()
    await auto_node.core.unseal(keys[0])
    with pytest.raises(InvalidRequest, match="failed to verify recovery key: recovery key does not match"):
        await auto_node.core.unseal("00" * 32 + "09")
    for key in keys[:2]:
        await auto_node.core.unseal(key)
    assert not auto_node.core.sealed


async def test_shamir_never_opens_by_itself(node: Node) -> None:
    await node.init()
    assert not await node.core.auto_unseal()


async def test_store_of_another_seal(auto_node: Node) -> None:
    keys = await auto_node.init()
    other = Node(auto_node.store, ShamirSeal())
    assert (await other.core.status())["sealed"]
    with pytest.raises(InvalidRequest, match="initialized with seal 'static', and the configuration names 'shamir'"):
        await other.core.unseal(keys[0])


async def test_another_node_on_the_same_store_opens_with_the_same_shares(node: Node) -> None:
    keys = await node.open()
    standby = Node(node.store, ShamirSeal())
    for key in keys[1:]:
        await standby.core.unseal(key)
    entry = node.core.barrier.encrypt("a", b"x")
    assert standby.core.barrier.decrypt("a", entry) == b"x"


async def test_nothing_secret_is_logged_or_stored_in_the_clear(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    keys = await node.open()
    root = node.core.barrier.keyring.root_key
    assert isinstance(node.store, InmemStore)
    for name in await node.store.list("core/"):
        stored = await node.store.get("core/" + name)
        assert stored is not None
        assert root not in stored
    assert not any(key in caplog.text for key in keys)
