"""``operator diagnose`` and ``operator validate-config``: output and exit codes."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def config(tmp_path):
    (tmp_path / "data").mkdir(mode=0o700)
    file = tmp_path / "server.hcl"
    file.write_text(
        f'storage "sqlite" {{ path = "{tmp_path}/data" }}\n'
        'listener "tcp" {\n address = "127.0.0.1:0"\n tls_disable = true\n}\napi_addr = "http://127.0.0.1:8200"\n'
    )
    return file


def test_warnings(caveau, config):
    ran = caveau("operator", "diagnose", f"-config={config}")
    assert ran.code == 2
    lines = ran.out.splitlines()
    assert lines[0].startswith("Caveau v")
    assert lines[2:5] == ["Results:", "[ warning ] Vault Diagnose", "  [ success ] Check Operating System"]
    assert "  [ warning ] Start Listeners" in lines


def test_json(caveau, config):
    ran = caveau("operator", "diagnose", f"-config={config}", "-skip=listener", "-format=json")
    found = json.loads(ran.out)
    assert (ran.code, found["name"], found["status"]) == (0, "Vault Diagnose", "ok")
    assert {"time", "name", "status", "Advice"} <= found["children"][0].keys()


def test_failures(caveau, config, tmp_path):
    config.write_text(config.read_text().replace("tls_disable = true", 'tls_cert_file = "/no"\n tls_key_file = "/no"'))
    assert caveau("operator", "diagnose", f"-config={config}").code == 1
    assert caveau("operator", "diagnose", f"-config={tmp_path}/nope.hcl").code == 4
    missing = caveau("operator", "diagnose")
    assert (missing.code, missing.err) == (3, "Must specify a configuration file using -config.\n")
    wrong = caveau("operator", "diagnose", f"-config={config}", "-skip=everything")
    assert (wrong.code, wrong.err) == (1, "-skip: everything is not one of listener, storage, autounseal\n")


def test_the_configuration_may_come_from_the_environment(caveau, config, monkeypatch):
    monkeypatch.setenv("VAULT_CONFIG_PATH", str(config))
    assert caveau("operator", "diagnose", "-skip=listener").code == 0


def test_validate_config_looks_at_nothing_but_the_file(caveau, config):
    config.write_text(config.read_text().replace("/data", "/nowhere"))
    ran = caveau("operator", "validate-config", f"-config={config}")
    assert (ran.code, ran.out.splitlines()[1:]) == (0, ["[ success ] Validate Config"])
    config.write_text(config.read_text() + "nonsense = 1\n")
    ran = caveau("operator", "validate-config", f"-config={config}")
    assert ran.code == 1
    assert "[ failure ] Check Configuration Syntax" in ran.out
    assert 'unknown directive "nonsense"' in ran.out
