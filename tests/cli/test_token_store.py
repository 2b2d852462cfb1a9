from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from caveau.cli import token_store

HELPER = """#!/bin/sh
echo "$@" >> "$HOME/args"
case "$1" in
  get) cat "$HOME/kept" 2>/dev/null ;;
  store) cat > "$HOME/kept" ;;
  fail) exit 3 ;;
esac
"""


def test_the_file_is_for_its_owner_only_and_replaced_whole(home: Path) -> None:
    old = home / ".vault-token"
    old.write_text("old")
    old.chmod(0o644)
    inode = old.stat().st_ino
    token_store.store("hvs.new")
    assert old.read_text() == "hvs.new"
    assert stat.S_IMODE(old.stat().st_mode) == 0o600
    assert old.stat().st_ino != inode
    assert os.listdir(home) == [".vault-token"]


def test_environment_wins_over_the_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert token_store.current() == ""
    (home / ".vault-token").write_text("stored\n")
    assert token_store.current() == "stored"
    monkeypatch.setenv("VAULT_TOKEN", "vault")
    assert token_store.current() == "vault"
    monkeypatch.setenv("BAO_TOKEN", "bao")
    assert token_store.current() == "bao"


def test_a_failed_write_keeps_the_old_token(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".vault-token").write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(token_store.TokenStoreError, match="No space left"):
        token_store.store("hvs.secret")
    assert os.listdir(home) == [".vault-token"]
    assert token_store.current() == "old"


def test_a_helper_gets_the_token_on_standard_input(home: Path) -> None:
    helper = home / "helper"
    helper.write_text(HELPER)
    helper.chmod(0o755)
    (home / ".vault").write_text(f'# mine\ntoken_helper = "{helper}"\n')
    token_store.store("hvs.secret")
    assert token_store.current() == "hvs.secret"
    assert (home / "args").read_text() == "store\nget\n"
    assert not (home / ".vault-token").exists()


def test_a_helper_that_fails_is_an_error(home: Path) -> None:
    (home / ".vault").write_text('token_helper = "/bin/false"\n')
    with pytest.raises(token_store.TokenStoreError, match="failed"):
        token_store.current()
    (home / ".vault").write_text('token_helper = "relative"\n')
    with pytest.raises(token_store.TokenStoreError, match="absolute"):
        token_store.current()
