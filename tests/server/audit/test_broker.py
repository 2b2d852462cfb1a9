"""Who is in service, and that nothing is answered unrecorded."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from caveau.framework.errors import InvalidRequest, Sealed
from caveau.server.audit import AuditFailed, channel
from caveau.server.audit.broker import Enabled
from caveau.server.config import AuditConfig
from caveau.tests.server.audit.conftest import Memory
from caveau.tests.server.harness import Server
from caveau.tests.server.overhttp import serving


def add(server: Server, path: str) -> Memory:
    """Put a device of ours beside those there are."""
    broker, device = server.core.audit, Memory()
    formatter = next(iter(broker.devices.values())).formatter
    entry = next(iter(broker.devices.values())).entry
    broker.devices[path] = Enabled(entry, formatter, channel.Channel(path, device, server.core.metrics))
    return device


@pytest.fixture
async def only(audited):
    """A server whose only device is ours."""
    await audited.enable()
    device = add(audited.server, "ours/")
    discarded = audited.server.core.audit.devices.pop("file/")
    await discarded.channel.close()
    yield audited.server, device
    device.gate.set()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_a_device_s_life(audited, tmp_path):
    server, file = audited.server, tmp_path / "audit.log"
    options = {"file_path": str(file), "elide_list_responses": "true"}
    await server.call("update", "sys/audit/file", {"type": "file", "options": options})
    shown = (await server.call("read", "sys/audit")).data
    assert shown == {"file/": {"description": "", "local": False, "path": "file/", "type": "file", "options": options}}
    test, enabled, request, response = await asyncio.to_thread(lines, file)
    assert test["request"]["path"] == "sys/audit/test"
    assert (enabled["type"], enabled["request"]["path"]) == ("response", "sys/audit/file")
    assert enabled["request"]["data"]["options"]["file_path"].startswith("hmac-sha256:")
    assert enabled["auth"]["policy_results"]["granting_policies"][0]["name"] == "root"
    assert request["request"]["path"] == response["request"]["path"] == "sys/audit"
    with pytest.raises(InvalidRequest, match="path already in use"):
        await audited.enable("file/below")
    hashed = (await server.call("update", "sys/audit-hash/file", {"input": "v"})).data
    await server.seal()
    await server.unseal()
    assert (await server.call("read", "sys/audit")).data == shown
    assert (await server.call("update", "sys/audit-hash/file", {"input": "v"})).data == hashed
    await server.call("delete", "sys/audit/file")
    written = await asyncio.to_thread(lines, file)
    await server.call("read", "sys/mounts")
    assert await asyncio.to_thread(lines, file) == written
    await server.seal()
    await server.unseal()
    assert (await server.call("read", "sys/audit")).data == {}
    await server.call("delete", "sys/audit/file")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"type": "file"}, "file_path is required"),
        ({"type": "nosuch"}, 'unknown backend type: "nosuch"'),
        ({"type": "file", "options": {"file_path": "/proc/none/x"}}, "failed test message"),
        ({"type": "file", "options": {"file_path": "x", "mode": "0777"}}, "executable"),
        ({"type": "file", "options": {"file_path": "x", "mode": "zz"}}, "octal"),
        ({"type": "file", "options": {"file_path": "x", "log_raw": "zz"}}, "log_raw is neither"),
        ({"type": "file", "options": {"file_path": "x", "prefix": "zz"}}, "prefixing is not allowed"),
        ({"type": "file", "options": {"file_path": "x", "format": "jsonx"}}, "unknown format type"),
        ({"type": "file", "options": {"file_path": "x", "lograw": "true"}}, "no option lograw"),
        ({"type": "file", "options": {"file_path": "x", "filter": "nosuch == x"}}, "no selector"),
        ({"type": "file", "options": {"file_path": "x", "exclude": "{}"}}, "exclude is not"),
        ({"type": "socket"}, "address is required"),
        ({"type": "socket", "options": {"address": "nowhere"}}, "HOST:PORT"),
        ({"type": "socket", "options": {"address": "127.0.0.1:1"}}, "Connection refused"),
        ({"type": "socket", "options": {"address": "a:1", "socket_type": "x"}}, "unsupported socket_type"),
        ({"type": "socket", "options": {"address": "a:1", "write_timeout": "1h"}}, "write_timeout"),
        ({"type": "syslog", "options": {"facility": "x"}}, "unknown facility"),
        ({"type": "syslog", "options": {"address": "/nonexistent"}}, "failed test message"),
        ({"type": "http"}, "uri is required"),
        ({"type": "http", "options": {"uri": "ftp://x"}}, "uri is not"),
        ({"type": "http", "options": {"uri": "http://x", "headers": "x"}}, "headers is not"),
    ],
)  # fmt: skip
async def test_what_cannot_be_enabled(audited, options, message):
    with pytest.raises(InvalidRequest, match=message):
        await audited.server.call("update", "sys/audit/x", options)
    assert audited.server.core.audit.devices == {}


async def test_enabling_through_the_api_can_be_forbidden(tmp_path):
    server = await Server(unsafe_allow_api_audit_creation=False).start()
    with pytest.raises(InvalidRequest, match="declarative"):
        await server.call("update", "sys/audit/x", {"type": "file", "options": {"file_path": str(tmp_path / "x")}})


async def test_a_declared_device(tmp_path):
    def declared(name: str) -> AuditConfig:
        return AuditConfig(type="file", path="main", description="d", options={"file_path": str(tmp_path / name)})

    server = await Server(audits=(declared("a"),)).start()
    assert (await server.call("read", "sys/audit")).data["main/"]["description"] == "d"
    salt = server.core.audit.devices["main/"].entry.salt
    with pytest.raises(InvalidRequest, match="configuration-managed"):
        await server.call("delete", "sys/audit/main")
    await server.core.audit.reload(replace(server.core.config, audits=(declared("b"),)), server.node)
    await server.call("read", "sys/mounts")
    assert len(await asyncio.to_thread(lines, tmp_path / "b")) == 2
    assert server.core.audit.devices["main/"].entry.salt == salt
    await server.core.audit.reload(replace(server.core.config, audits=()), server.node)
    assert (await server.call("read", "sys/audit")).data == {}
    await server.seal()


async def test_nothing_is_answered_that_nobody_recorded(only):
    server, device = only
    await server.call("update", "kv-v1/a", {"k": "v"})
    device.error = OSError(28, "No space left on device")
    with pytest.raises(AuditFailed, match=r"ours/ \(No space left on device\)"):
        await server.call("read", "kv-v1/a")
    assert (await server.call("read", "sys/health")).data["audit_failing"] == {"ours/": "No space left on device"}
    with pytest.raises(AuditFailed):
        await server.call("update", "kv-v1/a", {"k": "changed"})
    with pytest.raises(AuditFailed):
        await server.call("read", "nosuch/path")
    device.error = None
    assert orjson.dumps((await server.call("read", "kv-v1/a")).data) == b'{"k":"v"}'  # the write was not done
    assert "audit_failing" not in (await server.call("read", "sys/health")).data


async def test_one_of_several_is_enough(only):
    server, device = only
    other = add(server, "other/")
    device.error = OSError("broken")
    await server.call("read", "sys/mounts")
    assert server.core.audit.devices["ours/"].channel.lost == 2
    device.error, other.error = None, OSError("broken too")
    await server.call("read", "sys/mounts")
    device.error = OSError("broken")
    with pytest.raises(AuditFailed, match=r"ours/ \(broken\), other/ \(broken too\)"):
        await server.call("read", "sys/mounts")


async def test_a_device_that_hangs_is_not_waited_for_for_long(only, monkeypatch):
    monkeypatch.setattr(channel, "LIMIT_SECONDS", 0.1)
    server, device = only
    device.gate.clear()
    with pytest.raises(AuditFailed, match=r"did not finish within 0.1 seconds"):
        await asyncio.wait_for(server.call("read", "sys/mounts"), 5)
    with pytest.raises(AuditFailed):
        await asyncio.wait_for(server.call("read", "sys/mounts"), 0.09)  # at once
    other = add(server, "other/")
    await asyncio.wait_for(server.call("read", "sys/mounts"), 0.09)
    assert len(other.written) == 2
    device.gate.set()
    ours = server.core.audit.devices["ours/"].channel
    await ours.perform(lambda: None)  # comes after what hung
    assert server.core.audit.failures() == {}
    written = len(device.written)
    await server.call("read", "sys/mounts")
    await ours.perform(lambda: None)
    assert len(device.written) == written + 2


async def test_a_write_is_not_begun_before_its_request_is_recorded(only):
    server, device = only
    device.gate.clear()
    write = asyncio.create_task(server.call("update", "kv-v1/new", {"k": "v"}))
    for _ in range(50):
        await asyncio.sleep(0)
    assert not [key for key, raw in (await server.plain()).items() if key.endswith("/new")]
    device.gate.set()
    await write
    assert [key for key, raw in (await server.plain()).items() if key.endswith("/new")]


async def test_entries_that_come_together_are_one_group(only):
    server, device = only
    before = device.groups
    await asyncio.gather(*(server.call("read", "sys/mounts") for _ in range(20)))
    assert len(device.written) >= 40
    assert device.groups - before <= 4


async def test_monitors_are_not_recorded(only):
    server, device = only
    await server.call("read", "sys/health", token="")
    await server.call("read", "sys/seal-status", token="")
    assert device.written == []


async def test_a_request_that_is_broken_off_is_recorded(only):
    server, device = only
    device.gate.clear()
    task = asyncio.create_task(server.call("update", "kv-v1/a", {"k": "v"}))
    for _ in range(20):
        await asyncio.sleep(0)
    task.cancel()
    device.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    await server.call("read", "sys/mounts")
    assert b'"path":"kv-v1/a"' in device.written[0]


async def test_nothing_is_answered_once_the_devices_are_closed(only):
    server, device = only
    device.gate.clear()
    read = asyncio.create_task(server.call("read", "sys/mounts"))
    for _ in range(20):
        await asyncio.sleep(0)
    server.core.audit.closed = True
    device.gate.set()
    await read  # both entries were under way
    with pytest.raises(Sealed):
        await server.call("read", "sys/mounts")
    server.core.audit.closed = False


async def test_sealing_is_recorded_and_answered(audited):
    await audited.enable()
    await audited.server.call("update", "sys/seal")
    assert audited.entries()[-1]["request"]["path"] == "sys/seal"
    assert audited.server.core.sealed


async def test_the_token_s_header_is_never_shown(audited):
    await audited.enable()
    await audited.server.call("update", "sys/config/auditing/request-headers/X-Vault-Token", {"hmac": False})
    await audited.server.call("read", "sys/mounts", headers={"x-vault-token": audited.server.root})
    assert audited.server.root not in audited.text()


async def test_each_device_is_timed(only):
    server, _ = only
    await server.call("read", "sys/mounts")
    timings = {each.key.name: each.count for each in server.core.metrics.all_timings()}
    assert timings["audit.ours-.log_request"] == timings["audit.ours-.log_response"] == 1
    assert timings["audit.log_request"] == 1
    assert timings["audit.log_response"] == 2  # one of them is that the first device was enabled


async def test_a_write_whose_client_has_gone_is_done(only):
    server, device = only
    device.gate.clear()
    async with serving(server) as http:
        asking = asyncio.create_task(http.ask("POST", "/v1/kv-v1/a", {"k": "v"}))
        assert await asyncio.to_thread(device.begun.wait, 5)
        http._writer.close()
        await http._writer.wait_closed()
        for _ in range(20):
            await asyncio.sleep(0)
        asking.cancel()
        device.gate.set()
    assert orjson.dumps((await server.call("read", "kv-v1/a")).data) == b'{"k":"v"}'
