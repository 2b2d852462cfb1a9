"""New shares replace old ones, when enough of the old ones (and of the new ones, if asked) are shown."""

from __future__ import annotations

from typing import Any

import pytest
from caveau.framework.errors import InvalidRequest, StoreError
from caveau.server.seal import Rekey, rotate_status
from caveau.storage.inmem import InmemStore
from caveau.storage.seals.shamir import ShamirSeal

from .conftest import Node


async def reopens(node: Node, *keys: str) -> bool:
    """Whether a fresh process over the same store opens with ``keys``."""
    fresh = Node(node.store, ShamirSeal())
    try:
        for key in keys:
            status = await fresh.core.unseal(key)
    except InvalidRequest:
        return False
    return not status["sealed"]


async def rekey(operation: Rekey, keys: list[str], **parameters: Any) -> dict[str, Any]:
    status = await operation.init(**parameters)
    answer: dict[str, Any] = {}
    for key in keys:
        answer = await operation.update(key, status["nonce"])
    return answer


async def test_new_shares_replace_the_old(node: Node) -> None:
    old = await node.open()
    entry = node.core.barrier.encrypt("a", b"x")
    root_key = node.core.barrier.keyring.root_key
    assert await node.rekey.status() == {
        "nonce": "", "started": False, "t": 0, "n": 0, "progress": 0, "required": 2,
        "pgp_fingerprints": None, "backup": False, "verification_required": False,
    }  # fmt: skip
    status = await node.rekey.init(secret_shares=5, secret_threshold=3, stored_shares=2)
    nonce = status["nonce"]
    assert status == {
        "nonce": nonce, "started": True, "t": 3, "n": 5, "progress": 0, "required": 2,
        "pgp_fingerprints": None, "backup": False, "verification_required": False,
    }  # fmt: skip
    assert await node.rekey.update(old[0], nonce) == {**status, "progress": 1}
    answer = await node.rekey.update(old[2], nonce)
    new = answer["keys"]
    assert answer == {
        "nonce": nonce, "complete": True, "keys": new, "keys_base64": answer["keys_base64"],
        "pgp_fingerprints": None, "backup": False, "verification_required": False,
    }  # fmt: skip
    assert len(new) == 5
    assert not (await node.rekey.status())["started"]
    assert (await node.core.status())["n"] == 5
    assert node.core.barrier.keyring.root_key != root_key
    assert node.core.barrier.decrypt("a", entry) == b"x"
    assert not await reopens(node, *old[:2])
    assert not await reopens(node, *old)
    assert await reopens(node, *new[1:4])


async def test_to_one_share_and_back(node: Node) -> None:
    keys = await node.open()
    (single,) = (await rekey(node.rekey, keys[:2], secret_shares=1, secret_threshold=1))["keys"]
    assert await reopens(node, single)
    several = (await rekey(node.rekey, [single], secret_shares=3, secret_threshold=3))["keys"]
    assert await reopens(node, *several)


async def test_without_a_nonce_or_with_a_wrong_one(node: Node) -> None:
    keys = await node.open()
    nonce = (await node.rekey.init(secret_shares=2, secret_threshold=2))["nonce"]
    for wrong in ("", "x", nonce + "x"):
        with pytest.raises(InvalidRequest) as caught:
            await node.rekey.update(keys[0], wrong)
        assert str(caught.value) == f'incorrect nonce supplied; nonce for this rekey operation is "{nonce}"'
    assert (await node.rekey.status())["progress"] == 0


async def test_repeated_and_wrong_shares(node: Node) -> None:
    keys = await node.open()
    nonce = (await node.rekey.init(secret_shares=2, secret_threshold=2))["nonce"]
    await node.rekey.update(keys[0], nonce)
    with pytest.raises(InvalidRequest, match="given key has already been provided"):
        await node.rekey.update(keys[0], nonce)
    assert (await node.rekey.status())["progress"] == 1
    with pytest.raises(InvalidRequest, match="failed to read root key: invalid key: failed to decrypt"):
        await node.rekey.update("00" * 32 + "09", nonce)
    assert (await node.rekey.status())["progress"] == 0
    await node.rekey.update("00" * 32, nonce)
    with pytest.raises(InvalidRequest, match="failed to compute root key: all parts must be the same length"):
        await node.rekey.update(keys[0], nonce)
    assert await reopens(node, *keys[:2])


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({}, "invalid rekey seal configuration: shares must be at least one"),
        (
            {"secret_shares": 2, "secret_threshold": 3},
            "invalid rekey seal configuration: threshold cannot be larger than shares",
        ),
        ({"secret_shares": 2, "secret_threshold": 2, "pgp_keys": ["x"]}, "incorrect number of PGP keys for rekey"),
        (
            {"secret_shares": 2, "secret_threshold": 2, "backup": True},
            "cannot request a backup of the new keys without providing PGP keys for encryption",
        ),
    ],
)
async def test_refused_configurations(node: Node, parameters: dict[str, Any], text: str) -> None:
    await node.open()
    with pytest.raises(InvalidRequest) as caught:
        await node.rekey.init(**parameters)
    assert str(caught.value) == text
    assert not (await node.rekey.status())["started"]


