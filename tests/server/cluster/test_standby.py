"""A node that follows answers reads, passes on the rest, and takes up what the active node wrote."""

from __future__ import annotations

import asyncio
import base64

import pytest
from caveau.framework.errors import NotActive
from caveau.server.replication_state import Index
from caveau.server.token_trees import ENDING
from caveau.tests.server.cluster.fake import cluster


@pytest.fixture
async def two():
    async with cluster() as nodes:
        yield nodes


async def written(node, value: str, path: str = "kv-v2/data/a"):
    return await node.ask("POST", path, {"data": {"v": value}})


async def value(node, path: str = "kv-v2/data/a", **headers) -> str:
    answer = await node.ask("GET", path, **headers)
    assert answer.status == 200, answer.body
    return answer.json["data"]["data"]["v"]


async def test_read_is_answered_where_it_is_asked(two):
    active, standby = two.nodes
    await written(active, "1")
    assert await value(standby) == "1"
    assert standby.link.connections == 0
    assert standby.engine.asked == 1


async def test_read_sees_what_was_acknowledged_before(two):
    active, standby = two.nodes
    for number in range(20):
        await written(active, str(number))
        assert await value(standby) == str(number)


async def test_write_reaches_the_active_node(two):
    active, standby = two.nodes
    answer = await written(standby, "1")
    assert answer.status == 200
    assert answer.json["data"]["version"] == 1
    assert await value(active) == "1"
    assert await value(standby) == "1"
    assert standby.link.connections == 1
    await written(standby, "2")
    assert standby.link.connections == 1  # kept


async def test_errors_headers_and_empty_answers_come_back_as_they_are(two):
    active, standby = two.nodes
    for verb, path, body in (
        ("POST", "kv-v2/data/a", {"options": {"cas": 7}, "data": {}}),
        ("DELETE", "sys/policies/acl/none", None),
        ("POST", "sys/mounts/kv-v2", {"type": "kv"}),
        ("POST", "nothing/here", {}),
        ("LIST", "auth/token/accessors", None),
        ("GET", "kv-v2/data/none", None),
    ):
        ours, theirs = await standby.ask(verb, path, body), await active.ask(verb, path, body)
        assert ours.status == theirs.status, path
        left = {"date", "x-vault-index", "content-length"}
        assert {k: v for k, v in ours.headers.items() if k not in left} == {
            k: v for k, v in theirs.headers.items() if k not in left
        }
        if theirs.status >= 400:
            assert ours.body == theirs.body


async def test_login_and_limited_tokens(two):
    active, standby = two.nodes
    await active.ask("POST", "sys/auth/userpass", {"type": "userpass"})
    await active.ask("POST", "auth/userpass/users/u", {"password": "p", "token_policies": ["p"]})
    await active.ask("PUT", "sys/policies/acl/p", {"policy": 'path "kv-v2/data/*" { capabilities = ["read"] }'})
    await written(active, "1")
    answer = await standby.ask("POST", "auth/userpass/login/u", {"password": "p"}, "")
    token = answer.json["auth"]["client_token"]
    assert (await standby.ask("GET", "kv-v2/data/a", token=token)).status == 200
    once = (await standby.ask("POST", "auth/token/create", {"num_uses": 1})).json["auth"]["client_token"]
    assert (await standby.ask("GET", "kv-v2/data/a", token=once)).status == 200
    for node in two.nodes:
        assert (await node.ask("GET", "kv-v2/data/a", token=once)).status == 403


async def test_wrapped_answers(two):
    active, standby = two.nodes
    await written(active, "1")
    answer = await standby.ask("GET", "kv-v2/data/a", x_vault_wrap_ttl="60")
    wrapping = answer.json["wrap_info"]["token"]
    assert (await standby.ask("POST", "sys/wrapping/lookup", {"token": wrapping})).status == 200
    assert (await standby.ask("POST", "sys/wrapping/unwrap", token=wrapping)).json["data"]["data"] == {"v": "1"}
    assert (await active.ask("POST", "sys/wrapping/unwrap", token=wrapping)).status == 400


