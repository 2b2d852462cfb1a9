"""What the server counts of itself while it answers."""

from __future__ import annotations

import orjson
import pytest
from caveau.framework.errors import CaveauError, PermissionDenied
from caveau.framework.metrics import value
from caveau.server.config import ConfigError
from caveau.server.config.model import TelemetryConfig
from caveau.server.request import UnderWay
from caveau.server.telemetry import usage
from caveau.tests.server.harness import Server
from caveau.tests.server.overhttp import serving


async def samples(server):
    found = orjson.loads((await server.call("read", "sys/metrics")).body)
    return {each["Name"]: each["Count"] for each in (*found["Samples"], *found["Counters"])}


async def gauges(server):
    found = orjson.loads((await server.call("read", "sys/metrics")).body)["Gauges"]
    return {(each["Name"], *sorted(each["Labels"].items())): each["Value"] for each in found}


@pytest.fixture
async def server():
    return await Server(telemetry=TelemetryConfig(disable_hostname=True)).start(("kv-v2",))


async def test_requests_are_timed_by_operation_and_mount(server):
    await server.call("update", "kv-v2/data/a", {"data": {"x": 1}})
    before = await samples(server)
    for _ in range(3):
        await server.call("read", "kv-v2/data/a")
    after = await samples(server)
    assert after["vault.route.read.kv-v2-"] == 3
    assert after["vault.route.create.kv-v2-"] == 1
    assert after["vault.core.handle_request"] - before["vault.core.handle_request"] == 4  # and one for the metrics
    assert after["vault.core.check_token"] - before["vault.core.check_token"] == 4
    assert after["vault.token.lookup"] - before["vault.token.lookup"] == 4
    assert after["vault.cache.hit"] > before["vault.cache.hit"]


async def test_requests_that_fail_are_timed_too(server):
    for _ in range(2):
        with pytest.raises(PermissionDenied):
            await server.call("read", "kv-v2/data/a", token="none")
    before = await samples(server)
    assert before["vault.core.handle_request"] >= 3  # the set-up, and the two
    assert "vault.route.read.kv-v2-" not in before  # they did not get there


async def test_the_size_of_the_mount_tables(server):
    before = await gauges(server)
    await server.call("update", "sys/mounts/other", {"type": "kv"})
    found = await gauges(server)
    cluster = ("cluster", server.core.cluster["cluster_name"])
    entries, logical = "vault.core.mount_table.num_entries", ("type", "logical")
    shared = entries, cluster, ("local", "false"), logical
    assert found[shared] == before[shared] + 1
    assert found[entries, cluster, ("local", "true"), logical] == 1  # cubbyhole
    assert found["vault.core.mount_table.size", cluster, ("local", "false"), ("type", "auth")] > 100
    assert found["vault.core.unsealed", cluster] == 1
    assert found["vault.runtime.alloc_bytes",] > 1 << 20


async def test_prometheus_is_chosen_by_the_format_or_by_what_is_accepted(server):
    asked = await server.call("read", "sys/metrics", {"format": "prometheus"})
    assert asked.content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert b"\nvault_core_unsealed{cluster=" in asked.body
    accepted = await server.call("read", "sys/metrics", headers={"accept": "application/openmetrics-text;version=1.0"})
    assert accepted.content_type == asked.content_type


async def test_a_format_that_is_none(server):
    response = await server.call("read", "sys/metrics", {"format": "xml"})
    assert (response.status, response.content_type) == (400, "text/plain")
    assert response.body == b'metric response format "xml" unknown'


async def test_prometheus_can_be_turned_off():
    server = await Server(telemetry=TelemetryConfig(prometheus_retention_time=0)).start()
    response = await server.call("read", "sys/metrics", {"format": "prometheus"})
    assert (response.status, response.body) == (400, b"prometheus is not enabled")
    assert (await server.call("read", "sys/metrics")).status == 200


async def test_metrics_need_a_token(server):
    with pytest.raises(PermissionDenied):
        await server.call("read", "sys/metrics", token="")


async def test_a_listener_can_give_metrics_to_anyone_and_sealed_too(server):
    async with serving(server, unauthenticated_metrics_access=True) as client:
        assert (await client.ask("GET", "/v1/sys/metrics", token="")).status == 200
        assert (await client.ask("POST", "/v1/sys/metrics", token="")).status in (403, 405)
        assert (await client.ask("GET", "/v1/sys/in-flight-req", token="")).status == 403
        await server.seal()
        answer = await client.ask("GET", "/v1/sys/metrics?format=prometheus", token="")
        assert answer.status == 200
        assert b'vault_core_unsealed{cluster="' in answer.body
        assert (await client.ask("GET", "/v1/sys/mounts")).status == 503
    async with serving(server) as client:
        assert (await client.ask("GET", "/v1/sys/metrics", token="")).status == 503


async def test_requests_in_flight(server):
    server.core.under_way = lambda: [UnderWay("id-1", 1_750_000_000.0, "127.0.0.1:5", "/v1/secret/a", "GET")]
    assert (await server.call("read", "sys/in-flight-req")).data == {
        "id-1": {
            "start_time": "2025-06-15T15:06:40Z",
            "client_remote_address": "127.0.0.1:5",
            "request_path": "/v1/secret/a",
            "request_method": "GET",
            "client_id": "",
        }
    }


async def test_tokens_are_counted_when_they_are_made(server):
    await server.token(["default"], ttl="30m")
    found = orjson.loads((await server.call("read", "sys/metrics")).body)["Counters"]
    (counter,) = [each for each in found if each["Name"] == "vault.token.creation"]
    assert (counter["Count"], counter["Labels"]) == (
        1,
        {
            "auth_method": "token", "cluster": server.core.cluster["cluster_name"], "creation_ttl": "1h",
            "mount_point": "auth/token/", "namespace": "root", "token_type": "service",
        },
    )  # fmt: skip


