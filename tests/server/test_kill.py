"""SIGKILL of the real server under load: what it acknowledged is there after the next start, whole."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from caveau.tests.server.running import Run, port_of

ROUNDS = int(os.environ.get("CAVEAU_KILL_ROUNDS", "8"))
WRITERS = 5
MOUNTS = 2


class Gone(Exception):
    """The server was killed: whether it took the request is not known."""


class Client:
    def __init__(self, port: int, token: str = "") -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        self.token = token

    def ask(self, verb: str, path: str, body: Any = None, token: str | None = None) -> tuple[int, Any]:
        headers = {"X-Vault-Token": self.token if token is None else token}
        try:
            self.connection.request(verb, f"/v1/{path}", None if body is None else json.dumps(body), headers)
            response = self.connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException):
            raise Gone from None
        return response.status, json.loads(text) if text else None


def padding(writer: int, version: int) -> str:
    """Long enough, often, for an entry to be on several pages."""
    return f"{writer}.{version}." * ((version * 37 + writer) % 700)


@dataclass
class Writer:
    """Writes the versions of one secret, each only on top of the one before."""

    number: int
    version: int = 0  # the last acknowledged

    @property
    def path(self) -> str:
        return f"kv/data/folder/{self.number}"

    def load(self, client: Client) -> None:
        new = self.version + 1
        data = {"version": new, "padding": padding(self.number, new)}
        status, answer = client.ask("POST", self.path, {"options": {"cas": self.version}, "data": data})
        assert status == 200, answer
        assert answer["data"]["version"] == new
        self.version = new

    def check(self, client: Client) -> None:
        status, answer = client.ask("GET", self.path)
        if status == 404 and self.version == 0:
            return
        assert status == 200, f"{self.path}: version {self.version} was acknowledged, {answer} is there"
        found = answer["data"]["metadata"]["version"]
        assert found - self.version in (0, 1), f"{self.path}: {self.version} was acknowledged, {found} is there"
        for version in range(max(1, found - 9), found + 1):
            status, answer = client.ask("GET", f"{self.path}?version={version}")
            assert status == 200, f"{self.path}: version {version} of {found} is missing: {answer}"
            assert answer["data"]["data"] == {"version": version, "padding": padding(self.number, version)}
        status, answer = client.ask("GET", f"kv/metadata/folder/{self.number}")
        assert (status, answer["data"]["current_version"]) == (200, found)
        assert answer["data"]["versions"].keys() == {str(each) for each in range(max(1, found - 9), found + 1)}
        self.version = found


@dataclass
class Tokens:
    """Creates tokens and revokes every third."""

    alive: list[str] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)
    doomed: str = ""  # a revocation was asked for and not acknowledged
    made: int = 0

    def load(self, client: Client) -> None:
        status, answer = client.ask("POST", "auth/token/create", {"policies": ["default"], "ttl": "5h"})
        assert status == 200, answer
        token = answer["auth"]["client_token"]
        self.alive.append(token)
        self.made += 1
        if self.made % 3 == 0:
            self.doomed = self.alive.pop()
            status, answer = client.ask("POST", "auth/token/revoke", {"token": self.doomed})
            assert status == 204, answer
            self.dead.append(self.doomed)
            self.doomed = ""

    def check(self, client: Client) -> None:
        self.doomed = ""
        for token in self.alive:
            status, answer = client.ask("GET", "auth/token/lookup-self", token=token)
            assert status == 200, f"a token that was given is refused: {answer}"
            assert client.ask("POST", "cubbyhole/own", {"a": "b"}, token)[0] == 204
        for token in self.dead:
            assert client.ask("GET", "auth/token/lookup-self", token=token)[0] == 403, "a revoked token is good"
        del self.alive[:-50], self.dead[:-50]


@dataclass
class Mounts:
    """Enables a mount, writes to it and disables it again."""

    number: int
    steps: int = 0  # acknowledged: enable, write, disable, enable ...

    @property
    def path(self) -> str:
        return f"mount{self.number}"

    def load(self, client: Client) -> None:
        verb, path, body = [
            ("POST", f"sys/mounts/{self.path}", {"type": "kv"}),
            ("POST", f"{self.path}/a", {"step": self.steps}),
            ("DELETE", f"sys/mounts/{self.path}", None),
        ][self.steps % 3]
        status, answer = client.ask(verb, path, body)
        if self.steps % 3 == 0 and status == 400 and "already in use" in str(answer):
            time.sleep(0.01)  # the purge of the one before, which an unseal goes on with
            return
        assert status == 204, f"{verb} {path}: {answer}"
        self.steps += 1

    def check(self, client: Client) -> None:
        """Move on to where the server is: at the step acknowledged or the one after."""
        mounted = f"{self.path}/" in client.ask("GET", "sys/mounts")[1]["data"]
        status, answer = client.ask("GET", f"{self.path}/a")
        step = self.steps % 3  # 0: nothing is there, 1: a mount, 2: something in it
        if step == 0:
            assert not mounted or status == 404, f"{self.path} is gone and still answers {answer}"
            assert status == 404, f"a new mount at {self.path} has what the one before held: {answer}"
            self.steps += mounted
        elif step == 1:
            assert mounted, f"{self.path} was enabled and is not there"
            if status == 200:
                assert answer["data"] == {"step": self.steps}
                self.steps += 1
        elif mounted:
            assert (status, answer["data"]) == (200, {"step": self.steps - 1})
        else:
            assert status == 404
            self.steps += 1


def keep_on(work: Callable[[Client], None], client: Client, failures: list[BaseException]) -> None:
    with contextlib.closing(client.connection):
        try:
            while True:
                work(client)
        except Gone:
            return
        except BaseException as error:
            failures.append(error)


def start(folder: Path, number: int) -> Run:
    """The server of a folder, for the ``number``th time."""
    (folder / "server.hcl").write_text(
        f'storage "sqlite" {{ path = "{folder}/caveau.db" }}\n'
        'listener "tcp" {\n address = "127.0.0.1:0"\n tls_disable = true\n}\n'
    )
    home = folder / f"run{number}"
    home.mkdir()
    return Run(home, folder / "bytecode", f"-config={folder}/server.hcl").started()


def unseal(client: Client, key: str, root: str) -> tuple[str, str]:
    """Unseal a server, which is initialised first if ``key`` is empty: its key and root token."""
    if not key:
        made = client.ask("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})[1]
        key, root = made["keys"][0], made["root_token"]
    client.token = root
    status, answer = client.ask("PUT", "sys/unseal", {"key": key})
    assert (status, answer["sealed"]) == (200, False)
    return key, root


@pytest.mark.slow
@pytest.mark.timeout(60 + 15 * ROUNDS)
def test_killed_under_load(tmp_path: Path) -> None:
    rng = random.Random()
    key, root = "", ""
    tokens, writers = Tokens(), [Writer(number) for number in range(WRITERS)]
    mounts = [Mounts(number) for number in range(MOUNTS)]
    loads = [tokens, *writers, *mounts]
    for number in range(ROUNDS + 1):
        run = start(tmp_path, number)
        client = Client(port_of(run), root)
        try:
            key, root = unseal(client, key, root)
            if not number:
                assert client.ask("POST", "sys/mounts/kv", {"type": "kv", "options": {"version": "2"}})[0] == 204
            for load in loads:
                load.check(client)
            if number == ROUNDS:
                break
            failures: list[BaseException] = []
            threads = [
                threading.Thread(target=keep_on, args=(load.load, Client(port_of(run), root), failures))
                for load in loads
            ]
            for thread in threads:
                thread.start()
            time.sleep(rng.uniform(0, rng.choice([0.05, 0.5, 1.5])))
            run.process.kill()
            for thread in threads:
                thread.join()
            assert not failures, failures
            assert "Traceback" not in run.log, run.log
        finally:
            client.connection.close()
            run.process.kill()
            run.process.wait()
    print(
        f"{ROUNDS} kills; {sum(each.version for each in writers)} versions, {tokens.made} tokens and "
        f"{sum(each.steps for each in mounts)} steps of mounts acknowledged"
    )


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_killed_while_the_children_of_a_token_end(tmp_path: Path) -> None:
    run = start(tmp_path, 0)
    client, asking = Client(port_of(run)), Client(port_of(run))
    try:
        key, root = unseal(client, "", "")
        asking.token = root
        parent = client.ask("POST", "auth/token/create", {})[1]["auth"]["client_token"]
        children = [client.ask("POST", "auth/token/create", {}, parent)[1]["auth"]["client_token"] for _ in range(3000)]
        thread = threading.Thread(
            target=keep_on, args=(lambda each: each.ask("POST", "auth/token/revoke", {"token": parent}), asking, [])
        )
        thread.start()
        while client.ask("GET", "auth/token/lookup-self", token=parent)[0] == 200:
            pass
        run.process.kill()
        thread.join()
        run.process.wait()
        client.connection.close()
        run = start(tmp_path, 1)
        client = Client(port_of(run))
        unseal(client, key, root)
        assert {client.ask("GET", "auth/token/lookup-self", token=child)[0] for child in reversed(children)} == {403}
        run.wait_for(lambda: len(client.ask("LIST", "auth/token/accessors")[1]["data"]["keys"]) == 1)
    finally:
        client.connection.close()
        run.process.kill()
        run.process.wait()
