"""Tokens as the store keeps them: how they live, end, and what is left of them (nothing)."""

from __future__ import annotations

import asyncio
import string
from collections import Counter

import pytest
from caveau.framework.cidr import address_in
from caveau.framework.errors import CaveauError, InvalidRequest, PermissionDenied
from caveau.server.tokens import TokenEntry, random_id
from caveau.tests.server.harness import Server, SlowStore

MAKER = 'path "auth/token/create" { capabilities = ["update"] }'


def entry(server: Server, **fields) -> TokenEntry:
    return TokenEntry("", ("default",), "auth/token/create", server.clock.time(), **fields)


async def grow(server: Server, parents: list[str]) -> list[str]:
    """A chain or bush of tokens without requests: each is a child of the key given for it."""
    tokens, texts = server.node.tokens, []

    async def make(txn):
        for parent in parents:
            made, text = await tokens.create(txn, entry(server, parent=parent))
            texts.append((made.key, text))

    await server.node.store.run(make)
    return texts


async def test_text_of_a_token_is_nowhere_in_the_store(server):
    await server.policy("maker", MAKER)
    texts = [
        await server.token(["default"]),
        await server.token(["default"], id="chosen-by-hand"),
        await server.token(["default"], type="batch"),
        await server.token(["maker"], num_uses=3, period="1h"),
        server.root,
    ]
    wrapped = await server.call("read", "sys/mounts", wrap_ttl=60.0)
    texts.append(wrapped.wrap_info.token)
    raw = b"\n".join([*(await server.plain()).values(), *server.store._values.values()])
    names = "\n".join(await server.keys_stored())
    for text in texts:
        assert text.encode() not in raw
        assert text.split(".", 1)[-1].encode() not in raw
        assert text not in names


async def test_revoking_a_token_leaves_nothing_of_it(server):
    before = set(await server.plain())
    parent = await server.token(["default"], ttl="1h")
    await server.call("update", "cubbyhole/a/b", {"x": 1}, parent)
    await server.call("update", "cubbyhole/c", {"x": 1}, parent)
    assert set(await server.plain()) > before
    await server.call("update", "auth/token/revoke", {"token": parent})
    assert set(await server.plain()) == before


async def test_revoke_orphan_spares_the_children_and_their_own(server):
    await server.policy("maker", MAKER)
    parent = await server.token(["maker"])
    child = await server.token(["maker"], by=parent)
    grandchild = await server.token(by=child)
    await server.call("update", "auth/token/revoke-orphan", {"token": parent})
    assert not await server.alive(parent)
    assert (await server.lookup(child))["orphan"]
    assert not (await server.lookup(grandchild))["orphan"]
    await server.call("update", "auth/token/revoke", {"token": child})
    assert not await server.alive(grandchild)


async def test_an_orphan_outlives_its_creator(server):
    await server.policy("maker", MAKER + ' path "auth/token/create-orphan" { capabilities = ["update", "sudo"] }')
    creator = await server.token(["maker"])
    child, orphan = await server.token(by=creator), await server.token(by=creator, at="auth/token/create-orphan")
    await server.call("update", "auth/token/revoke", {"token": creator})
    assert (await server.alive(child), await server.alive(orphan)) == (False, True)


@pytest.mark.parametrize("uses", [1, 2, 5])
async def test_exactly_so_many_uses_whatever_is_asked(server, uses):
    """Answered, refused, and for paths that are not there: each counts as one use."""
    asked = [("read", "auth/token/lookup-self"), ("read", "sys/mounts"), ("read", "no/such/path"),
             ("read", "auth/token/no-such-path"), ("read", "cubbyhole/x"), ("read", "sys/policies/acl/x")]  # fmt: skip
    for first in range(len(asked)):
        token = await server.token(["default"], num_uses=uses)
        statuses = []
        for i in range(uses + 2):
            op, path = asked[(first + i) % len(asked)]
            try:
                await server.call(op, path, token=token)
                statuses.append("answered")
            except CaveauError as error:
                statuses.append(str(error))
        assert statuses[uses:] == ["permission denied"] * 2
        assert "permission denied" not in statuses[:uses]
        assert not await server.alive(token)