async def test_order_of_calls(node: Node) -> None:
    keys = await node.open()
    for call, text in [
        (node.rekey.update(keys[0], "x"), "no barrier rekey in progress"),
        (node.rekey.update(), "'key' must be specified"),
        (node.rekey.verify(keys[0], "x"), "no rekey in progress"),
        (node.rekey.verify_status(), "no rekey configuration found"),
        (node.rekey.cancel_verify(), "no rekey configuration found"),
        (node.rekey.backup(), "no backed-up keys found"),
    ]:
        with pytest.raises(InvalidRequest, match=text):
            await call
    await node.rekey.init(secret_shares=1, secret_threshold=1)
    with pytest.raises(InvalidRequest, match="rekey already in progress"):
        await node.rekey.init(secret_shares=1, secret_threshold=1)
    node.rekey.cancel()
    assert not (await node.rekey.status())["started"]


async def test_verification(node: Node) -> None:
    old = await node.open()
    answer = await rekey(node.rekey, old[:2], secret_shares=3, secret_threshold=2, require_verification=True)
    new, nonce = answer["keys"], answer["verification_nonce"]
    assert answer["verification_required"] is True
    status = await node.rekey.status()
    assert (status["progress"], status["verification_nonce"]) == (0, nonce)
    assert await node.rekey.verify_status() == {"nonce": nonce, "started": True, "t": 2, "n": 3, "progress": 0}
    with pytest.raises(InvalidRequest, match=f'verification must be performed; .* operation is "{nonce}"'):
        await node.rekey.update(old[0], answer["nonce"])
    with pytest.raises(InvalidRequest, match=f'nonce for this verify operation is "{nonce}"'):
        await node.rekey.verify(new[0], "x")
    assert await reopens(node, *old[:2]), "the old shares count until the new ones are shown"

    await node.rekey.verify(new[0], nonce)
    with pytest.raises(InvalidRequest, match="already been provided during this verify operation"):
        await node.rekey.verify(new[0], nonce)
    with pytest.raises(InvalidRequest, match="rekey verification failed; incorrect key shares supplied"):
        await node.rekey.verify("00" * 32 + "09", nonce)
    again = (await node.rekey.verify_status())["nonce"]
    assert again != nonce
    await node.rekey.verify(new[0], again)
    cancelled = await node.rekey.cancel_verify()
    assert cancelled["progress"] == 0
    assert await node.rekey.verify(new[2], cancelled["nonce"]) == {**cancelled, "progress": 1}
    assert await node.rekey.verify(new[1], cancelled["nonce"]) == {
        "nonce": cancelled["nonce"],
        "complete": True,
    }
    assert not await reopens(node, *old[:2])
    assert await reopens(node, *new[:2])


async def test_cancelled_before_verification_changes_nothing(node: Node) -> None:
    old = await node.open()
    answer = await rekey(node.rekey, old[:2], secret_shares=2, secret_threshold=2, require_verification=True)
    node.rekey.cancel()
    with pytest.raises(InvalidRequest, match="no rekey in progress"):
        await node.rekey.verify(answer["keys"][0], answer["verification_nonce"])
    assert await reopens(node, *old[:2])
    assert not await reopens(node, *answer["keys"])


class FailingStore(InmemStore):
    failing = False

    async def commit(self, batch):  # type: ignore[no-untyped-def, override]
        if self.failing:
            raise StoreError("disk full")
        await super().commit(batch)


