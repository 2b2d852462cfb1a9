"""No directive is read and then left out in silence."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import caveau
import pytest
from caveau.server.config import ListenerConfig, ServerConfig, StorageConfig, effect, without_effect

ROOT = Path(caveau.__file__).parent
READERS = [
    *(file for file in (ROOT / "server").rglob("*.py") if file.parent.name != "config" and file.name != "host.py"),
    ROOT / "server/config/load.py",
    ROOT / "framework/jsonlimits.py",
]


@pytest.mark.parametrize(("config", "reasons"), [(ServerConfig, effect.SERVER), (ListenerConfig, effect.LISTENER)])
def test_each_directive_is_read_by_the_server_or_said_to_have_no_effect(config, reasons):
    text = "\n".join(file.read_text() for file in READERS)
    unread = {each.name for each in fields(config) if not re.search(rf"[.\"]{each.name}\b", text)}
    assert unread - set(reasons) <= {"http_idle_timeout"}  # read as idle_seconds
    assert set(reasons) <= {each.name for each in fields(config)}


def test_what_is_set_and_has_no_effect_is_told_with_its_reason():
    listener = ListenerConfig(origin="f:3", cluster_address="127.0.0.1:8201")
    config = ServerConfig(
        sources=("f",), listeners=(listener,), disable_clustering=True, ha_storage=StorageConfig(type="inmem")
    )
    assert list(without_effect(config)) == [
        ("warn", "f: ha_storage has no effect: this node serves alone; nothing is stored there"),
        ("debug", "f: disable_clustering has no effect: this node serves alone"),
        ("debug", "f:3: cluster_address has no effect: this node serves alone"),
    ]
    assert list(without_effect(ServerConfig(listeners=(ListenerConfig(),)))) == []


@pytest.mark.parametrize(("depth", "told"), [(500, False), (501, True), (1, False), (0, False), (-1, True)])
def test_a_depth_that_cannot_be_had_is_told(depth, told):
    config = ServerConfig(listeners=(ListenerConfig(origin="f:3", max_json_depth=depth),))
    lines = [("warn", f"f:3: max_json_depth = {depth} acts as 500, which is as much as there is")]
    assert list(without_effect(config)) == (lines if told else [])
