"""Which quota applies, and when a request is one too many."""

from __future__ import annotations

import asyncio
import re
from types import SimpleNamespace

import pytest
from caveau.framework.errors import CaveauError, PermissionDenied, RateLimited
from caveau.server import quotas
from caveau.server.quotas import Meter, RateLimit, Rules

RATE = "sys/quotas/rate-limit"


def rules(*scopes: tuple[str, str, str, str], inheritable: bool = False) -> Rules:
    found = Rules()
    for namespace, mount, suffix, role in scopes:
        name = namespace + mount + suffix + (role and f"#{role}") or "all"
        found.put(
            RateLimit(name=name, namespace=namespace, mount=mount, suffix=suffix, role=role,
                      inheritable=inheritable or not name, rate=1)
        )  # fmt: skip
    return found


def name(quota) -> str | None:
    return None if quota is None else quota.name


def test_the_most_specific_quota_applies():
    known = rules(
        ("", "", "", ""), ("", "kv/", "", ""), ("", "kv/", "a*", ""), ("", "kv/", "a/b*", ""), ("", "kv/", "a/b/c", ""),
        ("", "auth/x/", "", "r"), ("", "auth/x/", "", ""),
    )  # fmt: skip
    assert name(known.find("", "kv/", "a/b/c")) == "kv/a/b/c"
    assert name(known.find("", "kv/", "a/b/c/")) == "kv/a/b/c"  # a list
    assert name(known.find("", "kv/", "a/b/d")) == "kv/a/b*"
    assert name(known.find("", "kv/", "a/c")) == "kv/a*"
    assert name(known.find("", "kv/", "b")) == "kv/"
    assert name(known.find("", "other/", "a/b/c")) == "all"
    assert name(known.find("", "", "")) == "all"
    assert name(known.find("", "auth/x/", "login", "r")) == "auth/x/#r"
    assert name(known.find("", "auth/x/", "login", "s")) == "auth/x/"
    assert known.for_roles("", "auth/x/")
    assert not known.for_roles("", "kv/")


@pytest.mark.parametrize("inheritable", [False, True])
def test_only_inheritable_quotas_reach_the_namespaces_below(inheritable):
    known = rules(("", "", "", ""), ("a/", "", "", ""), ("a/", "kv/", "", ""), inheritable=inheritable)
    assert name(known.find("a/", "kv/", "x")) == "a/kv/"
    assert name(known.find("a/", "other/", "x")) == "a/"
    assert name(known.find("a/b/", "kv/", "x")) == ("a/" if inheritable else None)
    assert name(known.find("b/", "kv/", "x")) == ("all" if inheritable else None)


def test_a_client_has_so_many_requests_in_an_interval():
    meter = Meter(RateLimit(name="q", rate=2.5, interval=10))
    verdicts = [meter.take("a", 100.0 + i) for i in range(4)]
    assert [(v.admitted, v.limit, v.left) for v in verdicts] == [
        (True, 3, 2),
        (True, 3, 1),
        (True, 3, 0),
        (False, 3, 0),
    ]
    assert verdicts[3].headers() == {
        "X-Ratelimit-Limit": "3", "X-Ratelimit-Remaining": "0", "X-Ratelimit-Reset": "7", "Retry-After": "7",
    }  # fmt: skip
    assert meter.take("b", 103.0).admitted
    assert not meter.take("a", 109.9).admitted
    assert meter.take("a", 110.0).admitted


def test_who_asked_too_often_is_blocked():
    meter = Meter(RateLimit(name="q", rate=1, interval=1, block_interval=60))
    assert meter.take("a", 0.0).admitted
    assert meter.take("a", 0.5).reset == 60
    assert not meter.take("a", 60.0).admitted
    assert meter.take("a", 60.5).admitted


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(quotas, "_MAX_CLIENTS", 10)
    meter = Meter(RateLimit(name="q", rate=1, interval=10))
    for i in range(100):
        assert meter.take(f"c{i}", i / 100).admitted
    assert len(meter._windows) == 10
    assert not meter.take("c99", 1.0).admitted  # those that came last are remembered
    meter.take("new", 50.0)
    assert len(meter._windows) == 1  # the others' windows have ended


