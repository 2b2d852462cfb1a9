"""Files, directories, merging, the environment, and the checks on the whole."""

from __future__ import annotations

import json
import os

import pytest
from caveau.server.config import ConfigError, ListenerConfig, ServerConfig, check, cluster_address, load

BASE = """
storage "sqlite" { path = "caveau.db" }
listener "tcp" {
  address = "127.0.0.1:8200"
  tls_disable = true
}
"""


@pytest.fixture
def write(tmp_path):
    def write(text: str, name: str = "server.hcl") -> str:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text if isinstance(text, str) else json.dumps(text))
        return str(path)

    return write


def problems(*paths: str, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as error:
        check(load(paths, environ or {}))
    return str(error.value)


def test_hcl_and_json_say_the_same(write):
    hcl = write(
        """
        storage "raft" {
          path = "data"
          node_id = 1
          retry_join { leader_api_addr = "http://a" }
        }
        listener "tcp" {
          address = "0.0.0.0:8200"
          tls_disable = "true"
          telemetry { unauthenticated_metrics_access = true }
          custom_response_headers { "default" = { "X-A" = ["1"] } }
        }
        listener "unix" { address = "/run/caveau.sock" }
        seal "transit" {
          address = "https://vault:8200"
          token = "s3cret"
          disabled = "false"
        }
        user_lockout "all" { lockout_threshold = 3 }
        audit "file" "to-stdout" {
          options { file_path = "stdout" }
        }
        telemetry { disable_hostname = true }
        max_lease_ttl = "1000h"
        """
    )
    as_json = write(
        {
            "storage": {"raft": {"path": "data", "node_id": 1, "retry_join": [{"leader_api_addr": "http://a"}]}},
            "listener": [
                {
                    "tcp": {
                        "address": "0.0.0.0:8200",
                        "tls_disable": "true",
                        "telemetry": {"unauthenticated_metrics_access": True},
                        "custom_response_headers": {"default": {"X-A": ["1"]}},
                    }
                },
                {"unix": {"address": "/run/caveau.sock"}},
            ],
            "seal": {"transit": {"address": "https://vault:8200", "token": "s3cret", "disabled": "false"}},
            "user_lockout": {"all": {"lockout_threshold": 3}},
            "audit": [{"file": {"to-stdout": {"options": {"file_path": "stdout"}}}}],
            "telemetry": {"disable_hostname": True},
            "max_lease_ttl": "1000h",
        },
        "server.json",
    )
    first, second = load([hcl], {}), load([as_json], {})
    for name in ServerConfig.__slots__:
        if name != "sources":
            assert getattr(first, name) == getattr(second, name), name
    assert first.storage.options["retry_join"] == '[{"leader_api_addr":"http://a"}]'
    assert first.storage.options["node_id"] == "1"
    assert [listener.type for listener in first.listeners] == ["tcp", "unix"]


def test_defaults_are_vaults(write):
    config = load([write(BASE)], {})
    assert config.default_lease_ttl == config.max_lease_ttl == 768 * 3600
    assert config.default_max_request_duration == config.listeners[0].max_request_duration == 90
    assert check(config) is config
    assert config.unsafe_allow_api_audit_creation
    [listener] = config.listeners
    assert not listener.disable_unauthed_rekey_endpoints
    assert listener.max_request_size == 32 << 20
    assert listener.http_read_header_timeout == 10


def test_zero_means_the_default(write):
    config = load(
        [write('max_lease_ttl = 0\nstorage "inmem" {}\nlistener "tcp" {\n tls_disable=1\n max_request_size=0\n}')], {}
    )
    assert config.max_lease_ttl == 768 * 3600
    assert config.listeners[0].max_request_size == 32 << 20
    assert config.listeners[0].address == "127.0.0.1:8200"


def test_a_shorter_maximum_shortens_the_default_ttl(write):
    config = load([write(BASE + 'max_lease_ttl = "1h"')], {})
    assert config.default_lease_ttl == config.max_lease_ttl == 3600
    config = load([write(BASE + 'max_lease_ttl = "900h"\ndefault_lease_ttl = "800h"')], {})
    assert config.default_lease_ttl == 800 * 3600


def test_secrets_of_stores_seals_and_audits_are_not_shown(write):
    path = write(
        BASE.replace('path = "caveau.db"', 'connection_url = "postgres://u:hunter2@h"')
        + 'seal "transit" { token = "hunter2" }\naudit "http" "a" { options { token = "hunter2" } }'
    )
    config = load([path], {})
    assert "hunter2" not in repr(config)
    assert config.seals[0].options["token"] == "hunter2"


def test_a_directory_is_read_in_the_order_of_names(write, tmp_path):
    write('cluster_name = "b"', "conf/20.hcl")
    write(BASE + 'cluster_name = "a"', "conf/10.hcl")
    write({"api_addr": "http://x"}, "conf/30.json")
    write("not = [read", "conf/.#10.hcl")
    write("not = [read", "conf/notes.txt")
    config = load([str(tmp_path / "conf")], {})
    assert (config.cluster_name, config.api_addr) == ("b", "http://x")


def test_a_file_is_read_once_even_if_its_directory_is_given_too(write, tmp_path):
    path = write(BASE, "conf/10.hcl")
    assert len(load([str(tmp_path / "conf"), path], {}).listeners) == 1


def test_files_merge_as_vault_merges_them(write):
    first = write(
        BASE
        + 'cluster_name = "a"\nui = true\nmax_lease_ttl = "900h"\ndisable_clustering = true\n'
        + 'telemetry { disable_hostname = true }\nuser_lockout "all" { lockout_threshold = 3 }\n'
    )
    second = write(
        'cluster_name = "b"\nui = false\nmax_lease_ttl = "800h"\ndisable_clustering = false\nstorage "inmem" {}\n'
        'telemetry { metrics_prefix = "x" }\nlistener "unix" { address = "/s" }\n'
        'user_lockout "ldap" { disable_lockout = true }\n',
        "second.hcl",
    )
    config = load([first, second], {})
    assert config.cluster_name == "b"  # the last wins
    assert not config.disable_clustering
    assert config.ui  # true in one is true
    assert config.max_lease_ttl == 900 * 3600  # the longest wins
    assert config.storage.type == "inmem"  # a single block replaces
    assert (config.telemetry.disable_hostname, config.telemetry.metrics_prefix) == (False, "x")
    assert len(config.listeners) == 2  # lists are joined
    ldap = config.user_lockout("ldap")
    assert (ldap.disable_lockout, ldap.lockout_threshold) == (True, 3)
    assert config.user_lockout("userpass").lockout_threshold == 3
    assert ServerConfig().user_lockout("userpass").lockout_threshold == 5


def test_the_environment_wins_and_bao_wins_over_vault(write):
    path = write(BASE.replace('"sqlite"', '"raft"') + 'api_addr = "http://file"\nlog_level = "warn"')
    config = load(
        [path],
        {
            "VAULT_API_ADDR": "http://vault",
            "BAO_API_ADDR": "http://bao",
            "VAULT_CLUSTER_ADDR": "http://cluster",
            "BAO_LOG_LEVEL": "TRACE",
            "VAULT_LOG_FORMAT": "json",
            "VAULT_UI": "1",
            "BAO_RAFT_NODE_ID": "n7",
            "VAULT_RAFT_PATH": "/data",
            "VAULT_RAFT_RETRY_JOIN_AS_NON_VOTER": "true",
            "VAULT_SEAL_TYPE": "transit",
        },
    )
    assert config.api_addr == "http://bao"
    assert config.cluster_addr == "http://cluster"
    assert (config.log_level, config.log_format, config.ui) == ("trace", "json", True)
    assert config.storage.options == {"path": "/data", "node_id": "n7", "retry_join_as_non_voter": "true"}
    assert [seal.type for seal in config.seals] == ["transit"]


def test_a_wrong_variable_names_itself(write):
    assert problems(write(BASE), environ={"VAULT_LOG_LEVEL": "x"}).startswith("environment variable VAULT_LOG_LEVEL: ")


def test_no_files_is_for_dev_mode():
    assert load([], {"VAULT_LOG_LEVEL": "debug"}) == ServerConfig(log_level="debug")


def test_missing_and_unreadable_files(write, tmp_path):
    missing = str(tmp_path / "missing.hcl")
    assert problems(missing) == f"{missing}: no such file; -config takes a file or a directory"
    (tmp_path / "empty").mkdir()
    assert "holds no .hcl or .json file" in problems(str(tmp_path / "empty"))
    (tmp_path / "latin.hcl").write_bytes(b'cluster_name = "\xe9"')
    assert "is not UTF-8 text" in problems(str(tmp_path / "latin.hcl"))


def test_an_empty_configuration_says_what_to_add(write):
    message = problems(write(""))
    assert "no storage: add a storage block" in message
    assert "no listener: add a block such as" in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('default_lease_ttl = "800h"', "default_lease_ttl is larger than max_lease_ttl"),
        ('seal "a" {}\nseal "b" {}', "only one seal can be active"),
        ('seal "a" {\ndisabled = true\n}\nseal "b" {\ndisabled = true\n}', "every seal is disabled"),
        ('listener "unix" {}', "a unix listener needs an address"),
        ('listener "tcp" {}', "tls_cert_file and tls_key_file must be set, or tls_disable = true"),
        ('listener "tcp" {\n tls_cert_file = "c"\n}', "server.hcl:7: tls_key_file must be set"),
        ('listener "tcp" {\n tls_disable = 1\n address = "a:b:c"\n}', "'a:b:c' is no address"),
        ('listener "tcp" {\n tls_disable = 1\n address = "h:99999"\n}', "port 99999 is out of range"),
        ('listener "tcp" {\n tls_disable = 1\n address = "{{ GetPrivateIP }}:8200"\n}', "templates are not supported"),
        ('api_addr = "http://{{ GetPrivateIP }}:8200"', "templates are not supported"),
        (
            'listener "tcp" {\n tls_cert_file = "c"\n tls_key_file = "k"\n tls_min_version = "tls13"\n'
            ' tls_max_version = "tls12"\n}',
            "tls_min_version tls13 is above tls_max_version tls12",
        ),
        (
            'listener "tcp" {\n tls_cert_file = "c"\n tls_key_file = "k"\n tls_disable_client_certs = true\n'
            " tls_require_and_verify_client_cert = true\n}",
            "contradict each other",
        ),
        (
            'listener "tcp" {\n tls_disable = 1\n x_forwarded_for_client_cert_header = "Client-Cert"\n}',
            "needs x_forwarded_for_authorized_addrs",
        ),
        ('audit "file" "/" {}', ":7: the path of an audit device is empty"),
        ('audit "file" "a" {}\naudit "socket" "a/" {}', ":8: an audit device at a is declared already, at "),
    ],
)
def test_the_whole_is_checked(write, text, message):
    assert message in problems(write(BASE + text))


