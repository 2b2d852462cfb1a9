"""The plugin catalogue, and engines set up anew."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import orjson
import pytest
from caveau.framework.errors import InvalidRequest, NotFound, UnsupportedOperation
from caveau.server.sys import plugins


async def test_the_catalogue(server):
    catalogue = (await server.call("read", "sys/plugins/catalog")).data
    assert "kv" in catalogue["secret"]
    assert "cubbyhole" not in catalogue["secret"]
    assert (await server.call("list", "sys/plugins/catalog/secret")).data["keys"] == catalogue["secret"]
    (kv,) = (each for each in catalogue["detailed"] if each["name"] == "kv")
    assert (kv["type"], kv["builtin"]) == ("secret", True)
    shown = (await server.call("read", "sys/plugins/catalog/secret/kv")).data
    assert (shown["name"], shown["builtin"], shown["version"]) == ("kv", True, kv["version"])
    with pytest.raises(NotFound):
        await server.call("read", "sys/plugins/catalog/secret/none")


async def test_plugins_are_known_by_type(server):
    for op in ("read", "delete"):
        answer = await server.call(op, "sys/plugins/catalog/kv")
        assert answer.warnings[0].endswith('catalog for "kv"')
        with pytest.raises(UnsupportedOperation):
            await server.call(op, "sys/plugins/catalog/secret")
    with pytest.raises(UnsupportedOperation):
        await server.call("list", "sys/plugins/catalog/none")


async def test_plugins_are_installed_not_registered(server, monkeypatch):
    for path in ("secret/x", "x"):
        with pytest.raises(InvalidRequest, match="pip install"):
            await server.call("update", f"sys/plugins/catalog/{path}", {"sha256": "00" * 32, "command": "x"})
    await server.call("delete", "sys/plugins/catalog/secret/none")
    third = EntryPoint("third", "third_party.engine:Engine", "caveau.engines")
    monkeypatch.setattr(plugins.plugins, "installed", lambda kind: {"third": third} if kind == "secret" else {})
    with pytest.raises(InvalidRequest, match="uninstall it"):
        await server.call("delete", "sys/plugins/catalog/secret/third")


async def test_reload_puts_fresh_engines_in_place_and_keeps_the_data(server):
    await server.call("update", "kv-v1/a", {"x": "1"})
    before = {path: server.node.router.get(path).engine for path in ("kv-v1/", "kv-v2/")}
    await server.call("update", "sys/plugins/reload/backend", {"mounts": ["kv-v1"]})
    assert server.node.router.get("kv-v1/").engine is not before["kv-v1/"]
    assert server.node.router.get("kv-v2/").engine is before["kv-v2/"]
    answer = await server.call("update", "sys/plugins/reload/backend", {"plugin": "kv"})
    assert answer.data["reload_id"]
    assert server.node.router.get("kv-v2/").engine is not before["kv-v2/"]
    assert orjson.loads(orjson.dumps((await server.call("read", "kv-v1/a")).data)) == {"x": "1"}


@pytest.mark.parametrize("body", [{}, {"plugin": "kv", "mounts": ["kv-v1"]}, {"mounts": ["none"]}])
async def test_reload_that_is_refused(server, body):
    with pytest.raises(InvalidRequest):
        await server.call("update", "sys/plugins/reload/backend", body)
