"""One request's way: token, route, policy, engine, commit; and what happens when others are on the way too."""

from __future__ import annotations

import asyncio

import orjson
import pytest
from caveau.framework.errors import (
    CaveauError,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    Sealed,
    Unavailable,
    UnsupportedOperation,
    UnsupportedPath,
)
from caveau.storage.inmem import InmemStore
from caveau.tests.server.harness import Server, SlowStore


async def outcome(server: Server, op: str, path: str, data=None, token=None, **incoming) -> tuple[int, str]:
    """Status and text of a request that fails, or 200 and nothing."""
    try:
        await server.call(op, path, data, token, **incoming)
    except CaveauError as error:
        return error.status, str(error)
    return 200, ""


@pytest.fixture
async def slow():
    """A server on a store on which everything takes a while."""
    made = await Server(SlowStore()).start(("kv-v1", "kv-v2"))
    yield made
    await made.core.stop()


# What policy lets through

CAPABILITIES = {
    "read": "read", "create": "update", "update": "update", "delete": "delete", "list": "list", "patch": "patch",
}  # fmt: skip


@pytest.mark.parametrize("granted", CAPABILITIES)
async def test_each_operation_needs_its_own_capability(server, granted):
    await server.policy("p", f'path "kv-v2/*" {{ capabilities = ["{granted}"] }}')
    token = await server.token(["p"])
    await server.call("update", "kv-v2/data/old", {"data": {"x": 1}})
    requests = {
        "read": ("read", "kv-v2/data/old"),
        "create": ("update", "kv-v2/data/new"),
        "update": ("update", "kv-v2/data/old"),
        "patch": ("patch", "kv-v2/data/old"),
        "list": ("list", "kv-v2/metadata"),
        "delete": ("delete", "kv-v2/data/old"),
    }
    for needed, (op, path) in requests.items():
        status, _ = await outcome(server, op, path, {"data": {"y": 2}} if op in ("update", "patch") else None, token)
        assert status == (200 if needed == granted else 403), needed


@pytest.mark.parametrize("mount", ["kv-v1/", "kv-v2/data/", "cubbyhole/"])
async def test_create_and_update_are_told_apart_by_what_is_there(server, mount):
    body = {"data": {"x": 1}}
    await server.policy("creator", f'path "{mount}*" {{ capabilities = ["create"] }}')
    await server.policy("updater", f'path "{mount}*" {{ capabilities = ["update"] }}')
    creator = await server.token(["creator"], no_default_policy=True)
    updater = await server.token(["updater"], no_default_policy=True)
    assert (await outcome(server, "update", f"{mount}a", body, updater))[0] == 403
    assert (await outcome(server, "update", f"{mount}a", body, creator))[0] == 200
    assert (await outcome(server, "update", f"{mount}a", body, creator))[0] == 403
    assert (await outcome(server, "update", f"{mount}a", body, updater))[0] == (403 if "cubby" in mount else 200)


async def test_sudo_paths_need_sudo(server):
    await server.policy("all", 'path "*" { capabilities = ["create", "read", "update", "delete", "list"] }')
    await server.policy("sudo", 'path "sys/*" { capabilities = ["read", "update", "delete", "list", "sudo"] }')
    weak, strong = await server.token(["all"]), await server.token(["all", "sudo"])
    assert (await outcome(server, "list", "auth/token/accessors", token=weak))[0] == 403
    assert (await outcome(server, "update", "sys/seal", token=weak))[0] == 403
    assert not server.core.sealed
    assert (await outcome(server, "update", "sys/rotate", token=weak))[0] == 403
    assert (await outcome(server, "update", "sys/rotate", token=strong))[0] == 200


async def test_a_refused_request_tells_nothing(server):
    """There or not, mounted or not, right or wrong: the answers to who may not ask are the same."""
    await server.call("update", "kv-v1/there", {"x": 1})
    await server.call("update", "kv-v2/data/there", {"data": {"x": 1}})
    weak = await server.token(["default"])
    for token, told in ((weak, "1 error occurred:\n\t* permission denied\n\n"), ("", "permission denied"),
                        ("garbage", "permission denied")):  # fmt: skip
        for op, path, body in (
            ("read", "kv-v1/there", None), ("read", "kv-v1/absent", None), ("read", "kv-v2/data/there", None),
            ("read", "kv-v2/data/absent", None), ("read", "kv-v2/no-such-path", None), ("list", "kv-v1/", None),
            ("read", "nothing/mounted/here", None), ("update", "kv-v1/there", {"x": 2}), ("update", "kv-v1/absent", {}),
            ("update", "kv-v2/data/there", {"options": {"cas": 7}, "data": {}}), ("delete", "kv-v1/absent", None),
            ("update", "kv-v2/config", {"max_versions": 3}), ("read", "sys/mounts/no-such-mount", None),
            ("update", "kv-v2/data/there", {"data": "no map"}), ("update", "kv-v2/data/absent", {"data": 1}),
            ("update", "auth/token/roles/x", {"orphan": "x"}), ("update", "auth/token/create", {"num_uses": "x"}),
            ("read", "auth/none/x", None), ("header", "kv-v1/there", None), ("scan", "kv-v1/", None),
        ):  # fmt: skip
            assert await outcome(server, op, path, body, token) == (403, told), (op, path)
    assert (await server.call("read", "kv-v2/data/there")).data["metadata"]["version"] == 1