async def test_uses_are_counted_once_each_when_everybody_comes_at_once():
    server = await Server(SlowStore()).start(("kv-v2",))
    token = await server.token(["root"], num_uses=20, ttl="1h")

    async def use(i: int) -> bool:
        try:
            await server.call("update" if i % 2 else "read", "cubbyhole/x" if i % 2 else "sys/mounts", {"x": i}, token)
        except PermissionDenied:
            return False
        return True

    assert sum(await asyncio.gather(*(use(i) for i in range(60)))) == 20
    assert not await server.alive(token)
    assert not [key for key in await server.keys_stored("namespaces/root/logical/") if key.endswith("/x")]
    await server.core.stop()


async def test_lookup_shows_the_uses_that_are_left(server):
    token = await server.token(["default"], num_uses=3)
    seen = [(await server.call("read", "auth/token/lookup-self", token=token)).data["num_uses"] for _ in range(2)]
    assert seen == [2, 1]
    assert (await server.lookup(token))["num_uses"] == 1


async def test_bound_cidrs_decide_where_a_token_works(server):
    await server.call("update", "auth/token/roles/near", {"token_bound_cidrs": "10.0.0.0/8,::1"})
    token = await server.token(["default"], at="auth/token/create/near")
    for address in ("10.200.3.4", "::1", "::ffff:10.1.1.1"):
        await server.call("read", "auth/token/lookup-self", token=token, remote_address=address)
    for address in ("11.0.0.1", "::2", "", "unix", "10.0.0.1, 11.0.0.1"):
        with pytest.raises(PermissionDenied):
            await server.call("read", "auth/token/lookup-self", token=token, remote_address=address)


@pytest.mark.parametrize(
    ("address", "cidrs", "inside"),
    [
        ("1.2.3.4", ("1.2.3.0/24",), True),
        ("1.2.4.4", ("1.2.3.0/24",), False),
        ("1.2.3.4", ("1.2.3.99/24",), True),  # host bits do not matter
        ("1.2.3.4", ("1.2.3.4",), True),
        ("fe80::1%eth0", ("fe80::/10",), True),
        ("1.2.3.4", ("::/0",), False),
        ("::1", ("0.0.0.0/0",), False),
        ("nonsense", ("0.0.0.0/0",), False),
    ],
)
def test_address_in(address, cidrs, inside):
    assert address_in(address, cidrs) is inside


async def test_a_batch_token_works_without_being_stored(server):
    before = await server.keys_stored()
    token = await server.token(["default"], type="batch", ttl="1h")
    assert await server.keys_stored() == before
    shown = (await server.call("read", "auth/token/lookup-self", token=token)).data
    assert (shown["type"], shown["renewable"], shown["accessor"], shown["ttl"]) == ("batch", False, "", 3600)
    server.clock.advance(3600)
    with pytest.raises(PermissionDenied):
        await server.call("read", "auth/token/lookup-self", token=token)


async def test_a_batch_token_ends_with_its_parent_and_an_orphan_does_not(server):
    await server.policy("maker", MAKER + ' path "auth/token/create-orphan" { capabilities = ["update"] }')
    parent = await server.token(["maker"])
    child = await server.token(by=parent, type="batch")
    orphan = await server.token(by=parent, type="batch", at="auth/token/create-orphan")
    await server.call("update", "auth/token/revoke", {"token": parent})
    assert (await server.alive(child), await server.alive(orphan)) == (False, True)


