from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from caveau.cli import second_factor, terminal
from caveau.cli.commands import login as module

from ..conftest import Runner
from ..stub import Answer, serving

AUTH: dict[str, Any] = {"auth": {"client_token": "hvs.t", "accessor": "a", "policies": ["p"], "token_policies": ["p"],
                                 "lease_duration": 60, "renewable": True}}  # fmt: skip


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Questions asked at a terminal, each answered with ``typed-in``."""
    questions: list[str] = []

    def ask(question: str) -> str:
        questions.append(question)
        return "typed-in"

    monkeypatch.setattr(terminal, "ask_hidden", ask)
    return questions


@pytest.mark.parametrize(
    ("argv", "path", "body"),
    [
        (["-method=userpass", "username=ann", "password=p"], "auth/userpass/login/ann", {"password": "p"}),
        (["-method=ldap", "-path=corp/", "username=ann", "password=p"], "auth/corp/login/ann", {"password": "p"}),
        (["-method=approle", "role_id=r", "secret_id=s"], "auth/approle/login", {"role_id": "r", "secret_id": "s"}),
        (["-method=jwt", "-path=ci", "role=r", "jwt=-"], "auth/ci/login", {"role": "r", "jwt": "from stdin"}),
        (["-method=cert", "name=web"], "auth/cert/login", {"name": "web"}),
        (["-method=plugin", "username=ann", "code=1"], "auth/plugin/login/ann", {"code": "1"}),
    ],
)
def test_credentials_are_posted_without_a_token(
    caveau: Runner, monkeypatch: pytest.MonkeyPatch, home: Path, argv: list[str], path: str, body: dict[str, str]
) -> None:
    (home / ".vault-token").write_text("hvs.old")
    with serving(Answer(200, AUTH)) as stub:
        monkeypatch.setenv("VAULT_ADDR", stub.address)
        ran = caveau("login", *argv, stdin="from stdin")
    assert ran.code == 0
    assert ran.out.startswith("Success! You are now authenticated.")
    assert (stub.asked[0].method, stub.asked[0].path, stub.asked[0].body) == ("PUT", f"/v1/{path}", body)
    assert "x-vault-token" not in stub.asked[0].headers
    assert (home / ".vault-token").read_text() == "hvs.t"


def test_a_missing_password_is_asked_for(caveau: Runner, monkeypatch: pytest.MonkeyPatch, typed: list[str]) -> None:
    with serving(Answer(200, AUTH)) as stub:
        monkeypatch.setenv("VAULT_ADDR", stub.address)
        assert caveau("login", "-method=userpass", "-token-only", "username=ann") == (0, "hvs.t", "")
        assert stub.asked[0].body == {"password": "typed-in"}
        assert typed == ["Password (will be hidden): "]
        assert caveau("login", "-method=userpass", "-non-interactive", "username=ann").code == 2
        assert len(stub.asked) == 1


def test_a_token_is_looked_up_with_itself_and_kept(
    caveau: Runner, monkeypatch: pytest.MonkeyPatch, home: Path, typed: list[str]
) -> None:
    known = {"data": {"accessor": "acc", "policies": ["a"], "identity_policies": ["b"], "ttl": 60, "meta": None}}
    with serving(Answer(200, known)) as stub:
        monkeypatch.setenv("VAULT_ADDR", stub.address)
        ran = caveau("login", "-wrap-ttl=1m", "-", stdin="hvs.mine\n")
        assert 'policies             ["a" "b"]' in ran.out
        assert stub.asked[0].headers["x-vault-token"] == "hvs.mine"
        assert "x-vault-wrap-ttl" not in stub.asked[0].headers
        assert (home / ".vault-token").read_text() == "hvs.mine"
        assert caveau("login", "-no-print") == (0, "", "")
        assert (home / ".vault-token").read_text() == "typed-in"
        assert caveau("login", "token=x", "lookup=false", "-no-store").code == 1


def test_no_store_keeps_nothing(caveau: Runner, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    with serving(Answer(200, AUTH)) as stub:
        monkeypatch.setenv("VAULT_ADDR", stub.address)
        ran = caveau("login", "-no-store", "-method=cert")
    assert "not stored" in ran.out
    assert not (home / ".vault-token").exists()


def test_a_set_variable_is_warned_about_by_its_name(caveau: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "hvs.env")
    with serving(Answer(200, AUTH)) as stub:
        monkeypatch.setenv("VAULT_ADDR", stub.address)
        assert "WARNING! The VAULT_TOKEN environment" in caveau("login", "-method=cert").err
        assert caveau("login", "-method=cert", "-no-store").err == ""


def test_a_wrapped_login_is_unwrapped_to_be_kept(caveau: Runner, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    wrapped = Answer(200, {"wrap_info": {"token": "hvs.w", "ttl": 60}})
    with serving(wrapped, Answer(200, AUTH)) as stub:
        monkeypatch.setenv("VAULT_ADDR", stub.address)
        assert caveau("login", "-wrap-ttl=60", "-method=cert", "-field=token").out == "hvs.t"
        assert stub.asked[1].path == "/v1/sys/wrapping/unwrap"
        assert stub.asked[1].headers["x-vault-token"] == "hvs.w"
    with serving(wrapped) as stub:
        monkeypatch.setenv("VAULT_ADDR", stub.address)
        assert caveau("login", "-wrap-ttl=60", "-method=cert", "-token-only").out == "hvs.w"


def test_a_second_factor_is_asked_for(
    caveau: Runner, monkeypatch: pytest.MonkeyPatch, typed: list[str], home: Path
) -> None:
    needs = {"auth": {"client_token": "", "mfa_requirement": {"mfa_request_id": "req", "mfa_constraints": {
        "c": {"any": [{"type": "totp", "id": "m1", "uses_passcode": True}]}}}}}  # fmt: skip
    monkeypatch.setattr(second_factor, "_at_terminal", lambda: True)
    with serving(*[Answer(200, needs), Answer(200, AUTH)] * 2) as stub:
        monkeypatch.setenv("VAULT_ADDR", stub.address)
        assert caveau("login", "-method=cert", "-field=token").out == "hvs.t"
        assert stub.asked[1].path == "/v1/sys/mfa/validate"
        assert stub.asked[1].body == {"mfa_request_id": "req", "mfa_payload": {"m1": ["typed-in"]}}
        ran = caveau("write", "-format=json", "auth/cert/login", "name=x")
        assert '"client_token": "hvs.t"' in ran.out
        assert stub.asked[3].path == "/v1/sys/mfa/validate"
        assert typed == ["Passcode for the totp method m1: "] * 2
    monkeypatch.setattr(second_factor, "_at_terminal", lambda: False)
    with serving(Answer(200, needs)) as stub:
        monkeypatch.setenv("VAULT_ADDR", stub.address)
        (home / ".vault-token").unlink()
        ran = caveau("login", "-method=cert")
    assert "mfa_request_id" in ran.out
    assert "sys/mfa/validate" in ran.err
    assert not (home / ".vault-token").exists()


def test_a_kubernetes_pod_shows_its_own_token(caveau: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("eyJ.pod\n")
    monkeypatch.setattr(module, "SERVICE_ACCOUNT_TOKEN", str(file))
    with serving(Answer(200, AUTH)) as stub:
        monkeypatch.setenv("VAULT_ADDR", stub.address)
        assert caveau("login", "-method=kubernetes", "role=web").code == 0
        assert stub.asked[0].body == {"role": "web", "jwt": "eyJ.pod"}


def test_help_knows_every_method(caveau: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Answer(200, {"data": {"ci/": {"type": "jwt"}, "people/": {"type": "ldap"}}})) as stub:
        monkeypatch.setenv("VAULT_ADDR", stub.address)
        assert "login -method=jwt" in caveau("auth", "help", "ci").out
        assert "login -method=ldap" in caveau("auth", "help", "people/").out
        for method in ("userpass", "approle"):
            assert caveau("auth", "help", method).out.startswith(f"Usage: caveau login -method={method}")
        assert caveau("auth", "help", "nosuch").code == 1


def test_the_terminal_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    assert second_factor._at_terminal()