async def test_policies_and_tokens_follow(two):
    active, standby = two.nodes
    await written(active, "1")
    await active.policy("p", 'path "kv-v2/data/*" { capabilities = ["read"] }')
    token = await active.token(["p"])
    assert (await standby.ask("GET", "kv-v2/data/a", token=token)).status == 200
    await active.policy("p", 'path "kv-v2/data/b" { capabilities = ["read"] }')
    assert (await standby.ask("GET", "kv-v2/data/a", token=token)).status == 403
    await active.policy("p", 'path "kv-v2/data/*" { capabilities = ["read"] }')
    assert (await standby.ask("GET", "kv-v2/data/a", token=token)).status == 200
    await active.call("update", "auth/token/revoke", {"token": token})
    assert (await standby.ask("GET", "kv-v2/data/a", token=token)).status == 403


async def test_entities_follow(two):
    active, standby = two.nodes
    await written(active, "1")
    await active.policy("p", 'path "kv-v2/data/*" { capabilities = ["read"] }')
    await active.ask("POST", "sys/auth/userpass", {"type": "userpass"})
    await active.ask("POST", "auth/userpass/users/u", {"password": "p"})
    answer = await standby.ask("POST", "auth/userpass/login/u", {"password": "p"}, "")
    token, entity = answer.json["auth"]["client_token"], answer.json["auth"]["entity_id"]
    assert (await standby.ask("GET", "kv-v2/data/a", token=token)).status == 403
    await active.ask("POST", f"identity/entity/id/{entity}", {"policies": ["p"]})
    assert (await standby.ask("GET", "kv-v2/data/a", token=token)).status == 200
    await active.ask("POST", f"identity/entity/id/{entity}", {"disabled": True})
    assert (await standby.ask("GET", "kv-v2/data/a", token=token)).status == 403


async def test_mounts_follow(two):
    active, standby = two.nodes
    await active.ask("POST", "sys/mounts/new", {"type": "kv"})
    await active.ask("POST", "new/a", {"v": "1"})
    before = standby.engine.asked
    assert (await standby.ask("GET", "new/a")).json["data"] == {"v": "1"}
    assert (await standby.ask("GET", "sys/mounts/new")).json["data"]["type"] == "kv"
    assert standby.engine.asked == before + 2
    assert standby.link.connections == 0
    await active.ask("POST", "sys/mounts/new/tune", {"description": "told"})
    assert (await standby.ask("GET", "sys/mounts/new")).json["data"]["description"] == "told"
    await active.ask("POST", "sys/remount", {"from": "new", "to": "newer"})
    assert (await standby.ask("GET", "newer/a")).json["data"] == {"v": "1"}
    assert (await standby.ask("GET", "new/a")).status == 404
    await active.ask("DELETE", "sys/mounts/newer")
    assert (await standby.ask("GET", "newer/a")).status == 404
    await active.ask("POST", "sys/mounts/kv-v2/tune", {"options": {"version": "2"}, "default_lease_ttl": "5m"})
    assert (await standby.ask("GET", "sys/mounts/kv-v2/tune")).json["data"]["default_lease_ttl"] == 300


async def test_namespaces_follow(two):
    active, standby = two.nodes
    await active.ask("POST", "sys/namespaces/team", {})
    await active.ask("POST", "sys/mounts/kv", {"type": "kv"}, x_vault_namespace="team")
    await active.ask("POST", "team/kv/a", {"v": "1"})
    assert (await standby.ask("GET", "kv/a", x_vault_namespace="team")).json["data"] == {"v": "1"}
    assert (await standby.ask("POST", "team/kv/b", {"v": "2"})).status == 204
    await active.ask("POST", "sys/mounts/kv2", {"type": "kv"}, x_vault_namespace="team")
    await active.ask("POST", "team/kv2/a", {"v": "3"})
    assert (await standby.ask("GET", "team/kv2/a")).json["data"] == {"v": "3"}
    await active.ask("POST", "sys/namespaces/api-lock/lock", x_vault_namespace="team")
    assert (await standby.ask("GET", "team/kv/a")).status == 503
    key = active.core.namespaces.at("team/").unlock_key
    assert key
    await active.ask("POST", "sys/namespaces/api-lock/unlock/team")
    assert (await standby.ask("GET", "team/kv/a")).status == 200
    await active.ask("DELETE", "sys/namespaces/team")
    assert (await standby.ask("GET", "kv/a", x_vault_namespace="team")).status == 404