def test_problems_of_all_files_are_told(write):
    assert problems(write("a1 = 1", "a.hcl"), write("b1 = 1", "b.hcl")).count("unknown directive") == 2


def test_permission_check_is_opt_in(write):
    path = write(BASE)
    os.chmod(path, 0o666)
    assert load([path], {}).storage
    assert "chmod go-w" in problems(path, environ={"VAULT_ENABLE_FILE_PERMISSIONS_CHECK": "true"})
    os.chmod(path, 0o644)
    assert load([path], {"BAO_ENABLE_FILE_PERMISSIONS_CHECK": "1"}).storage
    assert "as bool" in problems(path, environ={"BAO_ENABLE_FILE_PERMISSIONS_CHECK": "perhaps"})


def test_the_configurations_of_the_test_servers_load(write):
    text = BASE + 'api_addr = "http://127.0.0.1:8200"\ndisable_mlock = true\n'
    [(level, notice)] = load([write(text)], {}).notices
    assert level == "debug"
    assert "disable_mlock" in notice


def test_headers_of_an_answer():
    listener = ListenerConfig(
        custom_response_headers={"default": {"A": "1", "B": "1"}, "4xx": {"B": "2"}, "404": {"B": "3", "C": "3"}}
    )
    assert listener.response_headers(200) == {"A": "1", "B": "1"}
    assert listener.response_headers(403) == {"A": "1", "B": "2"}
    assert listener.response_headers(404) == {"A": "1", "B": "3", "C": "3"}


def test_cluster_address_is_one_port_higher():
    assert cluster_address(ListenerConfig(address="[::1]:8200")) == "[::1]:8201"
    assert cluster_address(ListenerConfig(address="h", cluster_address="x:1")) == "x:1"
