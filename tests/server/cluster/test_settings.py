"""What a ``storage "raft"`` block means, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from caveau.framework.errors import InvalidRequest
from caveau.server.cluster.settings import JoinTarget, Settings


def test_directives():
    settings = Settings.of({
        "path": "/data", "node_id": "a-1", "performance_multiplier": "5", "retry_join_as_non_voter": "true",
        "trailing_logs": "10000",
        "retry_join": orjson.dumps([
            {"leader_api_addr": "https://a:8200", "leader_ca_cert": "PEM"},
            {"auto_join": "vault.svc", "auto_join_port": 18200, "auto_join_scheme": "http"},
        ]).decode(),
    })  # fmt: skip
    assert settings == Settings(
        path=Path("/data"), node_id="a-1", performance_multiplier=5.0, non_voter=True,
        retry_join=(
            JoinTarget(leader_api_addr="https://a:8200", leader_ca_cert="PEM"),
            JoinTarget(auto_join="vault.svc", auto_join_port=18200, auto_join_scheme="http"),
        ),
    )  # fmt: skip
    assert Settings.of({"path": "/data", "performance_multiplier": "0"}).performance_multiplier == 1.0


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "needs path"),
        ({"path": "/d", "pth": "x"}, "no setting pth"),
        ({"path": "/d", "node_id": "a b"}, "node_id"),
        ({"path": "/d", "node_id": "a" * 65}, "node_id"),
        ({"path": "/d", "performance_multiplier": "11"}, "between 1 and 10"),
        ({"path": "/d", "performance_multiplier": "x"}, "could not convert"),
        ({"path": "/d", "retry_join": '[{"leader_api_addr": "a", "auto_join": "b"}]'}, "either"),
        ({"path": "/d", "retry_join": "[{}]"}, "either"),
        ({"path": "/d", "retry_join": '[{"auto_join": "provider=k8s"}]'}, "DNS name"),
        ({"path": "/d", "retry_join": '[{"auto_join": "a", "auto_join_port": "70000"}]'}, "not a port"),
        ({"path": "/d", "retry_join": '[{"auto_join": "a", "auto_join_scheme": "ftp"}]'}, "http or https"),
        ({"path": "/d", "retry_join": '[{"leader_api_addr": "a", "leader_client_cert": "b"}]'}, "go together"),
        ({"path": "/d", "retry_join": '[{"leader_api_addr": "a", "leader_ca_cert_file": "/none"}]'}, "No such file"),
        ({"path": "/d", "retry_join": '[{"leader_api_addr": "a", "color": "b"}]'}, "no setting color"),
    ],
)
def test_mistakes_are_named(options, problem):
    with pytest.raises(InvalidRequest, match=problem):
        Settings.of(options)


def test_certificates_come_from_files_and_stay_out_of_reprs(tmp_path):
    (tmp_path / "key").write_text("SECRET\n")
    target = JoinTarget.of({"leader_api_addr": "a", "leader_client_cert": "C",
                            "leader_client_key_file": str(tmp_path / "key")})  # fmt: skip
    assert target.leader_client_key == "SECRET"
    assert "SECRET" not in repr(target)


def test_a_node_without_an_id_makes_one_and_keeps_it(tmp_path):
    settings = Settings.of({"path": str(tmp_path / "data")})
    made = settings.node()
    assert len(made) == 36
    assert settings.node() == made
    assert Settings.of({"path": str(tmp_path), "node_id": "x"}).node() == "x"
