"""Namespaces: which one a request goes to, whose tokens reach it, and what is left of one that was deleted."""

from __future__ import annotations

import asyncio

import orjson
import pytest
from caveau.framework.errors import CaveauError, InvalidRequest, NotFound, PermissionDenied, Unavailable
from caveau.server.layout import ROOT
from caveau.tests.server.harness import Server, SlowStore

EVERYTHING = 'path "*" { capabilities = ["create", "read", "update", "patch", "delete", "list", "scan", "sudo"] }'


@pytest.fixture
async def nested():
    """Namespaces ``a``, ``a/b`` and ``z``, a KV at ``kv/`` in each with the secret ``kv/who``, and their admins."""
    server = await Server(SlowStore()).start()
    server.admins = {"": server.root}
    for path in ("a/", "a/b/", "z/"):
        parent, _, name = path[:-1].rpartition("/")
        await server.call("update", f"sys/namespaces/{name}", namespace=f"{parent}/" if parent else "")
        await server.call("update", "sys/mounts/kv", {"type": "kv"}, namespace=path)
        await server.call("update", "kv/who", {"i": path}, namespace=path)
        server.admins[path] = await admin(server, path)
    return server


async def admin(server: Server, path: str, rules: str = EVERYTHING, **params) -> str:
    await server.call("update", "sys/policies/acl/admin", {"policy": rules}, namespace=path)
    body = {"policies": ["admin"]} | params
    return (await server.call("update", "auth/token/create", body, namespace=path)).auth["client_token"]


async def who(server: Server, path: str, token: str | None = None, **where) -> str:
    data = (await server.call("read", path, token=token, **where)).data
    return orjson.loads(orjson.dumps(data))["i"]


async def refused(server: Server, op: str, path: str, token: str, data=None, **where) -> None:
    with pytest.raises(PermissionDenied):
        await server.call(op, path, data, token, **where)


async def deleted(server: Server, path: str) -> None:
    """Wait until a namespace is gone."""
    parent, _, name = path[:-1].rpartition("/")
    await server.call("delete", f"sys/namespaces/{name}", namespace=f"{parent}/" if parent else "")
    await asyncio.gather(*server.core.namespaces._deletions)


# Addressing


@pytest.mark.parametrize(
    ("header", "path"), [("a/b/", "kv/who"), ("a/", "b/kv/who"), ("", "a/b/kv/who")], ids=["header", "both", "path"]
)
async def test_header_and_path_lead_to_the_same_namespace(nested, header, path):
    assert await who(nested, path, namespace=header) == "a/b/"


async def test_an_unknown_namespace_in_the_header_is_not_found_whoever_asks(nested):
    for token in (nested.root, "nonsense", ""):
        with pytest.raises(NotFound, match="namespace not found"):
            await nested.call("read", "kv/who", token=token, namespace="a/nowhere/")


async def test_what_is_of_the_whole_server_is_not_to_be_had_in_a_namespace(nested):
    for path in ("sys/health", "sys/seal", "sys/raw/core/keyring", "sys/rekey/init", "sys/generate-root/attempt",
                 "sys/storage/raft/snapshot", "sys/audit", "sys/config/cors", "sys/quotas/config", "sys/metrics",
                 "sys/host-info", "sys/rotate", "sys/key-status", "sys/step-down"):  # fmt: skip
        for token in (nested.root, nested.admins["a/"], ""):
            with pytest.raises(InvalidRequest, match="namespace"):
                await nested.call("read", path, token=token, namespace="a/")


async def test_a_namespace_begins_with_the_mounts_and_the_policy_that_the_root_one_has(nested):
    mounts = (await nested.call("read", "sys/mounts", namespace="a/")).data
    assert {path: mount["type"] for path, mount in mounts.items()} == {
        "cubbyhole/": "ns_cubbyhole",
        "identity/": "ns_identity",
        "kv/": "kv",
        "sys/": "ns_system",
    }
    assert (await nested.call("read", "sys/auth", namespace="a/")).data["token/"]["type"] == "ns_token"
    root = await nested.call("read", "sys/policies/acl/default")
    assert (await nested.call("read", "sys/policies/acl/default", namespace="a/")).data == root.data


