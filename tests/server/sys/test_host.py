"""The machine, the versions that ran, and the settings without their secrets."""

from __future__ import annotations

import orjson
from caveau import VAULT_VERSION
from caveau.server.config import SealConfig, StorageConfig
from caveau.server.sys.host import record_version
from caveau.tests.server.harness import Server


async def test_host_info(server):
    for path in ("sys/host-info", "sys/host-info/"):
        data = (await server.call("read", path)).data
        assert data["timestamp"].endswith("Z")
        assert data["memory"]["total"] > 0


async def test_the_running_version_is_in_the_history(server):
    data = (await server.call("list", "sys/version-history")).data
    assert data["keys"] == [VAULT_VERSION]
    info = data["key_info"][VAULT_VERSION]
    assert info["previous_version"] is None
    assert info["timestamp_installed"].startswith("2025-06-15T")
    server.clock.advance(86400 * 30)
    await server.seal()
    await server.unseal()
    assert (await server.call("list", "sys/version-history")).data == data


async def test_an_upgrade_follows_what_ran_before(server):
    older = orjson.dumps([{"version": "1.0.0", "installed": 1_700_000_000.0, "build_date": "b"}])
    history = record_version(older, "date", server.clock.time())
    assert history is not None

    async def write(txn):
        txn.put("core/versions", history)

    await server.node.store.run(write)
    data = (await server.call("list", "sys/version-history")).data
    assert data["keys"] == ["1.0.0", VAULT_VERSION]
    assert data["key_info"][VAULT_VERSION]["previous_version"] == "1.0.0"
    assert record_version(history, "date", 0) is None


async def test_settings_are_shown_without_secrets():
    server = await Server(
        storage=StorageConfig(type="inmem", options={"password": "hunter2"}),
        seals=(SealConfig(type="static", options={"current_key": "hunter2"}),),
        default_lease_ttl=60.0,
    ).start()
    shown = (await server.call("read", "sys/config/state/sanitized")).data
    assert shown["default_lease_ttl"] == 60
    assert shown["storage"]["type"] == "inmem"
    assert shown["seals"] == [{"type": "static", "disabled": False}]
    assert b"hunter2" not in orjson.dumps(shown)
    await server.core.stop()