async def test_entities_are_counted_when_a_login_makes_them(server):
    await server.call("update", "sys/auth/userpass", {"type": "userpass"})
    await server.call("update", "auth/userpass/users/u", {"password": "p"})
    for _ in range(2):
        await server.call("update", "auth/userpass/login/u", {"password": "p"}, token="")
    found = orjson.loads((await server.call("read", "sys/metrics")).body)["Counters"]
    (counter,) = [each for each in found if each["Name"] == "vault.identity.entity.creation"]
    assert (counter["Count"], counter["Labels"]) == (
        1,
        {
            "auth_method": "userpass", "cluster": server.core.cluster["cluster_name"],
            "mount_point": "auth/userpass/", "namespace": "root",
        },
    )  # fmt: skip


async def test_logins_are_timed_apart(server):
    await server.call("update", "sys/auth/userpass", {"type": "userpass"})
    await server.call("update", "auth/userpass/users/u", {"password": "p"})
    before = await samples(server)
    await server.call("update", "auth/userpass/login/u", {"password": "p"}, token="")
    after = await samples(server)
    assert "vault.core.handle_login_request" not in before
    assert after["vault.core.handle_login_request"] == 1
    assert after["vault.token.creation"] == 1


async def test_the_store_is_timed(server):
    before = await samples(server)
    await server.call("update", "kv-v2/data/b", {"data": {"x": 1}})
    await server.call("delete", "kv-v2/metadata/b")
    after = await samples(server)
    assert after["vault.barrier.put"] > before["vault.barrier.put"]
    assert after["vault.barrier.delete"] >= 1
    assert after["vault.barrier.get"] >= 1
    assert after["vault.barrier.list"] >= 1


async def test_what_is_done_is_timed_under_the_name_that_it_has_in_vault(server):
    before = await samples(server)
    await server.policy("p", 'path "a" { capabilities = ["read"] }')
    await server.call("read", "sys/policies/acl/p")
    await server.call("list", "sys/policies/acl")
    await server.call("delete", "sys/policies/acl/p")
    await server.call("update", "sys/namespaces/n")
    await server.call("read", "sys/namespaces/n")
    await server.call("list", "sys/namespaces")
    await server.call("update", "sys/namespaces/api-lock/lock/n")
    await server.call("update", "sys/namespaces/api-lock/unlock/n", {})
    await server.call("delete", "sys/namespaces/n")
    token = await server.token(["default"], ttl="30m")
    await server.call("update", "auth/token/renew", {"token": token})
    await server.call("update", "sys/leases/revoke-prefix/auth/token/create")
    with pytest.raises(CaveauError):
        await server.call("update", "sys/leases/lookup", {"lease_id": "none"})  # what fails is timed too
    after = await samples(server)
    for name in (
        "policy.set_policy", "policy.get_policy", "policy.list_policies", "policy.delete_policy",
        "namespace.modify_namespace", "namespace.get_namespace_by_path", "namespace.list_namespaces",
        "namespace.lock_namespace", "namespace.unlock_namespace", "namespace.delete_namespace", "token.create",
        "token.revoke-tree", "expire.revoke", "expire.revoke-prefix", "expire.renew-token", "expire.fetch-lease-times",
    ):  # fmt: skip
        assert after.get(f"vault.{name}", 0) > before.get(f"vault.{name}", 0), name


async def test_gauges_cover_the_namespaces_in_use(server):
    async def gauge(name, **labels):
        found = orjson.loads((await server.call("read", "sys/metrics")).body)["Gauges"]
        return sum(each["Value"] for each in found if each["Name"] == name and labels.items() <= each["Labels"].items())

    before = await gauge("vault.core.mount_table.num_entries", type="logical", local="false")
    await server.call("update", "sys/namespaces/n")
    await server.call("update", "n/sys/mounts/kv", {"type": "kv"})
    assert await gauge("vault.core.mount_table.num_entries", type="logical", local="false") == before + 3
    await server.call("update", "n/sys/auth/userpass", {"type": "userpass"})
    await server.call("update", "n/auth/userpass/users/ann", {"password": "right"})
    for number in range(5):
        assert await gauge("vault.core.locked_users") == 0, number
        with pytest.raises(CaveauError):
            await server.call("update", "n/auth/userpass/login/ann", {"password": "wrong"}, token="")
    assert await gauge("vault.core.locked_users") == 1


async def test_tokens_and_entities_are_counted_now_and_then(server):
    before = {each.key: each.value for each in await usage.measure(server.core)}
    await server.token(["default"])
    await server.call("update", "identity/entity", {"name": "e"})
    after = {each.key: each.value for each in await usage.measure(server.core)}
    labels = {"cluster": server.core.cluster["cluster_name"], "namespace": "root"}
    tokens = value("token.count", 0, **labels).key
    assert after[tokens] == before[tokens] + 1
    assert after[value("identity.num_entities", 0).key] == 1
    assert after[value("identity.entity.count", 0, **labels).key] == 1
    await server.seal()
    assert await usage.measure(server.core) == []


@pytest.mark.parametrize(("text", "seconds"), [("10m", 600), ("none", 0), ("", 0), ("0", 0)])
def test_how_often_they_are_counted(text, seconds):
    assert usage.period(text) == seconds


@pytest.mark.parametrize("text", ["often", "-1s"])
def test_a_period_that_is_none(text):
    with pytest.raises(ConfigError, match="usage_gauge_period"):
        usage.period(text)