async def refused(server, op: str, path: str, **incoming) -> bool:
    try:
        await server.call(op, path, **incoming)
    except RateLimited as error:
        return str(error) == f'request path "{path}": rate limit quota exceeded'
    except CaveauError:
        return False
    return False


async def test_the_limit_is_asked_before_the_token_and_counts_addresses(server):
    await server.call("update", f"{RATE}/q", {"rate": 2, "path": "kv-v1", "interval": "10s"})
    got = [await refused(server, "read", "kv-v1/x", token="none") for _ in range(3)]
    assert got == [False, False, True]
    assert await refused(server, "read", "kv-v1/y")
    assert not await refused(server, "read", "kv-v1/x", remote_address="10.0.0.9")
    assert not await refused(server, "read", "kv-v2/data/x")
    server.clock.advance(10)
    assert not await refused(server, "read", "kv-v1/x")


async def test_limits_survive_a_restart_and_end_when_deleted(server):
    await server.call("update", f"{RATE}/q", {"rate": 1, "path": "kv-v1", "interval": "10s"})
    await server.seal()
    await server.unseal()
    assert [await refused(server, "read", "kv-v1/x") for _ in range(2)] == [False, True]
    await server.call("delete", f"{RATE}/q")
    assert not await refused(server, "read", "kv-v1/x")
    assert not server.core.quotas.limits_rates


async def test_exempt_paths(server):
    await server.call("update", "sys/quotas/config", {"rate_limit_exempt_paths": ["kv-v1/a", "sys/*"]})
    await server.call("update", f"{RATE}/q", {"rate": 1, "interval": 10})
    got = [await refused(server, "read", path) for path in ("kv-v1/b", "kv-v1/b", "kv-v1/a", "sys/mounts")]
    assert got == [False, True, False, False]


async def test_answers_tell_of_the_limit_when_they_are_to(server):
    await server.call("update", f"{RATE}/q", {"rate": 1, "path": "kv-v1", "interval": 10})
    told = SimpleNamespace(headers=[])
    handle = server.core.handle

    async def spy(incoming):
        try:
            return await handle(incoming)
        finally:
            told.headers.append(incoming.answer_headers)

    server.core.handle = spy
    await refused(server, "read", "kv-v1/x")
    await server.call("update", "sys/quotas/config", {"enable_rate_limit_response_headers": True})
    await refused(server, "read", "kv-v1/x")
    assert told.headers[0] is None
    assert told.headers[-1]["Retry-After"] == "10"


async def test_requests_counted_together(server):
    await server.call("update", f"{RATE}/q", {"rate": 2, "path": "kv-v1", "interval": 10, "group_by": "none"})
    got = [await refused(server, "read", "kv-v1/x", remote_address=f"10.0.0.{i}") for i in range(3)]
    assert got == [False, False, True]
    shown = (await server.call("read", f"{RATE}/q")).data
    assert (shown["group_by"], shown["secondary_rate"]) == ("none", 0)


async def test_without_an_entity_the_secondary_rate_applies(server):
    await server.call(
        "update", f"{RATE}/q",
        {"rate": 9, "secondary_rate": 1, "path": "kv-v1", "interval": 10, "group_by": "entity_then_ip"},
    )  # fmt: skip
    got = [await refused(server, "read", "kv-v1/x", remote_address=f"10.0.0.{i}") for i in (1, 1, 2)]
    assert got == [False, True, False]


async def test_a_quota_goes_where_its_mount_goes(server):
    await server.call("update", f"{RATE}/q", {"rate": 1, "path": "kv-v1/a", "interval": 10})
    await server.call("update", "sys/remount", {"from": "kv-v1", "to": "moved"})
    assert (await server.call("read", f"{RATE}/q")).data["path"] == "moved/a"
    assert [await refused(server, "read", "moved/a") for _ in range(2)] == [False, True]
    await server.call("delete", "sys/mounts/moved")
    assert not server.core.quotas.limits_rates


