"""``operator raft snapshot``: files that a server has written, looked into without it, and sent to and fro."""

from __future__ import annotations

import asyncio
import json
import stat
from pathlib import Path
from typing import NamedTuple

import hvac
import pytest

from ...peers import caveau_server_sealed
from ...server.snapshots.snapshotting import on_disk, put, save
from ..stub import Answer, serving


class Files(NamedTuple):
    older: Path
    newer: Path
    keys: Path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("snapshots")
    found = Files(folder / "older.snap", folder / "newer.snap", folder / "keys")

    async def make() -> None:
        async with on_disk("sqlite", folder / "data") as server:
            await server.call("update", "sys/mounts/plain", {"type": "kv"})
            await server.call("update", "sys/namespaces/team")
            await server.call("update", "team/sys/mounts/kv", {"type": "kv"})
            await server.call("update", "team/kv/app", {"of": "team"})
            await put(server, "app", "first")
            await put(server, "app", "before")
            await server.call("update", "plain/a/b", {"user": "me", "number": 1.5})
            await server.call("update", "plain/gone", {"a": "b"})
            older = await save(server)
            await put(server, "app", "after")
            await server.call("delete", "plain/gone")
            newer = await save(server)
            keys = server.keys

        def write() -> None:
            found.older.write_bytes(older)
            found.newer.write_bytes(newer)
            found.keys.write_text("\n".join(keys) + "\n")

        await asyncio.to_thread(write)

    asyncio.run(make())
    return found


def test_inspect(caveau, files):
    ran = caveau("operator", "raft", "snapshot", "inspect", "-format=json", str(files.older))
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert (found["version"], found["storage"], found["index"]) == (1, "inmem", 0)
    assert found["entries"] == sum(each["entries"] for each in found["areas"].values())
    assert not any(name.startswith("plain") for name in found["areas"])
    assert any(name.startswith("namespaces/root/logical/") for name in found["areas"])


def test_inspect_with_keys(caveau, files):
    ran = caveau(
        "operator", "raft", "snapshot", "inspect", f"-keys-file={files.keys}", "-format=json", str(files.older)
    )
    areas = json.loads(ran.out)["areas"]
    assert areas["plain/"]["entries"] == 2
    assert areas["team/kv/"]["entries"] == 1
    assert areas["kv-v2/"]["entries"] >= 2
    ran = caveau("operator", "raft", "snapshot", "inspect", "-keys-file=-", str(files.older), stdin="AAAA\n")
    assert (ran.code, ran.out) == (1, "")
    assert "key is shorter" in ran.err


def test_inspect_for_people(caveau, files):
    lines = caveau("operator", "raft", "snapshot", "inspect", str(files.older)).out.splitlines()
    assert lines[0].split() == ["Key", "Value"]
    assert any(line.split() == ["Index", "0"] for line in lines)
    assert lines[-1].split()[0] == "Total"


@pytest.mark.parametrize("content", [b"", b"x" * 100, None])
def test_what_is_no_snapshot(caveau, tmp_path, content):
    file = tmp_path / "a.snap"
    if content is not None:
        file.write_bytes(content)
    ran = caveau("operator", "raft", "snapshot", "inspect", str(file))
    assert (ran.code, ran.out) == (1, "")
    assert str(file) in ran.err
    assert ("no snapshot" if content is not None else "No such file") in ran.err


def test_diff(caveau, files):
    arguments = ("operator", "raft", "snapshot", "diff", f"-keys-file={files.keys}")
    found = json.loads(caveau(*arguments, "-format=json", str(files.older), str(files.newer)).out)
    assert found["plain/"] == {"added": 0, "removed": 1, "changed": 0}
    assert found["kv-v2/"]["changed"] >= 1
    assert "team/kv/" not in found
    backwards = json.loads(caveau(*arguments, "-format=json", str(files.newer), str(files.older)).out)
    assert backwards["plain/"] == {"added": 1, "removed": 0, "changed": 0}
    ran = caveau(*arguments, str(files.older), str(files.older))
    assert ran.out == "The snapshots hold the same entries.\n"