async def test_settings_follow(two):
    active, standby = two.nodes
    await active.ask("POST", "sys/config/cors", {"allowed_origins": "https://a.test"})
    await active.ask("POST", "sys/quotas/rate-limit/q", {"rate": 2, "path": "kv-v2"})
    assert (await standby.ask("GET", "sys/config/cors")).json["data"]["allowed_origins"] == ["https://a.test"]
    answer = await standby.ask("GET", "kv-v2/data/a", origin="https://a.test")
    assert answer.headers["access-control-allow-origin"] == "https://a.test"
    assert [(await standby.ask("GET", "kv-v2/data/a")).status for _ in range(2)] == [404, 429]
    assert standby.core.cluster == active.core.cluster


async def test_keyring_follows(two):
    active, standby = two.nodes
    await written(standby, "1")
    await standby.ask("POST", "sys/rotate")
    await written(standby, "2", "kv-v2/data/b")
    assert (await value(standby), await value(standby, "kv-v2/data/b")) == ("1", "2")
    assert standby.core.seal.barrier.keyring.active == active.core.seal.barrier.keyring.active == 2
    await active.ask("POST", "sys/rotate/root")
    await standby.ask("POST", "sys/rotate")
    await written(standby, "3")
    assert await value(standby) == "3"


async def test_opening_writes_nothing(two):
    _, standby = two.nodes
    before = len(two.log.entries)
    await standby.seal()
    await standby.unseal()
    await standby.ask("GET", "sys/mounts")
    assert len(two.log.entries) == before


async def test_without_an_active_node(two):
    active, standby = two.nodes
    written_index = (await written(active, "1")).headers["x-vault-index"]
    two.lead(None)
    for node in two.nodes:
        for verb, body in (("GET", None), ("POST", {"data": {}})):
            answer = await node.ask(verb, "kv-v2/data/a", body)
            assert answer.status == 503
            assert "active node" in answer.errors[0]
        assert (await node.ask("GET", "sys/health")).status == 473
    assert await value(standby, x_vault_index=written_index) == "1"


async def test_change_of_leader(two):
    old, new = two.nodes
    await written(old, "1")
    two.lead(1)
    assert (await written(new, "2")).status == 200
    assert await value(old) == "2"
    assert (await written(old, "3")).status == 200
    assert await value(new) == "3"
    two.lead(0)
    assert (await written(new, "4")).json["data"]["version"] == 4
    assert [await value(node) for node in two.nodes] == ["4", "4"]


async def test_expiry_runs_on_the_active_node_alone(two):
    active, standby = two.nodes
    token = await active.token(ttl="10s")
    assert active.core.namespaces._reaper is not None
    assert standby.core.namespaces._reaper is None
    two.lead(1)
    await two.settled()
    assert active.core.namespaces._reaper is None
    assert standby.core.namespaces._reaper is not None
    active.clock.advance(11)
    await standby.core.namespaces.reap()
    assert not await active.keys_stored(f"namespaces/root/sys/token/id/{standby.node.tokens.hash(token)}")


async def test_write_whose_outcome_is_unknown(two):
    active, _standby = two.nodes
    await written(active, "1")
    active.engine.unknown = True
    answer = await written(active, "2")
    assert answer.status == 503
    assert "not known" in answer.errors[0]
    two.lead(1)
    await two.settled()
    assert [await value(node) for node in two.nodes] == ["2", "2"]


