"""The life of a server's keys, run by ``caveau`` and by ``bao`` on a fresh real server each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from caveau.cli import terminal

from ...peers import bao_server_sealed
from ..conftest import Ran, Runner
from ..stub import Answer, serving
from ..test_peer import normal


@pytest.fixture(params=["caveau", "bao"])
def runner(request: pytest.FixtureRequest) -> Runner:
    found: Runner = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with bao_server_sealed() as server:
        monkeypatch.setenv("VAULT_ADDR", server.address)
        yield


def _life(run: Runner, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ran]:
    """Every step's outcome; keys and nonces of earlier steps go into later ones."""
    yield run("status")
    yield run("operator", "init", "-status")
    yield run("operator", "init", "-n=1", "-t=2")
    made = run("operator", "init", "-key-shares=3", "-key-threshold=2", "-format=json")
    yield made
    init = json.loads(made.out)
    keys = init["unseal_keys_b64"]
    yield run("operator", "init", "-status", "-format=json")
    yield run("status")
    yield run("operator", "unseal", keys[0])
    yield run("operator", "unseal", "-reset")
    yield run("operator", "unseal", "-format=json", keys[0])
    yield run("operator", "unseal", keys[1])
    monkeypatch.setenv("VAULT_TOKEN", init["root_token"])
    yield run("operator", "rotate", "-format=json")
    yield run("operator", "rekey", "-status")
    yield run("operator", "rekey", keys[0], "x")
    started = run("operator", "rekey", "-init", "-key-shares=1", "-key-threshold=1", "-format=json")
    yield started
    nonce = json.loads(started.out)["nonce"]
    yield run("operator", "rekey", "-status")
    yield run("operator", "rekey", keys[0])
    yield run("operator", "rekey", f"-nonce={nonce}", keys[0])
    done = run("operator", "rekey", f"-nonce={nonce}", "-format=json", keys[1])
    yield done
    keys = json.loads(done.out)["keys_base64"]
    yield run("operator", "rotate-keys", "-init", "-key-shares=1", "-key-threshold=1", "-format=json")
    yield run("operator", "rotate-keys", "-cancel")
    begun = run("operator", "generate-root", "-init", "-format=json")
    yield begun
    attempt = json.loads(begun.out)
    yield run("operator", "generate-root", "-status")
    yield run("operator", "generate-root", keys[0])
    given = run("operator", "generate-root", f"-nonce={attempt['nonce']}", "-format=json", keys[0])
    yield given
    encoded = json.loads(given.out)["encoded_token"]
    root = run("operator", "generate-root", f"-decode={encoded}", f"-otp={attempt['otp']}")
    yield root
    monkeypatch.setenv("VAULT_TOKEN", root.out)
    yield run("token", "lookup", "-field=policies")
    yield run("operator", "seal")
    yield run("status")
    yield run("operator", "unseal", keys[0])
    yield run("status", "-field=sealed")


def _blank(ran: Ran) -> Ran:
    text = normal(ran.out)
    text = re.sub(r'"[A-Za-z0-9+/=]{40,}"|"[0-9a-f]{64,}"', '"KEY"', text)
    text = re.sub(r'"[A-Za-z0-9+/_-]{24,40}"', '"OTP"', text)
    text = re.sub(r'("encoded_root_token": )"\w*"', r"\1OLD", text)  # only Vault's endpoint answers the old name
    text = re.sub(r"cluster-\w+", "cluster", text)
    text = re.sub(r"localhost:\d+|127\.0\.0\.1:\d+", "HOST", text)
    text = re.sub(r'"encryptions": \d+', '"encryptions": N', text)
    return Ran(ran.code, re.sub(r"^[bs]\..*", "TOKEN", text), "")