async def test_a_batch_token_ends_when_its_parent_expires(server):
    await server.policy("maker", MAKER)
    parent = await server.token(["maker"], ttl="1h")
    child = await server.token(by=parent, type="batch", ttl="10h")
    server.clock.advance(3599)
    assert await server.alive(child)
    server.clock.advance(1)
    assert not await server.alive(child)


async def test_tokens_of_both_kinds_outlive_rotation_and_sealing(server):
    batch, service = await server.token(["default"], type="batch"), await server.token(["default"])
    await server.call("update", "cubbyhole/x", {"a": 1}, service)
    await server.call("update", "sys/rotate")
    await server.seal()
    await server.unseal()
    assert await server.alive(batch)
    assert (await server.call("read", "cubbyhole/x", token=service)).data


async def test_a_batch_token_that_was_tampered_with_is_none(server):
    token = await server.token(["default"], type="batch")
    body = token[4:]
    forged = ["hvb.", "hvb.x", "hvb." + body[:-4], "hvb." + body[:20], "hvb." + body[::-1], "hvb.ä" + body,
              "hvb." + ("A" if body[30] != "A" else "B").join((body[:30], body[31:])), "hvb." + "A" * 5000]  # fmt: skip
    for text in forged:
        with pytest.raises(PermissionDenied):
            await server.call("read", "auth/token/lookup-self", token=text)


async def test_batch_tokens_of_another_server_are_none(server):
    other = await Server().start()
    with pytest.raises(PermissionDenied):
        await server.call("read", "auth/token/lookup-self", token=await other.token(["default"], type="batch"))
    await other.core.stop()


async def test_accessors_name_tokens_without_telling_them(server):
    token = await server.token(["default"])
    accessor = (await server.lookup(token))["accessor"]
    assert accessor in (await server.call("list", "auth/token/accessors")).data["keys"]
    shown = (await server.call("update", "auth/token/lookup-accessor", {"accessor": accessor})).data
    assert (shown["accessor"], shown["id"]) == (accessor, "")
    renewed = await server.call("update", "auth/token/renew-accessor", {"accessor": accessor})
    assert renewed.auth["client_token"] == ""
    await server.call("update", "auth/token/revoke-accessor", {"accessor": accessor})
    assert not await server.alive(token)
    assert accessor not in (await server.call("list", "auth/token/accessors")).data["keys"]


async def test_an_accessor_is_no_token(server):
    accessor = (await server.lookup(await server.token(["default"])))["accessor"]
    for text in (accessor, server.node.tokens.hash(accessor)):
        with pytest.raises(PermissionDenied):
            await server.call("read", "auth/token/lookup-self", token=text)


async def test_tidy_removes_what_points_to_nothing(server):
    token = await server.token(["default"])
    found = await server.node.tokens.lookup(server.node.store, token)
    assert found is not None
    before = set(await server.plain())

    async def lose(txn):  # as a crash of an older version might have left it
        txn.delete(f"namespaces/root/sys/token/id/{found.key}")

    await server.node.store.run(lose)
    assert (await server.call("update", "auth/token/tidy")).status == 202
    await asyncio.gather(*server.node._tasks)
    left = {key for key in before - set(await server.plain()) if "/sys/expire/" not in key}
    assert {key.split("/")[4] for key in left} == {"id", "parent"}
    assert await server.alive(server.root)


async def test_the_same_text_cannot_be_two_tokens(server):
    await server.token(["default"], id="mine")
    with pytest.raises(InvalidRequest, match="duplicate ID"):
        await server.token(["default"], id="mine")


def test_random_ids_use_every_letter_alike():
    text = "".join(random_id(24) for _ in range(20_000))
    counts = Counter(text)
    assert set(counts) == set(string.ascii_letters + string.digits)
    expected = len(text) / 62
    chi_squared = sum((count - expected) ** 2 / expected for count in counts.values())
    assert chi_squared < 130  # 61 degrees of freedom: p below 1e-6
    assert len(random_id(1)) == 1
    assert len(random_id(1000)) == 1000