# Tokens


async def test_a_token_serves_in_its_namespace_and_below_and_nowhere_else(nested):
    for home in ("a/", "a/b/", "z/"):
        for target in ("a/", "a/b/", "z/", ""):
            token, path = nested.admins[home], "kv/who" if target else "sys/mounts"
            if target.startswith(home):
                assert await who(nested, path, token, namespace=target) == target
            else:
                await refused(nested, "read", path, token, namespace=target)
                await refused(nested, "read", "auth/token/lookup-self", token, namespace=target)


async def test_policies_of_a_namespace_name_the_paths_of_those_below_it(nested):
    token = await admin(nested, "a/", 'path "b/kv/*" { capabilities = ["read"] }')
    assert await who(nested, "kv/who", token, namespace="a/b/") == "a/b/"
    assert await who(nested, "b/kv/who", token, namespace="a/") == "a/b/"
    await refused(nested, "read", "kv/who", token, namespace="a/")
    await refused(nested, "delete", "kv/who", token, namespace="a/b/")


async def test_texts_accessors_and_answers_name_the_namespace(nested):
    id_ = (await nested.call("read", "sys/namespaces/a")).data["id"]
    for kind in ("service", "batch"):
        token = await admin(nested, "a/", type=kind)
        assert token.endswith(f".{id_}")
        data = (await nested.call("read", "auth/token/lookup-self", token=token, namespace="a/")).data
        assert data["namespace_path"] == "a/"
        assert not data["accessor"] or data["accessor"].endswith(f".{id_}")


async def test_text_of_a_token_under_the_name_of_another_namespace_is_no_token(nested):
    for kind in ("service", "batch"):
        bare = (await admin(nested, "a/", type=kind)).rpartition(".")[0]
        ids = [(await nested.call("read", f"sys/namespaces/{name}")).data["id"] for name in ("a", "z")]
        for text, where in ((bare, ""), (bare, "a/"), (f"{bare}.{ids[1]}", "z/"), (f"{bare}.{ids[0]}x", "a/")):
            await refused(nested, "read", "auth/token/lookup-self", text, namespace=where)


@pytest.mark.parametrize(
    "op", ["lookup", "renew", "revoke", "revoke-orphan", "lookup-accessor", "renew-accessor", "revoke-accessor"]
)
async def test_tokens_of_other_namespaces_cannot_be_managed(nested, op):
    for mine, other in (("z/", "a/"), ("a/b/", "a/"), ("a/", "")):
        victim = nested.admins[other] if other else await nested.token(["default"])
        shown = (await nested.call("read", "auth/token/lookup-self", token=victim, namespace=other)).data
        data = {"accessor": shown["accessor"]} if "accessor" in op else {"token": victim}
        try:
            answer = await nested.call("update", f"auth/token/{op}", data, nested.admins[mine], namespace=mine)
            assert not answer.data
        except CaveauError:
            pass
        again = await nested.call("read", "auth/token/lookup-self", token=victim, namespace=other)
        assert again.data["expire_time"] == shown["expire_time"]


async def test_a_token_made_from_above_dies_with_its_parent(nested):
    parent = await admin(nested, "a/")
    child = (await nested.call("update", "auth/token/create", {}, parent, namespace="a/b/")).auth
    assert child["policies"] == ("default",)
    await nested.call("update", "auth/token/revoke-self", token=parent, namespace="a/")
    await refused(nested, "read", "auth/token/lookup-self", child["client_token"], namespace="a/b/")


async def test_no_token_of_a_child_namespace_is_root(nested):
    for data in ({"policies": ["root"]}, {"policies": [" ROOT "]}, {"id": "chosen"}):
        for token in (nested.root, nested.admins["a/"]):
            with pytest.raises(InvalidRequest):
                await nested.call("update", "auth/token/create", data, token, namespace="a/")
    weak = await admin(nested, "a/", 'path "b/auth/token/create" { capabilities = ["update"] }')
    with pytest.raises(InvalidRequest, match="child namespace"):
        await nested.call("update", "auth/token/create", {"policies": ["admin"]}, weak, namespace="a/b/")


