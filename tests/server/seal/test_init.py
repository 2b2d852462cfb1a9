"""Initialization: keys once, everything or nothing, sealed afterwards."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from caveau.framework.errors import InvalidRequest
from caveau.server.seal import init_status, initialize

from .conftest import Node


async def test_answer(node: Node) -> None:
    assert await init_status(node.core) == {"initialized": False}
    answer = await initialize(node.core, secret_shares=5, secret_threshold=3, stored_shares=7)
    assert list(answer) == ["keys", "keys_base64", "root_token"]
    assert len(set(answer["keys"])) == 5
    assert {len(key) for key in answer["keys"]} == {66}
    assert [base64.b64decode(key).hex() for key in answer["keys_base64"]] == answer["keys"]
    assert answer["root_token"] == node.tokens[0]
    assert await init_status(node.core) == {"initialized": True}


async def test_server_is_set_up_for_the_token_and_sealed_again(node: Node) -> None:
    await node.init()
    assert node.told == ["unseal", "seal"]
    assert node.core.sealed


async def test_one_share_is_the_key_itself(node: Node) -> None:
    (key,) = await node.init(1, 1)
    assert len(key) == 64
    assert not (await node.core.unseal(key))["sealed"]


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({}, "shares must be at least one"),
        ({"secret_shares": -1, "secret_threshold": 1}, "shares must be at least one"),
        ({"secret_shares": 1}, "threshold must be at least one"),
        ({"secret_shares": 2, "secret_threshold": 3}, "threshold cannot be larger than shares"),
        ({"secret_shares": 2, "secret_threshold": 1}, "threshold must be greater than one for multiple shares"),
        ({"secret_shares": 256, "secret_threshold": 3}, "shares must be less than 256"),
        (
            {"secret_shares": 3, "secret_threshold": 2, "pgp_keys": ["x"]},
            "count mismatch between number of provided PGP keys and number of shares",
        ),
    ],
)
async def test_refused_configurations(node: Node, parameters: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await initialize(node.core, **parameters)
    assert str(caught.value) == f"invalid seal configuration: {text}"
    assert await init_status(node.core) == {"initialized": False}


@pytest.mark.parametrize(
    ("parameters", "names"),
    [
        ({"recovery_shares": 3, "recovery_threshold": 2}, "recovery_shares,recovery_threshold"),
        ({"recovery_pgp_keys": ["x"]}, "recovery_pgp_keys"),
    ],
)
async def test_recovery_is_for_other_seals(node: Node, parameters: dict[str, Any], names: str) -> None:
    with pytest.raises(InvalidRequest, match=f"parameters {names} not applicable to seal type shamir"):
        await initialize(node.core, secret_shares=3, secret_threshold=2, **parameters)


async def test_only_once(node: Node) -> None:
    await node.init()
    with pytest.raises(InvalidRequest, match="already initialized"):
        await node.init()
    with pytest.raises(InvalidRequest, match="shares must be"):
        await node.init(0, 0)


@pytest.mark.parametrize("failing", ["unseal", "token"])
async def test_failure_leaves_the_store_empty_and_a_retry_works(node: Node, failing: str) -> None:
    node.failing = failing
    with pytest.raises(RuntimeError):
        await node.init()
    assert node.core.sealed
    assert await node.store.list("") == []
    node.failing = ""
    await node.open()


async def test_failure_keeps_what_was_there_before(node: Node) -> None:
    await node.store.commit({"other/thing": b"precious"})
    node.failing = "token"
    with pytest.raises(RuntimeError):
        await node.init()
    assert await node.store.get("other/thing") == b"precious"
    assert await init_status(node.core) == {"initialized": False}


async def test_bad_root_token_key_is_noticed_before_anything_is_made(node: Node) -> None:
    """OpenBao is initialized by then, and nobody has the shares."""
    with pytest.raises(InvalidRequest, match="PGP key"):
        await node.init(root_token_pgp_key="eHh4")
    assert await init_status(node.core) == {"initialized": False}


async def test_self_opening_seal_stays_open(auto_node: Node) -> None:
    answer = await initialize(auto_node.core, recovery_shares=3, recovery_threshold=2)
    assert list(answer) == ["keys", "keys_base64", "recovery_keys", "recovery_keys_base64", "root_token"]
    assert answer["keys"] == answer["keys_base64"] == []
    assert len(answer["recovery_keys"]) == 3
    assert not auto_node.core.sealed
    assert auto_node.told == ["unseal"]


async def test_self_opening_seal_without_recovery_shares(auto_node: Node) -> None:
    answer = await initialize(auto_node.core)
    assert list(answer) == ["keys", "keys_base64", "root_token"]
    assert (await auto_node.core.status())["n"] == 0
    attempt = await auto_node.root.init()
    with pytest.raises(InvalidRequest, match="there is no recovery key"):
        await auto_node.root.update("00" * 32, attempt["nonce"])


async def test_self_opening_seal_refuses_secret_shares(auto_node: Node) -> None:
    with pytest.raises(
        InvalidRequest, match="parameters secret_shares,secret_threshold not applicable to seal type static"
    ):
        await initialize(auto_node.core, secret_shares=3, secret_threshold=2)
    with pytest.raises(InvalidRequest, match="invalid recovery configuration: threshold cannot be larger"):
        await initialize(auto_node.core, recovery_shares=1, recovery_threshold=2)