@pytest.mark.peer
def test_the_life_of_the_keys_is_the_same(caveau: Runner, bao: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    lives = []
    for runner in (caveau, bao):
        monkeypatch.delenv("VAULT_TOKEN", raising=False)
        with bao_server_sealed() as server:
            monkeypatch.setenv("VAULT_ADDR", server.address)
            lives.append([_blank(ran) for ran in _life(runner, monkeypatch)])
    ours, theirs = lives
    for step, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        assert mine == other, f"step {step}"


@pytest.mark.peer
@pytest.mark.usefixtures("fresh")
def test_scripts_find_the_keys_in_the_text(runner: Runner) -> None:
    """The lines that set-up scripts cut out of the text."""
    out = runner("operator", "init", "-key-shares=2", "-key-threshold=2").out
    keys = re.findall(r"^Unseal Key \d+: (\S+)$", out, re.MULTILINE)
    assert len(keys) == 2
    assert re.search(r"^Initial Root Token: (\S+)$", out, re.MULTILINE)
    for key in keys:
        last = runner("operator", "unseal", key)
    assert re.search(r"^Sealed +false$", last.out, re.MULTILINE)


# -- without a server that has these features --------------------------------------------------------


def test_shares_are_asked_for_and_never_shown(caveau: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    questions: list[str] = []
    monkeypatch.setattr(terminal, "ask_hidden", lambda question: questions.append(question) or "hidden-share")
    status = {"sealed": True, "t": 3, "n": 5, "progress": 1, "type": "shamir", "initialized": True, "version": "1"}
    with serving(Answer(200, status)) as stub:
        monkeypatch.setenv("VAULT_ADDR", stub.address)
        ran = caveau("operator", "unseal")
        assert stub.asked[0].body == {"key": "hidden-share", "reset": False, "migrate": False}
        assert questions == ["Unseal Key (will be hidden): "]
        assert "hidden-share" not in ran.out + ran.err
        assert caveau("operator", "unseal", "-", stdin="piped\n").code == 0
        assert stub.asked[1].body["key"] == "piped"
    progress = {"nonce": "n-1", "started": True, "t": 1, "n": 1, "progress": 0, "required": 1}
    done = {"nonce": "n-1", "complete": True, "keys_base64": ["bmV3"], "backup": False, "verification_required": False}
    with serving(Answer(200, progress), Answer(200, done)) as stub:
        monkeypatch.setenv("VAULT_ADDR", stub.address)
        ran = caveau("operator", "rekey")
        assert ran.out.startswith("Rekey operation nonce: n-1\n\nKey 1: bmV3\n\nOperation nonce: n-1\n")
        assert stub.asked[1].body == {"key": "hidden-share", "nonce": "n-1"}


def test_a_share_on_the_command_line_needs_the_nonce(caveau: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    progress = {"nonce": "n-1", "started": True, "t": 1, "n": 1, "progress": 0, "required": 1}
    with serving(Answer(200, progress)) as stub:
        monkeypatch.setenv("VAULT_ADDR", stub.address)
        for command in ("rekey", "rotate-keys", "generate-root"):
            ran = caveau("operator", command, "share")
            assert (ran.code, ran.err) == (1, "Missing nonce value: specify it via the -nonce flag\n")
        assert {asked.method for asked in stub.asked} == {"GET"}


def test_an_auto_unsealing_server_gets_recovery_shares(caveau: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[str, Any] = {"keys": [], "keys_base64": [], "recovery_keys": ["aa"], "recovery_keys_base64": ["qg=="],
                            "root_token": "hvs.r"}  # fmt: skip
    with serving(Answer(200, {"recovery_seal": True}), Answer(200, made)) as stub:
        monkeypatch.setenv("VAULT_ADDR", stub.address)
        ran = caveau("operator", "init")
        body = stub.asked[1].body
    assert (body["secret_shares"], body["recovery_shares"], body["recovery_threshold"]) == (0, 5, 3)
    assert "Recovery Key 1: qg==\n\nInitial Root Token: hvs.r\n\nSuccess! Vault is initialized" in ran.out


def test_root_generation_falls_back_where_the_open_endpoint_is_off(
    caveau: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = {"nonce": "", "started": False, "progress": 0, "required": 3, "complete": False, "otp_length": 28}
    with serving(Answer(405, {"errors": ["unsupported operation"]}), Answer(200, status)) as stub:
        monkeypatch.setenv("VAULT_ADDR", stub.address)
        ran = caveau("operator", "generate-root", "-generate-otp")
        assert re.fullmatch("[0-9A-Za-z]{28}", ran.out)
        assert [asked.path for asked in stub.asked] == [
            "/v1/sys/generate-root/attempt", "/v1/sys/generate-root-token/attempt"
        ]  # fmt: skip


def test_pgp_keys_come_from_files(caveau: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "binary").write_bytes(b"\x99\x01key")
    (tmp_path / "base64").write_text("mQFrZXk=\n")
    (tmp_path / "armored").write_text(
        "-----BEGIN PGP PUBLIC KEY BLOCK-----\nVersion: x\n\nmQFr\nZXk=\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n"
    )
    files = ",".join(str(tmp_path / name) for name in ("binary", "base64", "armored"))
    progress = {"nonce": "n", "started": True, "pgp_fingerprints": ["ff"], "backup": True}
    with serving(Answer(200, progress)) as stub:
        monkeypatch.setenv("VAULT_ADDR", stub.address)
        ran = caveau("operator", "rekey", "-init", "-backup", f"-pgp-keys={files}")
        assert stub.asked[0].body["pgp_keys"] == ["mQFrZXk="] * 3
        assert "PGP Fingerprints         [ff]" in ran.out
        assert ran.err == ""
        assert caveau("operator", "rekey", "-init", "-pgp-keys=keybase:ann").code == 1
        assert "open /none" in caveau("operator", "init", "-pgp-keys=/none").err


@pytest.mark.parametrize("recovery", [False, True])
def test_status_of_a_cluster(caveau: Runner, monkeypatch: pytest.MonkeyPatch, recovery: bool) -> None:
    seal = {"type": "transit" if recovery else "shamir", "initialized": True, "sealed": False, "t": 3, "n": 5,
            "version": "1.0", "build_date": "2026-01-01", "storage_type": "raft", "cluster_name": "c",
            "cluster_id": "i", "recovery_seal": recovery}  # fmt: skip
    leader = {"ha_enabled": True, "is_self": False, "leader_address": "https://a:8200", "leader_cluster_address":
              "https://a:8201", "raft_committed_index": 7, "raft_applied_index": 6}  # fmt: skip
    with serving(Answer(200, seal), Answer(200, leader)) as stub:
        monkeypatch.setenv("VAULT_ADDR", stub.address)
        rows = dict(re.split(r"\s{4,}", line) for line in caveau("status").out.splitlines())
    assert ("Total Recovery Shares" in rows, "Recovery Seal Type" in rows) == (recovery, recovery)
    assert (rows["HA Mode"], rows["Active Node Address"]) == ("standby", "https://a:8200")
    assert (rows["HA Cluster"], rows["Raft Applied Index"]) == ("https://a:8201", "6")