async def test_who_led_before_writes_nothing_with_what_it_remembers(two):
    active, _ = two.nodes
    await written(active, "1")
    store = active.core.namespaces.store
    two.lead(1)
    two.lead(0)  # again, and others may have written between

    async def write(txn):
        txn.put("core/any", b"")

    with pytest.raises(NotActive):
        await store.run(write)
    assert (await written(active, "2")).status == 200
    assert store is not active.core.namespaces.store


async def test_index(two):
    active, standby = two.nodes
    header = (await written(active, "1")).headers["x-vault-index"]
    index = Index.parse(header)
    assert index == (active.core.cluster["cluster_id"], len(two.log.entries))
    standby.engine.awake = False
    header = (await written(active, "2")).headers["x-vault-index"]
    asked = standby.engine.asked
    assert await value(standby, x_vault_index=header, x_vault_inconsistent="forward-active-node") == "2"
    assert (await standby.ask("GET", "kv-v2/data/a", x_vault_index=header)).status == 412
    asyncio.get_running_loop().call_later(0.05, standby.engine.catch_up)
    assert await value(standby, x_vault_index=header) == "2"
    assert standby.engine.asked == asked
    theirs = base64.b64encode(b'{"cluster": "", "value": 1}').decode()
    assert await value(standby, x_vault_index=theirs) == "2"
    assert (await standby.ask("GET", "kv-v2/data/a", x_vault_index="bm8=")).status == 400


async def test_asked_for_the_active_node(two):
    _, standby = two.nodes
    await written(standby, "1")
    assert await value(standby, x_vault_forward="active-node") == "1"
    assert standby.engine.asked == 0
    answer = await standby.ask("POST", "kv-v2/data/a", {"data": {}}, x_vault_no_request_forwarding="true")
    assert (answer.status, answer.headers["location"]) == (307, "http://a:8200/v1/kv-v2/data/a")


async def test_health(two):
    active, standby = two.nodes
    answer = await standby.ask("GET", "sys/health")
    assert answer.status == 473
    assert answer.json["standby"]
    assert answer.json["performance_standby"]
    assert (await standby.ask("GET", "sys/health?perfstandbyok=true")).status == 200
    assert (await standby.ask("GET", "sys/health?performancestandbycode=299")).status == 299
    assert (await active.ask("GET", "sys/health")).status == 200
    assert (await standby.ask("GET", "sys/seal-status")).json["sealed"] is False


async def test_without_reads():
    async with cluster(disable_standby_reads=True) as two:
        active, standby = two.nodes
        await written(active, "1")
        assert await value(standby) == "1"
        assert standby.engine.asked == 0
        assert (await standby.ask("GET", "sys/health")).status == 429
        assert (await standby.ask("GET", "sys/health?standbyok=true")).status == 200


async def test_sealing_one_node(two):
    active, standby = two.nodes
    assert (await standby.ask("POST", "sys/seal")).status == 204
    assert (await standby.ask("GET", "kv-v2/data/a")).status == 503
    assert (await active.ask("GET", "sys/seal-status")).json["sealed"] is False


async def test_a_node_alone_asks_nobody():
    async with cluster(1) as one:
        (node,) = one.nodes
        await written(node, "1")
        assert await value(node) == "1"
        assert node.engine.asked == 0
        await node.seal()
        await node.unseal()
        assert await value(node) == "1"
        assert node.engine.asked == 0


async def test_a_leader_of_several_reads_what_is_current(two):
    active, _ = two.nodes
    await written(active, "1")
    before = active.engine.asked
    assert await value(active) == "1"
    assert active.engine.asked == before + 1


async def test_what_descends_from_tokens_that_end_is_refused_on_standbys_too(two):
    active, standby = two.nodes
    parent = await active.token()
    child = await active.token(by=parent)
    assert (await standby.ask("GET", "auth/token/lookup-self", token=child)).status == 200

    async def begin(txn):
        txn.put(ENDING + active.node.tokens.hash(parent), b"")

    await active.node.store.run(begin)
    assert (await standby.ask("GET", "auth/token/lookup-self", token=child)).status == 403
    assert (await standby.ask("GET", "auth/token/lookup-self", token=parent)).status == 200
