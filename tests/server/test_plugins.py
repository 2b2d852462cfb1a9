from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest
from caveau.framework.errors import InvalidRequest
from caveau.server import plugins


@pytest.fixture(autouse=True)
def fresh():
    plugins.installed.cache_clear()
    yield
    plugins.installed.cache_clear()


def test_what_came_with_the_server_is_found_without_a_look_at_every_distribution(monkeypatch):
    monkeypatch.setattr(plugins, "entry_points", lambda **_: pytest.fail("looked"))
    assert plugins.load("secret", "kv").__module__.startswith("caveau.engines.kv")
    point = plugins.find("storage", "sqlite")
    assert plugins.is_builtin(point)
    assert plugins.version(point) == plugins.OWN_VERSION


def test_others_are_found_too_and_take_no_built_in_ones_place(monkeypatch):
    theirs = [EntryPoint(name, "evil:Engine", plugins.GROUPS["secret"]) for name in ("kv", "other")]
    monkeypatch.setattr(plugins, "entry_points", lambda **_: theirs)
    assert plugins.find("secret", "other").value == "evil:Engine"
    assert plugins.is_builtin(plugins.find("secret", "kv"))
    assert plugins.is_builtin(plugins.installed("secret")["kv"])
    assert not plugins.is_builtin(plugins.installed("secret")["other"])


def test_unknown_names_and_what_cannot_be_imported(monkeypatch):
    broken = [EntryPoint("broken", "no_such_module:Engine", plugins.GROUPS["secret"])]
    monkeypatch.setattr(plugins, "entry_points", lambda **_: broken)
    assert plugins.find("secret", "none") is None
    with pytest.raises(InvalidRequest, match="not found in the catalog: none"):
        plugins.load("secret", "none")
    with pytest.raises(InvalidRequest, match="'broken' cannot be loaded"):
        plugins.load("secret", "broken")
