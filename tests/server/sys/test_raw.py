"""``sys/raw``: when it is served, what it shows and what it keeps to itself."""

from __future__ import annotations

import base64
import gzip

import pytest
from caveau.framework.errors import InvalidRequest, NotFound, PermissionDenied, UnsupportedPath
from caveau.server.sys import raw
from caveau.tests.server.harness import Server


@pytest.fixture
async def server():
    made = await Server(raw_storage_endpoint=True).start(("kv-v1",))
    yield made
    await made.core.stop()


async def test_only_where_it_is_enabled():
    closed = await Server().start()
    for op in ("list", "read", "update", "delete"):
        with pytest.raises(UnsupportedPath):
            await closed.call(op, "sys/raw/core/cluster")
    await closed.core.stop()


async def test_only_with_sudo(server):
    await server.policy("p", 'path "sys/raw*" { capabilities = ["read", "list", "create", "update", "delete"] }')
    token = await server.token(["p"])
    for op, path in (("list", "sys/raw"), ("read", "sys/raw/x"), ("update", "sys/raw/x"), ("delete", "sys/raw/x")):
        with pytest.raises(PermissionDenied):
            await server.call(op, path, token=token)


async def test_entries_are_shown_written_and_deleted(server):
    assert "core/" in (await server.call("list", "sys/raw")).data["keys"]
    await server.call("update", "sys/raw/x/a", {"value": "hello"})
    await server.call("update", "sys/raw", {"path": "x/b", "value": "//8=", "encoding": "base64"})
    assert (await server.call("list", "sys/raw/x", {"after": "a"})).data == {"keys": ["b"]}
    assert (await server.call("read", "sys/raw/x/a")).data == {"value": "hello"}
    assert (await server.call("read", "sys/raw/x/b", {"encoding": "base64"})).data == {"value": "//8="}
    await server.call("delete", "sys/raw/x/a")
    with pytest.raises(NotFound):
        await server.call("read", "sys/raw/x/a")


async def test_compressed_values(server):
    await server.call("update", "sys/raw/x", {"value": "hello", "compression_type": "gzip"})
    stored = (await server.call("read", "sys/raw/x", {"compressed": False, "encoding": "base64"})).data["value"]
    assert gzip.decompress(base64.b64decode(stored)[1:]) == b"hello"
    assert (await server.call("read", "sys/raw/x")).data == {"value": "hello"}
    await server.call("update", "sys/raw/x", {"value": "bye"})  # stays compressed
    assert (await server.call("read", "sys/raw/x", {"compressed": False})).data["value"].startswith("G\x1f")
    await server.call("update", "sys/raw/x", {"value": "bye", "compression_type": "none"})
    assert (await server.call("read", "sys/raw/x", {"compressed": False})).data == {"value": "bye"}


@pytest.mark.parametrize("value", [b"G\x1f\x8bnonsense", b"G" + gzip.compress(bytes(33 << 20))])
async def test_what_cannot_be_decompressed_is_refused(server, value):
    await server.call("update", "sys/raw/x", {"value": base64.b64encode(value).decode(), "encoding": "base64"})
    with pytest.raises(InvalidRequest, match="compressed=false"):
        await server.call("read", "sys/raw/x")


@pytest.mark.parametrize(
    "key", ["core/keyring", "core/root", "core/seal-config", "core/stored-root", "core/shamir-key"]
)
async def test_keys_of_the_seal_are_out_of_reach(server, key):
    for op in ("read", "update", "delete"):
        with pytest.raises(InvalidRequest, match=f'cannot access "{key}"'):
            await server.call(op, f"sys/raw/{key}", {"value": "x"} if op == "update" else None)
    await server.seal()
    await server.unseal()


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("", {"value": "x"}),
        ("/" + "x" * 1025, {"value": "x"}),
        ("/x", {"value": "!", "encoding": "base64"}),
        ("/x", {"value": "x", "encoding": "hex"}),
        ("/x", {"value": "x", "compression_type": "lz4"}),
    ],
)
async def test_what_is_refused(server, path, data):
    with pytest.raises(InvalidRequest):
        await server.call("update", f"sys/raw{path}", data)


def test_vaults_mark_before_compressed_values():
    written_by_bao = base64.b64decode("Rx+LCAAAAAAAAv/KSM3JyQcMAIamEDYFAAAA")
    assert raw._decompressed(written_by_bao) == b"hello"
