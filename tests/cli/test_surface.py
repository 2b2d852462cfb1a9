"""Every command and flag of the original that belongs to the client is declared, with its type."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from caveau.cli import global_flags, help
from caveau.cli.command import Command, Group, Lazy
from caveau.cli.main import declared
from caveau.cli.tree import ROOT

SURFACE = json.loads((Path(__file__).parent / "surface.json").read_text())
ENTRIES = [(entry, words) for entry in ROOT.children if entry.name != "server" for words in [[entry.name]]]

OWN = {
    "version", "operator raft join-token", "operator raft recover", "operator raft snapshot diff",
    "operator raft snapshot inspect", "operator raft snapshot recover",
}  # fmt: skip


def _walk(entry: Command | Group | Lazy, words: list[str]) -> Iterator[tuple[list[str], Command | Group]]:
    node = entry.load() if isinstance(entry, Lazy) else entry
    yield words, node
    if isinstance(node, Group):
        for child in node.children:
            yield from _walk(child, [*words, child.name])


NODES = [found for entry, words in ENTRIES for found in _walk(entry, words)]
OWN_FLAGS = {"operator raft join": {"join-token-file"}}
COMMANDS = {" ".join(words): node for words, node in NODES if isinstance(node, Command)}


@pytest.mark.parametrize("name", SURFACE["commands"])
def test_command_has_the_originals_flags(name: str) -> None:
    expected: dict[str, Any] = SURFACE["commands"][name]
    command = COMMANDS[name]
    flags = {flag.name: flag.shown_type for flag in declared(command)}
    if command.http:
        for http in SURFACE["http_flags"]:
            # "-unlock-key" and "-policy-override" are of every request, so they are not repeated.
            assert flags.pop(http) == SURFACE["http_flags"][http]
    assert command.http is expected["http"]
    assert {key: kind for key, kind in flags.items() if key not in OWN_FLAGS.get(name, ())} == expected["flags"]
    assert command.usage.replace(" [K=V...]", "") == expected["usage"].replace(" [K=V...]", "")


def test_nothing_is_declared_that_the_original_lacks() -> None:
    assert set(COMMANDS) - set(SURFACE["commands"]) == OWN


def test_environment_names_are_read() -> None:
    known = {flag.env for command in COMMANDS.values() for flag in declared(command) if flag.env}
    assert set(SURFACE["environment"]) <= known


def test_names_are_unique_and_sorted_lookups_work() -> None:
    for words, node in NODES:
        names = [child.name for child in node.children] if isinstance(node, Group) else [
            name for flag in declared(node) for name in (flag.name, *flag.aliases)]  # fmt: skip
        assert len(names) == len(set(names)), words


@pytest.mark.parametrize(("words", "node"), NODES, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_help_page_shows_each_flag(words: list[str], node: Command | Group) -> None:
    text = help.page(node, words)
    assert text.startswith(f"Usage: caveau {' '.join(words)}")
    assert all(line == line.rstrip() for line in text.split("\n"))
    if isinstance(node, Command):
        for flag in declared(node):
            assert f"\n  -{flag.name}" in text
        if node.http:
            assert len(global_flags.HTTP) == text.split("HTTP Options:")[1].split("Options:")[0].count("\n  -")
    else:
        for child in node.children:
            assert child.summary
            assert child.summary in text
