"""The real ``bao agent`` with auto-auth by AppRole: it renders a secret from Caveau and keeps its token alive."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hvac
import pytest
from hvac.exceptions import Forbidden

from ..peers import Server, bao_binary, clean_environment

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.timeout(120)]

TTL, MAX_TTL = 3, 10  # seconds
CYCLES = 3
PATIENCE = 60.0

CONFIG = """
vault {{
  address = "{address}"
}}
auto_auth {{
  method "approle" {{
    mount_path = "auth/{mount}"
    config = {{
      role_id_file_path = "role-id"
      secret_id_file_path = "secret-id"
      remove_secret_id_file_after_reading = false
    }}
  }}
  sink "file" {{
    config = {{
      path = "token"
    }}
  }}
}}
template_config {{
  static_secret_render_interval = "1s"
}}
template {{
  contents = "password={{{{ with secret \\"secret/data/{name}\\" }}}}{{{{ .Data.data.password }}}}{{{{ end }}}}"
  destination = "rendered"
}}
"""


@contextlib.contextmanager
def agent(server: Server, home: Path, mount: str, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """A running agent in ``home``, where ``role-id`` and ``secret-id`` are."""
    (home / "agent.hcl").write_text(CONFIG.format(address=server.address, mount=mount, name=name))
    with (home / "agent.log").open("wb") as log:
        process = subprocess.Popen(
            [bao_binary(), "agent", "-config=agent.hcl"], cwd=home, stdout=log, stderr=log, env=clean_environment(home)
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(10)


def until(found: Callable[[], Any], home: Path) -> Any:
    """What ``found`` gives, once it gives something."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(FileNotFoundError, Forbidden):
            if value := found():
                return value
        time.sleep(0.1)
    raise AssertionError("the agent took too long:\n" + (home / "agent.log").read_text()[-3000:])


def test_the_agent_renders_a_secret_and_renews_its_token(
    root: hvac.Client, dev_server: Server, name: str, tmp_path: Path
) -> None:
    mount = f"{name}-approle"
    root.sys.enable_auth_method("approle", path=mount)
    root.sys.create_or_update_policy(name, f'path "secret/data/{name}" {{ capabilities = ["read"] }}')
    root.auth.approle.create_or_update_approle(
        name, token_policies=[name], token_ttl=TTL, token_max_ttl=MAX_TTL, mount_point=mount
    )
    (tmp_path / "role-id").write_text(root.auth.approle.read_role_id(name, mount_point=mount)["data"]["role_id"])
    secret = root.auth.approle.generate_secret_id(name, mount_point=mount)["data"]["secret_id"]
    (tmp_path / "secret-id").write_text(secret)
    root.secrets.kv.v2.create_or_update_secret(name, {"password": "first"})

    def token() -> str:
        return (tmp_path / "token").read_text()

    def renewals() -> dict[str, set[int]]:
        """Times of renewal seen so far, by token."""
        current = token()
        found = root.auth.token.lookup(current)["data"]
        assert found["ttl"] <= MAX_TTL
        assert found["policies"] == sorted(["default", name])
        if renewed := found.get("last_renewal_time"):
            seen.setdefault(current, set()).add(renewed)
        return seen

    seen: dict[str, set[int]] = {}
    with agent(dev_server, tmp_path, mount, name) as process:
        until(lambda: (tmp_path / "rendered").read_text() == "password=first", tmp_path)
        first = until(token, tmp_path)
        until(lambda: len(renewals().get(first, ())) >= CYCLES, tmp_path)
        second = until(lambda: token() != first and token(), tmp_path)  # no renewal goes past the maximum: a new login
        root.secrets.kv.v2.create_or_update_secret(name, {"password": "second"})
        until(lambda: (tmp_path / "rendered").read_text() == "password=second", tmp_path)
        until(lambda: len(renewals().get(second, ())) >= 1, tmp_path)
        assert process.poll() is None
