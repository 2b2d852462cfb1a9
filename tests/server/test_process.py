"""The real command: start, answer, reload, stop, and what it says when it cannot."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import os
import re
import signal
import socket
import ssl
import stat
from pathlib import Path

import pytest
from caveau.cli.main import main
from caveau.tests.server.running import Run, port_of


@pytest.fixture(scope="module")
def bytecode(tmp_path_factory):
    """Where servers keep what they compiled, as an installed one has it: starting is most of what these tests do."""
    return tmp_path_factory.mktemp("bytecode")


@pytest.fixture
def start(tmp_path, bytecode):
    runs = []

    def start(*arguments: str, environ: dict[str, str] | None = None) -> Run:
        home = tmp_path / f"run{len(runs)}"
        home.mkdir()
        runs.append(Run(home, bytecode, *arguments, environ=environ))
        return runs[-1]

    yield start
    for run in runs:
        if run.process.poll() is None:
            run.process.kill()
            run.process.wait()


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


def test_dev_with_a_configuration_has_its_listeners_too(start, tmp_path):
    (tmp_path / "more.hcl").write_text(
        f'listener "unix" {{ address = "{tmp_path}/s" }}\ncluster_name = "blue"\nlog_level = "warn"'
    )
    run = start(*DEV, f"-config={tmp_path}/more.hcl").started()
    assert get(port_of(run), "/v1/sys/seal-status")[1]["cluster_name"] == "blue"
    assert stat.S_ISSOCK((tmp_path / "s").stat().st_mode)
    assert f'Listener 2: unix (addr: "{tmp_path}/s"' in run.out
    assert "[INFO]" not in run.log
    assert run.end() == 0
    assert not (tmp_path / "s").exists()


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


@pytest.mark.parametrize("wait_for", ["dev-init-begun", "caveau.db", "caveau.db-wal", "dev-keys.json"])
def test_dev_persist_survives_a_kill_at_its_first_start(start, tmp_path, wait_for):
    kept = tmp_path / "kept"
    flags = (f"-dev-persist={kept}", "-dev-listen-address=127.0.0.1:0", "-dev-no-store-token")
    kept.mkdir(mode=0o700)
    for unfinished in ("dev-init-begun", "dev-keys.json"):
        (kept / f"{unfinished}.1.new").touch()  # as left by a kill while the file is written
    for _ in range(2):
        run = start(*flags)
        run.wait_for((kept / wait_for).exists)
        run.process.kill()
        run.process.wait()
    run = start(*flags).started()
    assert sorted(file.name for file in kept.iterdir() if not file.name.startswith("caveau.db")) == ["dev-keys.json"]
    token = json.loads((kept / "dev-keys.json").read_text())["root_token"]
    assert get(port_of(run), "/v1/sys/mounts/secret/tune", token)[0] == 200


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
    config(tmp_path / "server.hcl", extra + '\nlog_level = "trace"\nlog_requests_level = "info"', headers)
    log_file.rename(tmp_path / "moved.log")
    reload()
    run.wait_for(lambda: get(port, "/v1/sys/seal-status", context=context)[2].get("X-Test") == "yes")
    assert serial() == fresh.serial
    run.wait_for(lambda: "completed_request: " in run.log)
    run.wait_for(lambda: "[INFO]  process: reloaded" in run.log)  # the file's level wins over -log-level=error
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


@pytest.fixture
def fail(capsys, monkeypatch, tmp_path):
    """Run the command in this process and give what it says on standard error; it is to fail with code 1."""
    root, level = logging.getLogger(), logging.getLogger("caveau").level
    handlers, raises = list(root.handlers), logging.raiseExceptions
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("BAO_", "VAULT_"))]:
        monkeypatch.delenv(name)

    def fail(*arguments: str) -> str:
        assert main(["server", *arguments]) == 1
        said = capsys.readouterr().err
        assert "Traceback" not in said
        return said

    yield fail
    for handler in [each for each in root.handlers if each not in handlers]:
        root.removeHandler(handler)
        handler.close()
    logging.getLogger("caveau").setLevel(level)
    logging.raiseExceptions = raises


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
        (["-dev", "-log-rotate-duration=soon"], "-log-rotate-duration: invalid duration 'soon'"),
        (["-dev", "-dev-listen-address=a:b:c"], "'a:b:c' is no address"),
        (["-dev", "surplus"], "Too many arguments (expected 0, got 1)"),
    ],
)
def test_wrong_use_is_told_with_exit_code_1(fail, arguments, message):
    assert message in fail(*arguments)


TCP = 'listener "tcp" {\n address = "127.0.0.1:0"\n tls_disable = 1\n}\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('storage "consul" {}', 'server.hcl:5: storage "consul" is not installed; there are: inmem'),
        ('storage "inmem" {}\nseal "pkcs12" {}', 'server.hcl:6: seal "pkcs12" is not installed; there are: shamir'),
        ('storage "sqlite" {}', 'server.hcl:5: storage "sqlite" needs path'),
        ('storage "sqlite" { path = "server.hcl/x" }', "Error: "),
        ('storage "inmem" {}\nlog_file = "/proc/nowhere/x"', "log_file: /proc/nowhere/x cannot be written"),
        ('storage "inmem" {}\npid_file = "/proc/nowhere/x"', "pid_file: /proc/nowhere/x cannot be written"),
    ],
)
def test_a_server_that_cannot_start_says_why(fail, tmp_path, text, message):
    (tmp_path / "server.hcl").write_text(TCP + text)
    assert message in fail("-config=server.hcl")


def test_an_address_in_use_is_told(fail):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        said = fail("-dev", f"-dev-listen-address={address}")
    assert f"-dev-listen-address: cannot listen on {address}: another program listens there" in said


def test_dev_persist_brings_its_own_store(fail, tmp_path):
    (tmp_path / "server.hcl").write_text('storage "inmem" {}')
    assert "server.hcl:1: -dev-persist brings its own store" in fail("-dev-persist=kept", "-config=server.hcl")
    assert not (tmp_path / "kept").exists()


def test_a_directory_that_does_not_fit_dev_persist(fail, tmp_path):
    flags = (f"-dev-persist={tmp_path}/kept", "-dev-listen-address=127.0.0.1:0")
    keys = tmp_path / "kept" / "dev-keys.json"
    keys.parent.mkdir()
    keys.write_text('{"unseal_key": "AAAA", "root_token": "hvs.one"}')
    keys.chmod(0o644)
    assert "chmod 600" in fail(*flags)
    keys.chmod(0o600)
    said = fail(*flags, "-dev-root-token-id=other")
    assert "was made with another root token" in said
    assert "hvs.one" not in said
    keys.write_text("[")
    assert "is damaged or cannot be read" in fail(*flags)


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
