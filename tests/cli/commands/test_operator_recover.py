"""``operator raft recover``: the survivor that has most goes on, and no other."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from caveau.storage.raft.driver import Driver
from caveau.storage.raft.engine import Server
from caveau.storage.raft.repair import force, inspect

MEMBERS = [Server(name, f"127.0.0.1:{port}") for name, port in (("a", 8201), ("b", 8211), ("c", 8221))]


async def grow(path: Path, node: str, entries: int) -> None:
    """A node's directory with so many entries more."""
    engine = Driver(node, path)
    await engine.open()
    for number in range(entries):
        await engine.propose({f"k{number}": b"v"})
    await engine.close()


@pytest.fixture
def survivors(tmp_path: Path) -> tuple[Path, Path]:
    """Of three nodes, with the log of the second longer than that of the first."""

    async def make() -> None:
        for node, entries in (("a", 3), ("b", 5)):
            path = tmp_path / node
            engine = Driver(node, path)
            await engine.bootstrap("127.0.0.1:1")
            await grow(path, node, entries)
            await asyncio.to_thread(force, path, MEMBERS)
            await asyncio.to_thread((path / "node-id").write_text, f"{node}\n")

    asyncio.run(make())
    return tmp_path / "a", tmp_path / "b"


def test_it_goes_on_alone(caveau, survivors):
    behind, ahead = survivors
    ran = caveau("operator", "raft", "recover", "-cluster-addr=127.0.0.1:9", str(ahead), str(behind), stdin="yes\n")
    assert ran.code == 0, ran.err
    assert "a at 127.0.0.1:8201" in ran.out
    assert "Success! b is a cluster of its own now" in ran.out
    assert "1 of 3 voters cannot be compared" in ran.err
    assert inspect(ahead).members.servers == (Server("b", "127.0.0.1:9"),)
    asyncio.run(grow(ahead, "b", 1))


def test_a_newer_log_is_not_lost(caveau, survivors):
    behind, ahead = survivors
    ran = caveau("operator", "raft", "recover", "-yes", str(behind), str(ahead))
    assert ran.code == 1
    assert f"Refused: {ahead} has a newer log" in ran.err
    assert len(inspect(behind).members.servers) == 3


def test_nothing_without_a_yes(caveau, survivors):
    behind, _ = survivors
    ran = caveau("operator", "raft", "recover", str(behind), stdin="\n")
    assert (ran.code, ran.err.splitlines()[-1]) == (1, "Nothing was changed.")
    assert len(inspect(behind).members.servers) == 3


def test_whose_directory_it_is(caveau, survivors):
    behind, _ = survivors
    (behind / "node-id").unlink()
    ran = caveau("operator", "raft", "recover", "-yes", str(behind))
    assert ran.code == 1
    assert "Give -node-id, one of the members of the cluster: a, b, c" in ran.err
    assert caveau("operator", "raft", "recover", "-yes", "-node-id=x", str(behind)).code == 1
    assert caveau("operator", "raft", "recover", "-yes", "-node-id=a", str(behind)).code == 0
    assert [server.id for server in inspect(behind).members.servers] == ["a"]


def test_what_is_no_directory_of_a_node(caveau, tmp_path):
    ran = caveau("operator", "raft", "recover", "-yes", str(tmp_path / "none"))
    assert (ran.code, "there is no node's directory" in ran.err) == (1, True)
