"""Logins with a code of an authenticator app, by the commands ``bao`` and ``caveau``, at both servers."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import hvac
import orjson
import pytest
from caveau.framework.totp import Totp

from ..peers import Server, bao_binary, clean_environment

pytestmark = pytest.mark.timeout(120)
PATIENCE = 20.0  # seconds


@dataclass(frozen=True, slots=True)
class User:
    """Ann, whose logins by the mount ``path`` need a code of ``app``; ``method`` is its id, ``name`` its name."""

    path: str
    method: str
    name: str
    app: Totp

    @property
    def code(self) -> str:
        return self.app.code(self.app.counter(time.time()))


@pytest.fixture
def user(root: hvac.Client, name: str) -> User:
    path = f"{name}-people"
    root.sys.enable_auth_method("userpass", path=path)
    root.auth.userpass.create_or_update_user("ann", password="p", mount_point=path)
    accessor = root.sys.list_auth_methods()["data"][f"{path}/"]["accessor"]
    entity = root.secrets.identity.create_or_update_entity(name)["data"]["id"]
    root.secrets.identity.create_or_update_entity_alias("ann", entity, accessor)
    made = root.write_data("identity/mfa/method/totp", data={"method_name": name, "issuer": "i"})
    method = made["data"]["method_id"]
    ids = {"method_id": method, "entity_id": entity}
    url = root.write_data("identity/mfa/method/totp/admin-generate", data=ids)["data"]["url"]
    on = {"mfa_method_ids": [method], "auth_method_accessors": [accessor]}
    root.write_data(f"identity/mfa/login-enforcement/{name}", data=on)
    return User(path, method, name, Totp(parse_qs(urlsplit(url).query)["secret"][0]))


@pytest.fixture(params=[pytest.param("bao", marks=pytest.mark.peer), "caveau"])
def command(request: pytest.FixtureRequest) -> list[str]:
    return [bao_binary()] if request.param == "bao" else [sys.executable, "-m", "caveau"]


@pytest.fixture
def environment(dev_server: Server, tmp_path: Path) -> dict[str, str]:
    return clean_environment(tmp_path) | {"VAULT_ADDR": dev_server.address, "BAO_ADDR": dev_server.address}


def test_login_asks_for_the_code(command: list[str], environment: dict[str, str], user: User, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    arguments = ["login", "-method=userpass", f"-path={user.path}", "-field=token", "username=ann", "password=p"]
    with subprocess.Popen([*command, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=environment,
                          cwd=tmp_path, start_new_session=True) as process:  # fmt: skip
        os.close(theirs)
        try:
            assert "totp" in until(ours, ": ")
            os.write(ours, user.code.encode() + b"\n")
            assert re.search(r"(hvs|s)\.\w{24}", until(ours, "\x04"))
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
            os.close(ours)


def until(terminal: int, end: str) -> str:
    """What is shown on a terminal, up to ``end`` or to its end."""
    shown, deadline = "", time.monotonic() + PATIENCE
    while not shown.endswith(end) and time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                piece = os.read(terminal, 4096)
            except OSError:  # nobody has the other end any more
                break
            if not piece:
                break
            shown += piece.decode()
    return shown


def test_login_in_one_request(command: list[str], environment: dict[str, str], user: User, tmp_path: Path) -> None:
    def log_in(code: str) -> subprocess.CompletedProcess[str]:
        arguments = ["login", f"-mfa={user.name}:{code}", "-method=userpass", f"-path={user.path}", "-token-only",
                     "username=ann", "password=p"]  # fmt: skip
        return subprocess.run([*command, *arguments], capture_output=True, text=True, env=environment, cwd=tmp_path)

    code = user.code
    assert log_in(code).stdout.startswith(("hvs.", "s."))
    assert "permission denied" in log_in(code).stderr


def test_login_in_two_requests(command: list[str], environment: dict[str, str], user: User, tmp_path: Path) -> None:
    def write(path: str, body: str) -> dict:
        done = subprocess.run([*command, "write", "-format=json", path, "-"], input=body,
                              capture_output=True, text=True, env=environment, cwd=tmp_path)  # fmt: skip
        return orjson.loads(done.stdout)["auth"]

    requirement = write(f"auth/{user.path}/login/ann", '{"password": "p"}')["mfa_requirement"]
    told = {"type": "totp", "id": user.method, "uses_passcode": True, "name": user.name}
    assert requirement["mfa_constraints"] == {user.name: {"any": [told]}}
    body = {"mfa_request_id": requirement["mfa_request_id"], "mfa_payload": {user.method: [user.code]}}
    assert write("sys/mfa/validate", orjson.dumps(body).decode())["metadata"] == {"username": "ann"}