async def test_there_is_no_root_policy_in_a_namespace(nested):
    assert (await nested.call("list", "sys/policies/acl", namespace="a/")).data["keys"] == ["admin", "default"]
    node = await nested.core.namespaces.node(nested.core.namespaces.at("a/"))
    acl = await node.policies.acl(node.store, ("root",))
    assert not acl.allow("read", "kv/who").allowed


async def test_tokens_end_in_namespaces_that_nobody_uses(nested):
    await admin(nested, "z/", ttl="10s")
    before = len(await nested.keys_stored())
    await nested.seal()
    await nested.unseal()
    nested.clock.advance(11)
    await nested.core.namespaces.reap()
    assert len(await nested.keys_stored()) == before - 2 - 2  # token, parent's pointer, lease, its end


async def test_cubbyholes_are_of_one_namespace_and_end_with_their_token_everywhere(nested):
    before = set(await nested.keys_stored())
    token = await admin(nested, "a/", ttl="1h")
    for path in ("a/", "a/b/"):
        await nested.call("update", "cubbyhole/x", {"i": path}, token, namespace=path)
    for path in ("a/", "a/b/"):
        assert await who(nested, "cubbyhole/x", token, namespace=path) == path
    await nested.call("update", "auth/token/revoke-self", token=token, namespace="a/")
    assert set(await nested.keys_stored()) == before


async def test_a_wrapped_answer_is_fetched_from_any_namespace_by_its_token_alone(nested):
    for made_in, fetch_in, token_in_body in (
        ("a/", "z/", False), ("a/", "", True), ("a/", "a/", False), ("a/", "a/b/", True), ("", "a/", False),
    ):  # fmt: skip
        path = "kv/who" if made_in else "z/kv/who"
        wrapped = await nested.call("read", path, token=nested.admins[made_in], namespace=made_in, wrap_ttl=60.0)
        token = wrapped.wrap_info.token
        if token_in_body:
            body, caller = {"token": token}, nested.admins[fetch_in]
        else:
            body, caller = {}, token
        answer = await nested.call("update", "sys/wrapping/unwrap", body, caller, namespace=fetch_in)
        assert answer.data["data"] == {"i": made_in or "z/"}
        with pytest.raises(CaveauError):
            await nested.call("update", "sys/wrapping/unwrap", body, caller, namespace=fetch_in)


async def test_uses_of_a_token_are_counted_over_all_namespaces(nested):
    token = await admin(nested, "a/", num_uses=2)
    await who(nested, "kv/who", token, namespace="a/")
    await who(nested, "kv/who", token, namespace="a/b/")
    await refused(nested, "read", "kv/who", token, namespace="a/")


async def test_capabilities_are_told_for_paths_as_the_namespace_of_the_request_names_them(nested):
    token = await admin(nested, "a/", 'path "b/kv/*" { capabilities = ["read"] }')

    async def told(namespace: str, *paths: str) -> list[list[str]]:
        answer = await nested.call(
            "update", "sys/capabilities", {"token": token, "paths": list(paths)}, namespace=namespace
        )
        return [answer.data[path] for path in paths]

    assert await told("a/", "b/kv/x", "kv/x") == [["read"], ["deny"]]
    assert await told("a/b/", "kv/x", "b/kv/x") == [["read"], ["deny"]]
    assert await told("", "a/b/kv/x", "b/kv/x") == [["read"], ["deny"]]


# The namespaces themselves


async def test_names_that_cannot_be(nested):
    for name in ("root", "sys", "auth", "cubbyhole", "identity", "audit", "x/y", "x y", "x+", "x*", "kv", "n" * 129):
        with pytest.raises(InvalidRequest):
            await nested.call("update", f"sys/namespaces/{name}", namespace="a/")