async def test_store_failure_keeps_the_old_shares_and_the_operation() -> None:
    store = FailingStore()
    node = Node(store, ShamirSeal())
    keys = await node.open()
    nonce = (await node.rekey.init(secret_shares=2, secret_threshold=2))["nonce"]
    await node.rekey.update(keys[0], nonce)
    store.failing = True
    with pytest.raises(StoreError, match="disk full"):
        await node.rekey.update(keys[1], nonce)
    store.failing = False
    assert await reopens(node, *keys[:2])
    await node.rekey.update(keys[0], nonce)
    answer = await node.rekey.update(keys[1], nonce)
    assert await reopens(node, *answer["keys"])


async def test_root_key_alone_is_replaced_without_shares(node: Node, auto_node: Node) -> None:
    keys = await node.open()
    await auto_node.init()
    for one in (node, auto_node):
        before = one.core.barrier.keyring.root_key
        await one.core.replace_root_key()
        assert one.core.barrier.keyring.root_key != before
    assert await reopens(node, *keys[:2])
    assert await Node(auto_node.store, auto_node.seal).core.auto_unseal()


async def test_standby_that_becomes_active_knows_the_new_seal_key(node: Node) -> None:
    """It was unsealed with the old shares; replacing the root key there must not bring them back."""
    old = await node.open()
    standby = Node(node.store, ShamirSeal())
    for key in old[:2]:
        await standby.core.unseal(key)
    new = (await rekey(node.rekey, old[:2], secret_shares=2, secret_threshold=2))["keys"]
    await standby.core.barrier.reload()
    await standby.core.replace_root_key()
    assert await reopens(node, *new)
    assert not await reopens(node, *old[:2])


async def test_recovery_shares(auto_node: Node) -> None:
    node = auto_node
    old = await node.init()
    operation = node.rekey_recovery
    nonce = (await operation.init(secret_shares=2, secret_threshold=2))["nonce"]
    await operation.update("00" * 32 + "09", nonce)
    with pytest.raises(InvalidRequest, match="recovery key verification failed: recovery key does not match"):
        await operation.update(old[0], nonce)
    await operation.update(old[0], nonce)
    new = (await operation.update(old[1], nonce))["keys"]
    assert (await node.core.status())["n"] == 2
    with pytest.raises(InvalidRequest, match="no recovery rekey in progress"):
        await operation.update(old[1], nonce)
    await node.core.seal()
    for key in new:
        status = await node.core.unseal(key)
    assert not status["sealed"]


async def test_recovery_shares_with_verification(auto_node: Node) -> None:
    old = await auto_node.init()
    operation = auto_node.rekey_recovery
    answer = await rekey(operation, old[:2], secret_shares=2, secret_threshold=2, require_verification=True)
    for key in answer["keys"]:
        done = await operation.verify(key, answer["verification_nonce"])
    assert done["complete"]
    await rekey(operation, answer["keys"], secret_shares=1, secret_threshold=1)


async def test_barrier_of_a_self_opening_seal_gets_a_new_root_key(auto_node: Node) -> None:
    keys = await auto_node.init()
    before = auto_node.core.barrier.keyring.root_key
    answer = await rekey(auto_node.rekey, keys[:2], secret_shares=3, secret_threshold=2)
    assert answer["keys"] == []
    assert auto_node.core.barrier.keyring.root_key != before
    with pytest.raises(InvalidRequest, match="keeps its own key"):
        await auto_node.rekey.init(secret_shares=1, secret_threshold=1, require_verification=True)


async def test_shamir_has_no_recovery_shares(node: Node) -> None:
    keys = await node.open()
    operation = node.rekey_recovery
    for call in (
        operation.status(),
        operation.init(secret_shares=1, secret_threshold=1),
        operation.update(keys[0], "x"),
        operation.verify_status(),
    ):
        with pytest.raises(InvalidRequest, match="recovery rekeying not supported"):
            await call


async def test_shape_of_rotate(node: Node) -> None:
    keys = await node.open()
    assert rotate_status(await node.rekey.status()) == {"started": False, "t": 0, "n": 0, "required": 2}
    status = await node.rekey.init(secret_shares=2, secret_threshold=2)
    assert rotate_status(status) == {
        "nonce": status["nonce"], "started": True, "t": 2, "n": 2, "progress": 0, "required": 2,
        "verification_required": False, "verification_nonce": "",
    }  # fmt: skip
    await node.rekey.update(keys[0], status["nonce"])
    done = rotate_status(await node.rekey.update(keys[1], status["nonce"]))
    assert sorted(done) == [
        "backup", "complete", "keys", "keys_base64", "nonce", "pgp_fingerprints",
        "verification_nonce", "verification_required",
    ]  # fmt: skip