@pytest.mark.parametrize(
    ("path", "field", "value"),
    [
        ("plain/a/b", "user", "me"),
        ("plain/a/b", "number", "1.5"),
        ("kv-v2/app", "value", "before"),
        ("kv-v2/data/app", "value", "before"),
        ("team/kv/app", "of", "team"),
    ],
)
def test_one_secret(caveau, files, path, field, value):
    """The newest version that there was, although a later snapshot has another."""
    ran = caveau(
        "operator", "raft", "snapshot", "recover", f"-keys-file={files.keys}", f"-field={field}", str(files.older), path
    )
    assert (ran.code, ran.out) == (0, value), ran.err


def test_one_secret_of_a_namespace(caveau, files):
    ran = caveau(
        "operator", "raft", "snapshot", "recover", "-namespace=team", f"-keys-file={files.keys}", "-format=json",
        str(files.older), "kv/app",
    )  # fmt: skip
    assert json.loads(ran.out)["data"] == {"of": "team"}


@pytest.mark.parametrize(
    ("path", "message"),
    [("plain/none", ""), ("nowhere/x", "nothing was mounted at nowhere/x"), ("cubbyhole/x", "cubbyhole")],
)
def test_no_such_secret(caveau, files, path, message):
    ran = caveau("operator", "raft", "snapshot", "recover", f"-keys-file={files.keys}", str(files.older), path)
    assert ran.code == 1
    assert message in ran.err


def test_keys_are_asked_for(caveau, files):
    ran = caveau("operator", "raft", "snapshot", "recover", str(files.older), "plain/a/b")
    assert ran.code == 1
    assert "-keys-file" in ran.err


@pytest.mark.parametrize(
    ("path", "where", "body"),
    [
        ("plain/a/b", "/v1/plain/a/b", {"user": "me", "number": 1.5}),
        ("kv-v2/app", "/v1/kv-v2/data/app", {"data": {"value": "before"}}),
    ],
)
def test_one_secret_written_back(caveau, files, path, where, body):
    with serving(Answer(204)) as stub:
        ran = caveau(
            "operator", "raft", "snapshot", "recover", "-write", f"-address={stub.address}",
            f"-keys-file={files.keys}", str(files.older), path,
        )  # fmt: skip
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == f"Success! Data of the snapshot written to: {where.removeprefix('/v1/')}\n"
    (asked,) = stub.asked
    assert (asked.method, asked.path, asked.body) == ("PUT", where, body)


def test_to_and_fro(caveau, tmp_path, monkeypatch):
    file = tmp_path / "out" / "a.snap"
    file.parent.mkdir()
    with caveau_server_sealed() as server:
        client = hvac.Client(url=server.address)
        made = client.sys.initialize(1, 1)
        client.sys.submit_unseal_keys(made["keys"])
        monkeypatch.setenv("VAULT_ADDR", server.address)
        monkeypatch.setenv("VAULT_TOKEN", made["root_token"])
        assert caveau("secrets", "enable", "kv").code == 0
        assert caveau("kv", "put", "kv/app", "v=before").code == 0
        assert caveau("operator", "raft", "snapshot", "save", str(file)) == (0, "", "")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert [each.name for each in file.parent.iterdir()] == ["a.snap"]
        assert caveau("kv", "put", "kv/app", "v=after").code == 0
        assert caveau("operator", "raft", "snapshot", "restore", str(file)) == (0, "", "")
        assert caveau("kv", "get", "-field=v", "kv/app").out == "before"
        (tmp_path / "bad.snap").write_bytes(file.read_bytes()[:-100])
        ran = caveau("operator", "raft", "snapshot", "restore", str(tmp_path / "bad.snap"))
        assert ran.code == 2
        assert "it is no snapshot, or is cut off" in ran.err
        client.adapter.close()


def test_what_is_cut_off_is_not_kept(caveau, tmp_path):
    file = tmp_path / "a.snap"
    file.write_bytes(b"the one before")
    with serving(Answer(200, {"not": "a snapshot"})) as stub:
        ran = caveau("operator", "raft", "snapshot", "save", f"-address={stub.address}", str(file))
    assert ran.code == 1
    assert "no snapshot" in ran.err
    assert file.read_bytes() == b"the one before"
