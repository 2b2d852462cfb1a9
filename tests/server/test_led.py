"""Servers that share a store: one leads, the others wait."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from caveau.tests.postgresql import Cluster
from caveau.tests.server.running import Run, port_of


@pytest.fixture
def database(postgresql: Cluster) -> str:
    return postgresql.database()


@pytest.fixture
def start(tmp_path: Path, postgresql: Cluster, database: str) -> Iterator[Callable[[], Run]]:
    file = tmp_path / "caveau.hcl"
    file.write_text(
        'storage "postgresql" { ha_enabled = "true" }\n'
        'listener "tcp" {\n address = "127.0.0.1:0"\n tls_disable = true\n}'
    )
    runs: list[Run] = []

    def start() -> Run:
        home = tmp_path / f"run{len(runs)}"
        home.mkdir()
        environ = {"VAULT_PG_CONNECTION_URL": postgresql.url(database)}
        runs.append(Run(home, tmp_path / "bytecode", f"-config={file}", environ=environ))
        return runs[-1]

    yield start
    for run in runs:
        if run.process.poll() is None:
            run.process.kill()
            run.process.wait()


def ask(run: Run, method: str, path: str, token: str = "", **body: object) -> dict[str, object]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port_of(run), timeout=20)) as connection:
        connection.request(method, f"/v1/{path}", json.dumps(body), {"X-Vault-Token": token})
        return json.loads(connection.getresponse().read() or b"{}")


@pytest.mark.slow
def test_one_leads_and_the_other_takes_over_when_it_dies(
    start: Callable[[], Run], postgresql: Cluster, database: str
) -> None:
    first = start().started()
    made = ask(first, "POST", "sys/init", secret_shares=1, secret_threshold=1)
    token, key = str(made["root_token"]), made["keys"][0]
    ask(first, "POST", "sys/unseal", key=key)
    ask(first, "POST", "cubbyhole/x", token, a="b")

    second = start()
    second.wait_for(lambda: "waits until it can lead: postgresql: another server" in second.log)
    assert "server started" not in second.out
    first.process.kill()
    second.started()
    ask(second, "POST", "sys/unseal", key=key)
    assert ask(second, "GET", "cubbyhole/x", token)["data"] == {"a": "b"}

    postgresql.psql("UPDATE caveau_leader SET epoch = epoch + 1", database)
    refused = ask(second, "POST", "cubbyhole/x", token, a="c")
    assert "another server has taken the lead" in str(refused["errors"])
    assert second.process.wait(15) == 1
    assert "Error: postgresql: this server does not lead any more" in second.log

    third = start().started()
    ask(third, "POST", "sys/unseal", key=key)
    assert ask(third, "GET", "cubbyhole/x", token)["data"] == {"a": "b"}
    assert third.end() == 0
    assert postgresql.url(database) not in first.log + second.log + third.log