async def test_who_may_ask_is_told_what_is_wrong(server):
    for op, path, error in (
        ("read", "nothing/mounted/here", UnsupportedPath), ("read", "kv-v1/absent", NotFound),
        ("read", "auth/token/none", UnsupportedPath), ("delete", "sys/seal-status", UnsupportedOperation),
        ("header", "kv-v1/x", UnsupportedOperation), ("update", "kv-v1/x/", InvalidRequest),
    ):  # fmt: skip
        with pytest.raises(error):
            await server.call(op, path)


async def test_paths_without_a_token_ignore_what_is_no_token(server):
    expired = await server.token(["default"], ttl="1h")
    spent = await server.token(["default"], num_uses=1)
    await server.call("read", "auth/token/lookup-self", token=spent)
    elsewhere = await server.token(["default"], at=await _far_role(server))
    server.clock.advance(7200)
    for token in ("", "garbage", "hvb.garbage", "hvs." + "x" * 24, "\udcff", expired, spent, elsewhere):
        for path in ("sys/health", "sys/seal-status"):
            assert (await server.call("read", path, token=token)).data
        if token:
            with pytest.raises(PermissionDenied):
                await server.call("read", "sys/internal/ui/mounts", token=token)


async def _far_role(server: Server) -> str:
    await server.call("update", "auth/token/roles/far", {"token_bound_cidrs": "10.0.0.0/8"})
    return "auth/token/create/far"


async def test_paths_without_a_token_take_no_use(server):
    token = await server.token(["default"], num_uses=1)
    for _ in range(3):
        await server.call("read", "sys/seal-status", token=token)
    await server.call("read", "auth/token/lookup-self", token=token)


async def test_deleting_a_policy_disarms_tokens_at_once(server):
    await server.policy("p", 'path "kv-v1/*" { capabilities = ["create", "read"] }')
    token = await server.token(["p"])
    await server.call("update", "kv-v1/x", {"a": 1}, token)
    await server.policy("p", 'path "kv-v1/*" { capabilities = ["create"] }')
    with pytest.raises(PermissionDenied):
        await server.call("read", "kv-v1/x", token=token)
    await server.call("delete", "sys/policies/acl/p")
    with pytest.raises(PermissionDenied):
        await server.call("update", "kv-v1/y", {"a": 1}, token)


@pytest.mark.parametrize("limit", ["x", "0x10", "1.5", "", "-1", "99", ["1", "2"], " 9 ", "9" * 5000])
@pytest.mark.parametrize("path", ["kv-v2/metadata", "kv-v1"])
async def test_no_limit_gets_round_the_policys(server, path, limit):
    await server.policy("p", 'path "kv-v*" { capabilities = ["list"] pagination_limit = 3 }')
    token = await server.token(["p"])
    for i in range(20):
        await server.call("update", f"kv-v2/data/{i}", {"data": {}})
    try:
        response = await server.call("list", path, {"limit": limit}, token)
    except CaveauError as error:
        assert error.status < 500  # noqa: PT017
    else:
        assert len(response.data["keys"]) <= 3


# Side by side


async def test_concurrent_patches_lose_nothing(slow):
    """Each request runs again until what it read is what it changes."""
    await slow.call("update", "kv-v2/data/n", {"data": {"start": 0}})
    await asyncio.gather(*(slow.call("patch", "kv-v2/data/n", {"data": {f"k{i}": i}}) for i in range(40)))
    read = await slow.call("read", "kv-v2/data/n")
    assert read.data["metadata"]["version"] == 41
    assert orjson.loads(_text(read)) == {"start": 0} | {f"k{i}": i for i in range(40)}


def _text(response) -> bytes:
    return orjson.dumps(response.data["data"])