async def test_mounts_and_namespaces_do_not_hide_each_other(nested):
    for path in ("a", "a/x", "z/x/y"):
        with pytest.raises(InvalidRequest, match="in use"):
            await nested.call("update", f"sys/mounts/{path}", {"type": "kv"})
    await nested.call("update", "sys/mounts/ab", {"type": "kv"})
    with pytest.raises(InvalidRequest, match="in use"):
        await nested.call("update", "sys/remount", {"from": "ab", "to": "a/x"})


async def test_of_rivals_for_one_name_one_wins(nested):
    calls = [nested.call("update", "sys/namespaces/new") for _ in range(4)]
    calls.append(nested.call("update", "sys/mounts/new", {"type": "kv"}))
    answers = await asyncio.gather(*calls, return_exceptions=True)
    made = {each.data["id"] for each in answers if not isinstance(each, Exception) and each.data}
    mounted = "new/" in (await nested.call("read", "sys/mounts")).data
    assert len(made) + mounted == 1
    assert len(await nested.store.list("core/namespaces/")) == 3 + len(made)


async def test_a_child_made_while_its_parent_is_deleted_is_not_left_over(nested):
    await asyncio.gather(
        nested.call("delete", "sys/namespaces/z"),
        nested.call("update", "sys/namespaces/late", namespace="z/"),
        return_exceptions=True,
    )
    await asyncio.gather(*nested.core.namespaces._deletions)
    listed = (await nested.call("scan", "sys/namespaces")).data["keys"]
    assert ("z/" in listed) == ("z/late/" in listed)


async def test_lists_show_what_is_below(nested):
    assert (await nested.call("list", "sys/namespaces")).data["keys"] == ["a/", "z/"]
    assert (await nested.call("scan", "sys/namespaces")).data["keys"] == ["a/", "a/b/", "z/"]
    assert (await nested.call("scan", "sys/namespaces", namespace="a/")).data["keys"] == ["b/"]
    with pytest.raises(NotFound):
        await nested.call("list", "sys/namespaces", namespace="a/b/")


async def test_notes_are_set_patched_and_kept(nested):
    await nested.call("update", "sys/namespaces/a", {"custom_metadata": {"x": "1", "y": "2"}})
    changed = await nested.call("patch", "sys/namespaces/a", {"custom_metadata": {"x": None, "z": "3"}})
    assert changed.data["custom_metadata"] == {"y": "2", "z": "3"}
    await nested.seal()
    await nested.unseal()
    assert (await nested.call("read", "sys/namespaces/a")).data["custom_metadata"] == {"y": "2", "z": "3"}
    for bad in ({"x": 1}, {"x" * 129: "1"}, {"x": "1" * 513}, {str(i): "" for i in range(65)}):
        with pytest.raises(InvalidRequest):
            await nested.call("patch", "sys/namespaces/a", {"custom_metadata": bad})


async def test_a_deleted_namespace_leaves_nothing_and_its_tokens_serve_no_more(nested):
    before = set(await nested.keys_stored())
    await nested.call("update", "sys/namespaces/doomed")
    await nested.call("update", "sys/mounts/kv", {"type": "kv-v2"}, namespace="doomed/")
    for i in range(600):
        await nested.call("update", f"kv/data/{i}", {"data": {"x": i}}, namespace="doomed/")
    token = await admin(nested, "doomed/", no_parent=True)
    await deleted(nested, "doomed/")
    assert set(await nested.keys_stored()) == before
    for where in ("", "a/"):
        await refused(nested, "read", "auth/token/lookup-self", token, namespace=where)
    with pytest.raises(NotFound):
        await nested.call("read", "sys/namespaces/doomed")


async def test_a_deletion_that_was_cut_off_goes_on_after_the_next_unseal(nested):
    before = set(await nested.keys_stored())
    await nested.call("update", "sys/namespaces/doomed")
    await admin(nested, "doomed/", no_parent=True)
    await nested.call("delete", "sys/namespaces/doomed")
    await nested.seal()
    assert set(await nested.keys_stored()) > before
    await nested.unseal()
    await asyncio.gather(*nested.core.namespaces._deletions)
    assert set(await nested.keys_stored()) == before


