"""New recovery shares through the API, on a server whose seal opens by itself."""

from __future__ import annotations

import pytest
from caveau.framework.clock import FakeClock
from caveau.framework.errors import InvalidRequest, PermissionDenied
from caveau.server.config import ServerConfig
from caveau.server.core import Core
from caveau.server.request import Incoming
from caveau.server.seal import initialize
from caveau.storage.inmem import InmemStore
from caveau.tests.server.seal.conftest import SelfOpeningSeal


class AutoServer:
    """``root``, ``shares`` (three, of which two authorise) and ``call``."""

    async def start(self) -> AutoServer:
        self.core = Core(ServerConfig(), InmemStore(), SelfOpeningSeal(), clock=FakeClock())
        made = await initialize(self.core.seal, recovery_shares=3, recovery_threshold=2)
        self.root, self.shares = made["root_token"], made["recovery_keys"]
        await self.core.start()
        return self

    async def call(self, op, path, data=None, token=""):
        return (await self.core.handle(Incoming("id", op, f"sys/{path}", token=token, data=data or {}))).data


@pytest.fixture
async def auto():
    server = await AutoServer().start()
    yield server
    await server.core.stop()


TWO_OF_TWO = {"secret_shares": 2, "secret_threshold": 2}


@pytest.mark.parametrize(("base", "by_token"), [("rekey-recovery-key", False), ("rotate/recovery", True)])
async def test_recovery_shares_are_replaced(auto, base, by_token):
    token = auto.root if by_token else ""
    begun = await auto.call("update", f"{base}/init", TWO_OF_TWO, token)
    assert (begun["required"], begun["t"], begun["n"]) == (2, 2, 2)
    share = {"nonce": begun["nonce"], "key": auto.shares[0]}
    assert (await auto.call("update", f"{base}/update", share, token))["progress"] == 1
    new = await auto.call("update", f"{base}/update", share | {"key": auto.shares[1]}, token)
    assert (new["complete"], len(new["keys"])) == (True, 2)
    begun = await auto.call("update", f"{base}/init", TWO_OF_TWO, token)
    old = {"nonce": begun["nonce"]}
    await auto.call("update", f"{base}/update", old | {"key": auto.shares[0]}, token)
    with pytest.raises(InvalidRequest, match="recovery key"):
        await auto.call("update", f"{base}/update", old | {"key": auto.shares[1]}, token)
    await auto.call("delete", f"{base}/init", token=token)
    assert not (await auto.call("read", f"{base}/init", token=token))["started"]


@pytest.mark.parametrize(("base", "by_token"), [("rekey-recovery-key", False), ("rotate/recovery", True)])
async def test_new_recovery_shares_count_once_they_are_verified(auto, base, by_token):
    token = auto.root if by_token else ""
    begun = await auto.call("update", f"{base}/init", TWO_OF_TWO | {"require_verification": True}, token)
    for share in auto.shares[:2]:
        new = await auto.call("update", f"{base}/update", {"nonce": begun["nonce"], "key": share}, token)
    nonce = new["verification_nonce"]
    assert (await auto.call("read", f"{base}/verify", token=token))["nonce"] == nonce
    await auto.call("update", f"{base}/verify", {"nonce": nonce, "key": new["keys"][0]}, token)
    nonce = (await auto.call("delete", f"{base}/verify", token=token))["nonce"]
    for share in new["keys"]:
        done = await auto.call("update", f"{base}/verify", {"nonce": nonce, "key": share}, token)
    assert done == {"nonce": nonce, "complete": True}


async def test_rotations_need_a_token_and_the_two_kinds_do_not_mix(auto):
    for op, step in (
        ("read", "init"),
        ("update", "init"),
        ("delete", "init"),
        ("update", "update"),
        ("read", "backup"),
    ):
        with pytest.raises(PermissionDenied):
            await auto.call(op, f"rotate/recovery/{step}", TWO_OF_TWO)
    await auto.call("update", "rekey-recovery-key/init", TWO_OF_TWO)
    assert not (await auto.call("read", "rekey/init"))["started"]
    assert (await auto.call("read", "rotate/recovery/init", token=auto.root))["started"]


async def test_where_shares_unseal_there_are_no_recovery_shares(server):
    for op, step in (("read", "init"), ("update", "init"), ("delete", "init"), ("read", "verify")):
        with pytest.raises(InvalidRequest, match="recovery rekeying not supported"):
            await server.call(op, f"sys/rekey-recovery-key/{step}", token="")