async def test_a_counter_by_check_and_set_counts_every_success(slow):
    await slow.call("update", "kv-v2/data/n", {"data": {"count": 0}})

    async def increment() -> None:
        while True:
            read = await slow.call("read", "kv-v2/data/n")
            count, version = int(_text(read).split(b":")[1][:-1]), read.data["metadata"]["version"]
            body = {"data": {"count": count + 1}, "options": {"cas": version}}
            if (await outcome(slow, "update", "kv-v2/data/n", body))[0] == 200:
                return

    await asyncio.gather(*(increment() for _ in range(100)))
    assert _text(await slow.call("read", "kv-v2/data/n")) == b'{"count":100}'


async def test_only_one_of_many_creates_what_must_be_new(slow):
    body = {"data": {"x": 1}, "options": {"cas": 0}}
    found = await asyncio.gather(*(outcome(slow, "update", "kv-v2/data/new", body) for _ in range(20)))
    assert sorted(status for status, _ in found) == [200] + [400] * 19


class GatedStore(InmemStore):
    """Reads of keys that end in ``/gate`` wait until the gate is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.opened = asyncio.Event(), asyncio.Event()

    async def get(self, key: str) -> bytes | None:
        if key.endswith("/gate"):
            self.reached.set()
            await self.opened.wait()
        return await super().get(key)


@pytest.fixture
async def gated():
    """A server that holds requests for ``kv-v1/gate``, once past their token, until ``store.opened`` is set."""
    made = await Server(GatedStore()).start(("kv-v1",))
    await made.policy("p", 'path "kv-v1/*" { capabilities = ["create", "update"] }')
    yield made
    await made.core.stop()


@pytest.mark.parametrize("fields", [{}, {"num_uses": 5}, {"num_uses": 1}])
async def test_nothing_is_written_by_a_token_that_was_revoked_meanwhile(gated, fields):
    token = await gated.token(["p"], **fields)
    accessor = (await gated.lookup(token))["accessor"]
    write = asyncio.create_task(gated.call("update", "kv-v1/gate", {"a": 1}, token))
    await gated.store.reached.wait()
    if fields.get("num_uses") == 1:  # spent, and so nobody's but this request's: revoked by its key
        await gated.node.store.run(lambda txn: gated.node.tokens.revoke(txn, gated.node.tokens.hash(token)))
    else:
        await gated.call("update", "auth/token/revoke-accessor", {"accessor": accessor})
    gated.store.opened.set()
    with pytest.raises(PermissionDenied):
        await write
    with pytest.raises(NotFound):
        await gated.call("read", "kv-v1/gate")


async def test_the_last_use_does_not_end_the_others_under_way(gated):
    token = await gated.token(["p"], num_uses=2)
    first = asyncio.create_task(gated.call("update", "kv-v1/gate", {"a": 1}, token))
    await gated.store.reached.wait()
    await gated.call("update", "kv-v1/other", {"a": 1}, token)
    assert not await gated.alive(token)
    gated.store.opened.set()
    await first
    assert (await gated.call("read", "kv-v1/gate")).data
    assert len(await gated.keys_stored("namespaces/root/sys/token/id/")) == 1


async def test_a_last_use_is_answered_though_sealing_keeps_its_token_from_being_removed(gated):
    await gated.call("update", "kv-v1/a", {"a": 1})
    await gated.policy("p", 'path "kv-v1/*" { capabilities = ["read"] }')
    token = await gated.token(["p"], num_uses=1)
    read = asyncio.create_task(gated.call("read", "kv-v1/gate", token=token))
    await gated.store.reached.wait()
    await gated.seal()
    gated.store.opened.set()
    with pytest.raises(NotFound):
        await read
    await gated.unseal()
    assert not await gated.alive(token)


async def test_a_wrapped_answer_is_given_once(slow):
    """By its own token, and by others that name it, all at the same time."""
    for delay in range(12):
        wrapped = await slow.call("update", "sys/wrapping/wrap", {"x": 1}, wrap_ttl=60.0)
        token = wrapped.wrap_info.token

        async def unwrap(wait: int, data, by, slow=slow):
            for _ in range(wait):
                await asyncio.sleep(0)
            return await outcome(slow, "update", "sys/wrapping/unwrap", data, by)

        found = await asyncio.gather(
            unwrap(0, {}, token), unwrap(delay, {"token": token}, None), unwrap(delay // 2, {"token": token}, None)
        )
        assert [status for status, _ in found].count(200) == 1, (delay, found)
        assert all(status in (200, 400, 403) for status, _ in found)


async def test_a_response_asked_for_wrapped_is_not_told(server):
    await server.call("update", "kv-v1/x", {"secret": "told-to-nobody"})
    response = await server.call("read", "kv-v1/x", wrap_ttl=60.0)
    assert response.data is None
    assert response.wrap_info.creation_path == "kv-v1/x"
    token = response.wrap_info.token
    opened = await server.call("update", "sys/wrapping/unwrap", token=token)
    assert opened.data["data"] == {"secret": "told-to-nobody"}
    assert not await server.alive(token)


# Sealing


async def test_requests_in_flight_when_the_server_seals_end_with_503_or_are_done(slow):
    """Whatever the moment: no internal errors, and nothing half done."""
    requests = [
        ("update", "kv-v2/data/x", {"data": {"a": 1}}), ("read", "kv-v2/data/old", None), ("list", "kv-v1", None),
        ("update", "auth/token/create", {"policies": ["default"]}), ("update", "cubbyhole/a", {"x": 1}),
        ("update", "sys/policies/acl/p", {"policy": ""}), ("update", "sys/mounts/more", {"type": "kv"}),
        ("delete", "sys/mounts/more", None), ("read", "no/such/path", None), ("read", "sys/mounts", None),
        ("update", "auth/token/tidy", None),
    ]  # fmt: skip
    await slow.call("update", "kv-v2/data/old", {"data": {"a": 1}})
    for delay in range(40):
        limited = await slow.token(["root"], num_uses=len(requests), ttl="1h")
        victim = await slow.token(["default"])
        await slow.call("update", "cubbyhole/x", {"a": 1}, victim)
        calls = [outcome(slow, op, path, data, token) for op, path, data in requests for token in (None, limited)]
        calls += [
            outcome(slow, "update", "auth/token/revoke", {"token": victim}),
            outcome(slow, "read", "sys/mounts", wrap_ttl=60.0),
            outcome(slow, "update", "auth/token/revoke-self", token=await slow.token(["default"])),
        ]

        async def seal(delay=delay):
            for _ in range(delay):
                await asyncio.sleep(0)
            await slow.seal()

        *found, _ = await asyncio.gather(*calls, seal())
        assert not [(status, text) for status, text in found if status >= 500 and status != 503], delay
        assert await outcome(slow, "read", "sys/mounts") == (503, "Vault is sealed")
        await slow.unseal()
        plain = await slow.plain()
        tokens = {key.rpartition("/")[2] for key in plain if "/sys/token/id/" in key}
        cubbyhole = slow.node.router.get("cubbyhole/").prefix
        assert {key.removeprefix(cubbyhole).partition("/")[0] for key in plain if key.startswith(cubbyhole)} <= tokens
        for key in plain:
            if "/sys/token/parent/" in key:
                assert key.rpartition("/")[2] in tokens
            if "/sys/expire/" in key:
                assert key.rpartition("token.")[2] in tokens
        await outcome(slow, "delete", "sys/mounts/more")


async def test_a_request_that_outlives_sealing_and_unsealing_changes_nothing(gated):
    """What it read may have changed since, and the unsealed server would not see what it writes."""
    gated.store.opened.set()
    await gated.call("update", "kv-v1/gate", {"old": 1})
    gated.store.opened.clear()
    await gated.seal()
    await gated.unseal()
    gated.store.reached.clear()
    late = asyncio.create_task(outcome(gated, "update", "kv-v1/gate", {"late": 1}))
    await gated.store.reached.wait()
    await gated.seal()
    await gated.unseal()
    gated.store.opened.set()
    assert (await late)[0] == 503
    assert orjson.dumps((await gated.call("read", "kv-v1/gate")).data) == b'{"old":1}'


async def test_a_sealed_server_refuses_everything_alike(server):
    token = await server.token(["default"])
    await server.seal()
    for op, path, by in (("read", "kv-v1/x", token), ("read", "none", ""), ("update", "auth/token/create", server.root),
                         ("read", "sys/mounts", "garbage"), ("list", "kv-v1", server.root)):  # fmt: skip
        with pytest.raises(Sealed):
            await server.call(op, path, token=by)
    assert (await server.call("read", "sys/seal-status", token="")).data["sealed"]


async def test_a_spent_token_stays_spent_when_sealing_kept_it_from_being_removed(server):
    """Its last use was counted; the removal that follows the request met a sealed barrier."""
    token = await server.token(["default"], num_uses=1)
    key = server.node.tokens.hash(token)
    await server.node.store.run(lambda txn: server.node.tokens.use(txn, key))
    await server.seal()
    await server.unseal()
    assert not await server.alive(token)
    with pytest.raises(PermissionDenied):
        await server.call("read", "auth/token/lookup-self", token=token)


async def test_a_request_that_always_conflicts_gives_up(slow):
    """Another request changes what this one reads, every time: 503, and nothing of it is stored."""

    async def meddle(other):
        other.put("a", b"x")

    async def always(txn):
        await txn.get("a")
        await slow.node.store.run(meddle)
        txn.put("b", b"y")

    with pytest.raises(Unavailable):
        await slow.node.store.run(always)
    assert await slow.node.store.get("b") is None
