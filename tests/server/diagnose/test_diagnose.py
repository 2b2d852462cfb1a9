"""What a configuration lacks is found before a server starts."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import socket
from collections import namedtuple
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from caveau.server.config import ListenerConfig
from caveau.server.dev import CERT_FILE, KEY_FILE, write_certificates
from caveau.server.diagnose import certificates, run
from caveau.server.diagnose.report import Check
from caveau.storage.sqlite import SqliteStore


@pytest.fixture(scope="module")
def tls(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    write_certificates(folder, "127.0.0.1:1", ())
    (folder / KEY_FILE).chmod(0o600)
    return folder


@pytest.fixture
def data(tmp_path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def diagnosed(tmp_path, tls, data):
    def diagnose(*, text: str = "", listener: str = "", port: int = 0, skip=()) -> Check:
        file = tmp_path / "server.hcl"
        listener = listener or f'tls_cert_file = "{tls / CERT_FILE}"\n tls_key_file = "{tls / KEY_FILE}"'
        file.write_text(
            f'storage "sqlite" {{ path = "{data}" }}\n'
            f'listener "tcp" {{\n address = "127.0.0.1:{port}"\n {listener}\n}}\n'
            f'api_addr = "https://vault.example:8200"\n{text}\n'
        )
        return run([str(file)], skip)

    return diagnose


def named(found: Check, name: str) -> list[Check]:
    return [each for _, each in found.walk() if each.name == name]


def test_a_server_that_lacks_nothing(diagnosed):
    found = diagnosed()
    assert [(each.name, each.message) for _, each in found.walk() if each.status in ("warn", "error")] == []
    assert found.worst == "ok"
    assert named(found, "Check Autounseal Encryption")[0].status == "skipped"


def test_every_mistake_of_the_configuration_is_told(diagnosed):
    found = diagnosed(text='cache_sizes = 4\nlog_level = "loud"')
    problems = [each.message for each in named(found, "Check Configuration Syntax")]
    assert len(problems) == 2
    assert found.worst == "error"
    assert [each.name for each in found.children] == ["Check Operating System", "Parse Configuration"]


def test_settings_without_effect_are_warned_of(diagnosed):
    found = diagnosed(text='telemetry {\n statsd_address = "127.0.0.1:8125"\n}')
    (warned,) = named(found, "Check Directive")
    assert "statsd_address" in warned.message
    assert "metrics are not pushed" in warned.message
    assert found.worst == "warn"


def test_an_address_that_is_taken(diagnosed):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        found = diagnosed(port=port)
        (tried,) = named(found, "Create Listeners")
        assert (tried.status, "another program listens there" in tried.message) == ("error", True)
        assert tried.advice == "Is the server running? Then use -skip=listener."
        skipped = diagnosed(port=port, skip=["listener"])
    assert skipped.worst == "ok"
    assert named(skipped, "Start Listeners")[0].status == "skipped"


def test_no_tls(diagnosed):
    found = diagnosed(listener="tls_disable = true")
    assert "TLS is disabled" in named(found, "Check Listener TLS")[0].message
    assert found.worst == "warn"


def test_a_certificate_that_is_not_there(diagnosed):
    found = diagnosed(listener='tls_cert_file = "/nope.pem"\n tls_key_file = "/nope.key"')
    assert "/nope.pem cannot be read" in named(found, "Check Listener TLS")[0].message
    assert named(found, "Create Listeners") == []  # it could not be


@pytest.mark.parametrize(
    ("days", "status", "text"), [(0, "ok", "is valid until"), (-2, "error", "not valid before"),
                                 (20_000, "error", "has expired on")]
)  # fmt: skip
def test_how_long_a_certificate_is_good(tls, days, status, text):
    found = Check("Check Listener TLS")
    listener = ListenerConfig(tls_cert_file=str(tls / CERT_FILE), tls_key_file=str(tls / KEY_FILE))
    certificates.check(found, listener, datetime.now(UTC) + timedelta(days=days))
    first = named(found, "Check Validity")[0]
    assert (first.status, text in first.message) == (status, True)


def test_a_certificate_that_ends_soon(tls):
    listener = ListenerConfig(tls_cert_file=str(tls / CERT_FILE), tls_key_file=str(tls / KEY_FILE))
    end = certificates.x509.load_pem_x509_certificate((tls / CERT_FILE).read_bytes()).not_valid_after_utc
    found = Check("Check Listener TLS")
    certificates.check(found, listener, end - timedelta(days=5, hours=1))
    first = named(found, "Check Validity")[0]
    assert (first.status, "expires in 5 days" in first.message) == ("warn", True)


def test_a_key_that_others_can_read(diagnosed, tls):
    (tls / KEY_FILE).chmod(0o644)
    try:
        (found,) = named(diagnosed(), "Check Key Permissions")
    finally:
        (tls / KEY_FILE).chmod(0o600)
    assert found.status == "warn"
    assert found.advice == f"Run: chmod 600 {tls / KEY_FILE}"


def test_a_directory_that_others_can_read(diagnosed, data):
    data.chmod(0o755)
    (found,) = named(diagnosed(), "Check Storage Directory")
    assert (found.status, found.message) == ("warn", "too many permissions: perms are drwxr-xr-x")


def test_nothing_is_created_where_nothing_is(diagnosed, data):
    found = diagnosed()
    assert "There is no store yet" in named(found, "Check Storage Access")[0].message
    assert list(data.iterdir()) == []
    data.rmdir()
    assert named(diagnosed(), "Check Storage Directory")[0].status == "warn"
    assert not data.exists()


def test_a_store_is_written_and_left_as_it_was(diagnosed, data):
    async def contents():
        store = SqliteStore(data)
        await store.open()
        try:
            return await store.list("")
        finally:
            await store.close()

    assert asyncio.run(contents()) == []
    (found,) = named(diagnosed(), "Check Storage Access")
    assert (found.status, found.message.startswith("A commit took ")) == ("ok", True)
    assert asyncio.run(contents()) == []


def test_a_store_in_use(diagnosed, data):
    async def while_in_use():
        store = SqliteStore(data)
        await store.open()
        try:
            return await asyncio.to_thread(diagnosed)
        finally:
            await store.close()

    (found,) = named(asyncio.run(while_in_use()), "Check Storage Access")
    assert found.status == "error"
    assert found.advice == "The server is running: stop it, or use -skip=storage."
    assert named(diagnosed(skip=["storage"]), "Check Storage")[0].status == "skipped"


def test_limits_of_the_system(diagnosed, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 256))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(100 << 30, 99 << 30, 1 << 30))
    found = diagnosed()
    assert named(found, "Check Open File Limits")[0].message == "Open file limits are set to 256."
    assert named(found, "Check Disk Usage")[0].message == "/ has 1024 MB left, 1% of the disk."
    assert {each.status for each in named(found, "Check Disk Usage")} == {"warn"}


def test_a_store_of_another_user_is_not_opened(diagnosed, data, monkeypatch):
    asyncio.run(_made(data))
    before = sorted(data.iterdir())
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    (found,) = named(diagnosed(), "Check Storage Access")
    assert (found.status, found.advice) == ("warn", "Run this as the user that the server runs as.")
    assert sorted(data.iterdir()) == before


async def _made(data: Path) -> None:
    store = SqliteStore(data)
    await store.open()
    await store.close()
