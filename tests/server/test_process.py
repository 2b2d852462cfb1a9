"""The real command: start, answer, reload, stop, and what it says when it cannot."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

STARTED = "==> Caveau server started!"


class Run:
    """A server process; ``out`` and ``log`` are its standard output and error."""

    def __init__(self, home: Path, *arguments: str, environ: dict[str, str] | None = None) -> None:
        self.out_file, self.log_file = home / "out", home / "log"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("BAO_", "VAULT_", "CAVEAU_"))}
        with self.out_file.open("wb") as out, self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "caveau", "server", *arguments],
                stdout=out, stderr=log, stdin=subprocess.DEVNULL, cwd=home,
                env=kept | {"HOME": str(home)} | (environ or {}),
            )  # fmt: skip

    @property
    def out(self) -> str:
        return self.out_file.read_text()

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def wait_for(self, condition) -> None:
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, f"{self.out}\n{self.log}"
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.out}\n{self.log}"
            time.sleep(0.01)

    def started(self) -> Run:
        self.wait_for(lambda: STARTED in self.out)
        return self

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(15)


@pytest.fixture
def start(tmp_path):
    runs = []

    def start(*arguments: str, environ: dict[str, str] | None = None) -> Run:
        home = tmp_path / f"run{len(runs)}"
        home.mkdir()
        runs.append(Run(home, *arguments, environ=environ))
        return runs[-1]

    yield start
    for run in runs:
        if run.process.poll() is None:
            run.process.kill()
            run.process.wait()


def port_of(run: Run) -> int:
    found = re.search(r'addr: "127\.0\.0\.1:(\d+)"', run.out)
    assert found, run.out
    return int(found[1])


def get(port: int, path: str, token: str = "", context: ssl.SSLContext | None = None) -> tuple[int, dict, dict]:
    make = http.client.HTTPSConnection if context else http.client.HTTPConnection
    with contextlib.closing(make("127.0.0.1", port, timeout=10, **({"context": context} if context else {}))) as conn:
        conn.request("GET", path, headers={"X-Vault-Token": token})
        response = conn.getresponse()
        return response.status, json.loads(response.read() or b"{}"), dict(response.getheaders())


def config(path: Path, extra: str = "", listener: str = "tls_disable = true") -> str:
    path.write_text(
        f'storage "sqlite" {{ path = "{path.parent}/caveau.db" }}\n'
        f'listener "tcp" {{\n address = "127.0.0.1:0"\n {listener}\n}}\n{extra}\n'
    )
    return f"-config={path}"


DEV = ("-dev", "-dev-listen-address=127.0.0.1:0", "-dev-root-token-id=root")


def test_dev_server(start, tmp_path):
    run = start(*DEV).started()
    run.wait_for(lambda: "Root Token" in run.out)
    port = port_of(run)
    assert f"export VAULT_ADDR='http://127.0.0.1:{port}'" in run.out
    assert "Root Token: root\n" in run.out
    assert re.search(r"^Unseal Key: [A-Za-z0-9+/=]{44}$", run.out, re.MULTILINE)
    assert get(port, "/v1/sys/mounts/secret/tune", "root")[0] == 200
    assert get(port, "/v1/sys/mounts", "wrong")[0] == 403
    token_file = tmp_path / "run0" / ".vault-token"
    assert token_file.read_text() == "root"
    assert stat.S_IMODE(token_file.stat().st_mode) == 0o600
    assert run.end() == 0
    assert "Root Token" not in run.log
    assert "Traceback" not in run.log


def test_dev_root_token_and_address_from_the_environment(start, tmp_path):
    environ = {"VAULT_DEV_ROOT_TOKEN_ID": "from-vault", "BAO_DEV_LISTEN_ADDRESS": "127.0.0.1:0"}
    run = start("-dev", "-dev-no-store-token", environ=environ).started()
    assert get(port_of(run), "/v1/auth/token/lookup-self", "from-vault")[0] == 200
    assert not (tmp_path / "run0" / ".vault-token").exists()
    assert run.end(signal.SIGINT) == 0


def test_dev_tls(start, tmp_path):
    folder = tmp_path / "certs"
    run = start(*DEV, "-dev-tls", f"-dev-tls-cert-dir={folder}", "-dev-tls-san=vault.test").started()
    run.wait_for(lambda: "VAULT_CACERT" in run.out)
    context = ssl.create_default_context(cafile=str(folder / "vault-ca.pem"))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    assert get(port_of(run), "/v1/sys/mounts", "root", context)[0] == 200
    with (
        socket.create_connection(("127.0.0.1", port_of(run))) as raw,
        context.wrap_socket(raw, server_hostname="vault.test") as wrapped,
    ):
        assert wrapped.version() == "TLSv1.3"
    assert stat.S_IMODE((folder / "vault-key.pem").stat().st_mode) == 0o600
    assert run.end() == 0


def test_dev_tls_in_a_temporary_folder_is_cleaned_up(start):
    run = start(*DEV, "-dev-tls").started()
    run.wait_for(lambda: "VAULT_CACERT" in run.out)
    folder = Path(re.search(r"VAULT_CACERT='([^']+)'", run.out)[1]).parent
    assert folder.is_dir()
    assert run.end() == 0
    assert not folder.exists()


def test_dev_persist_comes_back_with_data_and_token(start, tmp_path):
    flags = ("-dev-persist=" + str(tmp_path / "kept"), "-dev-listen-address=127.0.0.1:0", "-dev-cluster-json=c.json")
    first = start(*flags).started()
    first.wait_for(lambda: "Root Token" in first.out)
    token = re.search(r"Root Token: (\S+)", first.out)[1]
    keys = tmp_path / "kept" / "dev-keys.json"
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600
    cluster = json.loads((tmp_path / "run0" / "c.json").read_text())
    assert cluster["root_token"] == token
    assert cluster["nodes"] == [{"api_address": f"http://127.0.0.1:{port_of(first)}"}]
    assert first.end() == 0
    second = start(*flags).started()
    assert get(port_of(second), "/v1/auth/token/lookup-self", token)[0] == 200
    assert second.end() == 0
    other = start(*flags, "-dev-root-token-id=other")
    assert other.process.wait(30) == 1
    assert "was made with another root token" in other.log
    keys.chmod(0o644)
    readable = start(*flags)
    assert readable.process.wait(30) == 1
    assert "chmod 600" in readable.log
    keys.unlink()
    lost = start(*flags)
    assert lost.process.wait(30) == 1
    assert "holds data but not its dev-keys.json" in lost.log


def test_a_configured_server_starts_sealed(start, tmp_path):
    pid_file = tmp_path / "caveau.pid"
    extra = f'pid_file = "{pid_file}"\npid_file_mode = "0600"\ndisable_mlock = true\nlog_level = "debug"'
    run = start(config(tmp_path / "server.hcl", extra)).started()
    status, body, headers = get(port_of(run), "/v1/sys/seal-status")
    assert (status, body["initialized"], body["sealed"]) == (200, False, True)
    assert headers["Server"] == "Caveau"
    assert pid_file.read_text() == f"{run.process.pid}\n"
    assert stat.S_IMODE(pid_file.stat().st_mode) == 0o600
    assert "server.hcl:8: disable_mlock: memory is not locked" in run.log
    assert "Storage: sqlite" in run.out
    assert "Root Token" not in run.out
    assert run.end() == 0
    assert not pid_file.exists()


def test_sighup_reloads_certificates_level_headers_and_log_file(start, tmp_path, authority):
    pair = authority.issue("server")
    log_file = tmp_path / "caveau.log"
    listener = f'tls_cert_file = "{pair.cert}"\n tls_key_file = "{pair.key}"'
    extra = f'log_file = "{log_file}"'
    run = start(config(tmp_path / "server.hcl", extra, listener), "-log-level=error").started()
    port = port_of(run)
    context = ssl.create_default_context(cafile=str(authority.pem))

    def serial() -> int:
        with (
            socket.create_connection(("127.0.0.1", port)) as raw,
            context.wrap_socket(raw, server_hostname="localhost") as wrapped,
        ):
            return int(wrapped.getpeercert()["serialNumber"], 16)

    def reload() -> None:
        before = run.out.count("reload triggered")
        run.process.send_signal(signal.SIGHUP)
        run.wait_for(lambda: run.out.count("reload triggered") > before)

    assert serial() == pair.serial
    fresh = authority.issue("server")
    headers = listener + '\n custom_response_headers { "default" = { "X-Test" = "yes" } }'
    config(tmp_path / "server.hcl", extra + '\nlog_level = "trace"', headers)
    log_file.rename(tmp_path / "moved.log")
    reload()
    run.wait_for(lambda: get(port, "/v1/sys/seal-status", context=context)[2].get("X-Test") == "yes")
    assert serial() == fresh.serial
    assert log_file.exists()
    pair.cert.write_text("rubbish")
    (tmp_path / "server.hcl").write_text("mistake = 1")
    reload()
    run.wait_for(lambda: "the old certificates stay in use" in run.log)
    assert 'unknown directive "mistake"' in run.log
    assert "the old certificates stay in use" in log_file.read_text()
    assert serial() == fresh.serial
    assert run.end() == 0


def test_systemd_is_told(start, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(str(tmp_path / "notify"))
        supervisor.settimeout(30)
        run = start(*DEV, environ={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        assert supervisor.recv(100) == b"READY=1"
        run.started()
        run.process.send_signal(signal.SIGHUP)
        assert supervisor.recv(100).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        assert supervisor.recv(100) == b"READY=1"
        assert run.end() == 0
        assert supervisor.recv(100) == b"STOPPING=1"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Must specify at least one config path using -config"),
        (["-config=missing.hcl"], "missing.hcl: no such file"),
        (["-dev-tls-san=x"], "-dev-tls-san needs -dev"),
        (["-recovery"], "-recovery: there is no recovery mode"),
        (["-dev", "-dev-three-node"], "-dev-three-node: a dev server is one server"),
        (["-dev", "-dev-plugin-dir=x"], "-dev-plugin-dir: plug-ins are Python packages"),
        (["-dev", "-log-level=loud"], "-log-level: must be one of trace, debug, info, warn, error"),
        (["-dev", "-dev-listen-address=a:b:c"], "'a:b:c' is no address"),
        (["-dev", "surplus"], "Too many arguments (expected 0, got 1)"),
    ],
)
def test_wrong_use_is_told_with_exit_code_1(start, arguments, message):
    run = start(*arguments)
    assert run.process.wait(30) == 1
    assert message in run.log
    assert "Traceback" not in run.log


def failing(start, tmp_path, text: str) -> str:
    (tmp_path / "server.hcl").write_text(text)
    run = start(f"-config={tmp_path}/server.hcl")
    assert run.process.wait(30) == 1
    assert "Traceback" not in run.log
    return run.log


TCP = 'listener "tcp" {\n address = "127.0.0.1:0"\n tls_disable = 1\n}\n'


def test_a_server_that_cannot_start_says_why(start, tmp_path):
    log = failing(start, tmp_path, TCP + 'storage "consul" {}')
    assert 'server.hcl:5: storage "consul" is not installed; there are: inmem' in log
    log = failing(start, tmp_path, TCP + 'storage "inmem" {}\nseal "pkcs12" {}')
    assert 'server.hcl:6: seal "pkcs12" is not installed; there are: shamir' in log
    log = failing(start, tmp_path, TCP + 'storage "sqlite" {}')
    assert 'server.hcl:5: storage "sqlite" needs path' in log
    log = failing(start, tmp_path, TCP + f'storage "sqlite" {{ path = "{tmp_path}/server.hcl/x" }}')
    assert "Error: " in log
    log = failing(start, tmp_path, TCP + 'storage "inmem" {}\nlog_file = "/proc/nowhere/x"')
    assert "log_file: /proc/nowhere/x cannot be written" in log
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        log = failing(
            start, tmp_path, f'listener "tcp" {{\n address = "{address}"\n tls_disable = 1\n}}\nstorage "inmem" {{}}'
        )
    assert f"cannot listen on {address}: another program listens there" in log


def test_requests_in_flight_are_answered_before_the_end(start):
    run = start(*DEV).started()
    with socket.create_connection(("127.0.0.1", port_of(run))) as client:
        body = b'{"data":{"a":"b"}}'
        head = (
            f"POST /v1/secret/data/x HTTP/1.1\r\nHost: h\r\nX-Vault-Token: root\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        client.sendall(head.encode() + body[:5])
        # A whole request behind the half one: once it is answered, the server has read both.
        assert get(port_of(run), "/v1/sys/seal-status")[0] == 200
        run.process.send_signal(signal.SIGTERM)
        run.wait_for(lambda: "shutdown triggered" in run.out)
        client.sendall(body[5:])
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
    assert run.process.wait(15) == 0