async def test_help_and_unknown_paths_count_too(server):
    await server.call("update", "sys/quotas/config", {"rate_limit_exempt_paths": ["sys/*"]})
    await server.call("update", f"{RATE}/q", {"rate": 1, "interval": 10})
    assert [await refused(server, op, "none/x") for op in ("read", "help")] == [False, True]


async def test_only_policies_let_one_set_limits(server):
    weak = await server.token(["default"])
    for op, path in (("update", f"{RATE}/q"), ("read", "sys/quotas/config"), ("list", RATE)):
        with pytest.raises(PermissionDenied):
            await server.call(op, path, {"rate": 1}, token=weak)


async def test_one_entity_is_counted_wherever_it_asks_from(server):
    await server.call("update", "sys/auth/userpass", {"type": "userpass"})
    for name in ("ann", "bob"):
        await server.call("update", f"auth/userpass/users/{name}", {"password": "pass", "token_policies": "all"})
    await server.policy("all", 'path "*" { capabilities = ["read"] }')
    tokens = [
        (await server.call("update", f"auth/userpass/login/{name}", {"password": "pass"}, "")).auth["client_token"]
        for name in ("ann", "ann", "bob")
    ]
    await server.call("update", f"{RATE}/q", {"rate": 1, "path": "kv-v1", "interval": 10, "group_by": "entity_then_ip"})
    got = [
        await refused(server, "read", "kv-v1/x", token=token, remote_address=f"10.0.0.{i}")
        for i, token in enumerate(tokens)
    ]
    assert got == [False, True, False]


async def test_a_limit_for_a_role_of_approle(server):
    await server.call("update", "sys/auth/approle", {"type": "approle"})
    for role in ("a", "b"):
        await server.call("update", f"auth/approle/role/{role}", {"role_id": f"id of {role}"})
    await server.call("update", f"{RATE}/q", {"rate": 1, "path": "auth/approle", "role": "a", "interval": 10})
    got = [
        await refused(server, "update", "auth/approle/login", data={"role_id": f"id of {role}"}, token="")
        for role in ("a", "a", "b")
    ]
    assert got == [False, True, False]


async def test_refusals_are_counted(server):
    await server.call("update", f"{RATE}/q", {"rate": 1, "path": "kv-v1", "interval": 10, "block_interval": 5})
    for _ in range(3):
        await refused(server, "read", "kv-v1/x")
    text = (await server.call("read", "sys/metrics", {"format": "prometheus"})).body.decode()
    assert re.search(r'^vault_quota_rate_limit_violation\{[^}]*name="q"[^}]*\} 2', text, re.M)


@pytest.mark.parametrize("wanted", [False, True])
async def test_refusals_are_audited_when_that_is_wanted(server, tmp_path, wanted):
    log = tmp_path / "log"
    await server.call("update", "sys/audit/file", {"type": "file", "options": {"file_path": str(log)}})
    await server.call("update", "sys/quotas/config", {"enable_rate_limit_audit_logging": wanted})
    await server.call("update", f"{RATE}/q", {"rate": 1, "path": "kv-v1", "interval": 10})
    assert [await refused(server, "read", f"kv-v1/{name}") for name in ("first", "second")] == [False, True]
    text = await asyncio.to_thread(log.read_text)
    assert "kv-v1/first" in text
    assert ("rate limit quota exceeded" in text) == wanted
    assert ("kv-v1/second" in text) == wanted


async def test_namespaces_are_limited(server):
    await server.call("update", "sys/namespaces/a", {})
    await server.call("update", "sys/mounts/kv", {"type": "kv"}, namespace="a/")
    await server.call("update", f"{RATE}/mount", {"rate": 2, "path": "a/kv", "interval": 10})
    await server.call("update", f"{RATE}/all", {"rate": 1, "path": "a/", "interval": 10})
    assert (await server.call("read", f"{RATE}/mount")).data["path"] == "a/kv/"
    assert [await refused(server, "read", "kv/x", namespace="a/") for _ in range(3)] == [False, False, True]
    assert [await refused(server, "read", "cubbyhole/x", namespace="a/") for _ in range(2)] == [False, True]
    assert not await refused(server, "read", "cubbyhole/x")
    await server.call("delete", "sys/namespaces/a")
    assert not server.core.quotas.limits_rates