async def test_a_namespace_being_deleted_is_shown_and_answers_no_more(nested, monkeypatch):
    gate = asyncio.Event()

    async def held(txn, namespace):
        await gate.wait()
        return False

    monkeypatch.setattr(nested.core.namespaces, "_delete_some", held)
    await nested.call("delete", "sys/namespaces/z")
    assert (await nested.call("read", "sys/namespaces/z")).data["tainted"] is True
    await refused(nested, "read", "auth/token/lookup-self", nested.admins["z/"])
    with pytest.raises(NotFound):
        await nested.call("read", "kv/who", namespace="z/")
    with pytest.raises(InvalidRequest, match="being deleted"):
        await nested.call("update", "sys/namespaces/z", {"custom_metadata": {"a": "b"}})
    gate.set()


async def test_what_has_children_is_not_deleted(nested):
    with pytest.raises(InvalidRequest, match="containing child"):
        await nested.call("delete", "sys/namespaces/a")


async def test_a_locked_namespace_answers_nobody_until_it_is_unlocked(nested):
    key = (await nested.call("update", "sys/namespaces/api-lock/lock/a")).data["unlock_key"]
    assert key.encode() not in b"".join((await nested.plain()).values())
    for where in ("a/", "a/b/"):
        for token in (nested.root, nested.admins["a/"], "nonsense"):
            with pytest.raises(Unavailable, match='"a/" must be unlocked'):
                await nested.call("read", "kv/who", token=token, namespace=where)
    assert await who(nested, "kv/who", namespace="z/") == "z/"
    await nested.seal()
    await nested.unseal()
    with pytest.raises(Unavailable):
        await nested.call("read", "kv/who", namespace="a/")
    unlocker = await admin(nested, "", 'path "sys/namespaces/api-lock/*" { capabilities = ["update"] }')
    for wrong in ("", "x" + key[1:]):
        with pytest.raises(InvalidRequest):
            await nested.call("update", "sys/namespaces/api-lock/unlock/a", {"unlock_key": wrong}, unlocker)
    await nested.call("update", "sys/namespaces/api-lock/unlock/a", {"unlock_key": key}, unlocker)
    assert await who(nested, "kv/who", namespace="a/b/") == "a/b/"


async def test_locking_from_inside_and_unlocking_with_sudo(nested):
    await nested.call("update", "sys/namespaces/api-lock/lock", token=nested.admins["a/"], namespace="a/")
    with pytest.raises(InvalidRequest, match="already locked"):
        await nested.call("update", "sys/namespaces/api-lock/lock/a")
    answer = await nested.call("update", "sys/namespaces/api-lock/unlock", {}, nested.admins["a/"], namespace="a/")
    assert answer.warnings == ["Namespace unlocked using sudo capabilities"]
    with pytest.raises(InvalidRequest, match="root namespace"):
        await nested.call("update", "sys/namespaces/api-lock/lock")


async def test_the_interface_lists_the_namespaces_a_token_may_enter(nested):
    token = await admin(nested, "", 'path "a/b/kv/*" { capabilities = ["read"] }')
    assert (await nested.call("read", "sys/internal/ui/namespaces", token=token)).data == {"keys": ["a/"]}
    assert (await nested.call("read", "sys/internal/ui/namespaces")).data == {"keys": ["a/", "z/"]}
    assert (await nested.call("read", "sys/internal/ui/namespaces", token=await nested.token(["default"]))).data == {}


async def test_the_mount_of_a_path_is_found_in_namespaces_below(nested):
    asked = await nested.call("read", "sys/internal/ui/mounts/b/kv/who", token=nested.admins["a/"], namespace="a/")
    assert asked.data["path"] == "b/kv/"
    await refused(nested, "read", "sys/internal/ui/mounts/z/kv/who", await nested.token(["default"]))


# Many


async def test_namespaces_are_loaded_when_they_are_first_used(nested):
    await nested.seal()
    await nested.unseal()
    namespaces = nested.core.namespaces
    assert not namespaces._open
    await who(nested, "kv/who", nested.admins["z/"], namespace="z/")
    assert [each.node.namespace.path for each in namespaces._open.values()] == ["z/"]
    assert namespaces.at("") is ROOT
