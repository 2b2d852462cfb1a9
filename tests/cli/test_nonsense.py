"""Something that is no Vault server answers: a message and an exit code, never a traceback."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Runner
from .stub import Answer, serving

COMMANDS = [
    "read a", "list a", "scan -detailed a", "write a b=c", "delete a", "patch a b=c", "unwrap x", "status",
    "version-history", "path-help a", "kv get a/b", "kv put a/b c=d", "kv patch a/b c=d", "kv list a",
    "kv metadata get a/b", "kv rollback -version=1 a/b", "secrets list", "secrets list -detailed",
    "secrets move a b", "auth list", "auth help x", "policy list", "policy read x", "token create",
    "token lookup", "token capabilities x", "lease lookup x", "audit list", "audit list -detailed",
    "namespace list", "namespace list -detailed", "namespace create x", "namespace seal-status x",
    "namespace unseal x y", "namespace lock x", "operator init", "operator init -status", "operator unseal x",
    "operator key-status", "operator rotate", "operator rekey -status", "operator rekey -init",
    "operator rekey x", "operator generate-root -status", "operator generate-root -generate-otp", "login x",
    "login -method=cert",
]  # fmt: skip
ANSWERS: list[Any] = [
    None, [], "text", 5, {}, {"data": []}, {"data": "x"}, {"data": {"keys": []}}, {"auth": []}, {"warnings": "w"},
    {"data": None, "auth": None, "wrap_info": None}, b"<html>", b"\xff\xfe", b"{",
    {"data": {"data": [], "metadata": 5, "versions": [], "key_info": [], "keys": 5}},
    {"data": {"data": {"a": 1}, "metadata": {"version": "x"}, "keys": [5], "key_info": {"5": 1}, "options": "x"}},
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_no_traceback(caveau: Runner, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    with serving(Answer()) as stub:
        monkeypatch.setenv("VAULT_ADDR", stub.address)
        for body in ANSWERS:
            for status in (200, 404, 500):
                mount = [Answer(200, {"data": {"path": "a/", "options": {"version": "2"}}})] * command.startswith("kv")
                stub.answers = [*mount, Answer(status, body)]
                ran = caveau(*command.split())
                assert ran.code in (0, 1, 2), (status, body)
                if status == 500:
                    assert ran.code
                    assert ran.err


def test_an_endless_answer_is_cut_off(caveau: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caveau.cli.transport.MAX_BODY", 10)
    with serving(Answer(200, b"x" * 11)) as stub:
        monkeypatch.setenv("VAULT_ADDR", stub.address)
        ran = caveau("read", "a")
    assert ran.code == 2
    assert "longer than 10 bytes" in ran.err
