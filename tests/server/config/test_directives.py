"""Every directive: accepted, of the right type, and refused when it is of a wrong one."""

from __future__ import annotations

from dataclasses import fields
from ipaddress import ip_network

import pytest
from caveau.server.config import ConfigError, ListenerConfig, ServerConfig, TelemetryConfig, UserLockoutConfig
from caveau.server.config.decode import decode
from caveau.server.config.known import LISTENER, SERVER, TELEMETRY
from caveau.server.config.model import directives

SERVER_VALUES = {
    "api_addr": ('"https://vault:8200"', "https://vault:8200"),
    "cluster_addr": ('"https://vault:8201"', "https://vault:8201"),
    "cluster_name": ('"blue"', "blue"),
    "disable_clustering": ("true", True),
    "disable_standby_reads": ('"true"', True),
    "default_lease_ttl": ('"1h30m"', 5400.0),
    "max_lease_ttl": ('"7d"', 604800.0),
    "default_max_request_duration": ("45", 45.0),
    "log_level": ('"Warning"', "warn"),
    "log_format": ('"JSON"', "json"),
    "log_file": ('"/var/log/caveau/"', "/var/log/caveau/"),
    "log_rotate_duration": ('"30s"', 30.0),
    "log_rotate_bytes": ('"1048576"', 1048576),
    "log_rotate_max_files": ("-1", -1),
    "log_requests_level": ('"debug"', "debug"),
    "pid_file": ('"caveau.pid"', "caveau.pid"),
    "pid_file_mode": ('"0640"', 0o640),
    "plugin_directory": ('"plugins"', "plugins"),
    "ui": ("1", True),
    "disable_cache": ('"1"', True),
    "cache_size": ('"4096"', 4096),
    "raw_storage_endpoint": ("true", True),
    "introspection_endpoint": ("true", True),
    "enable_response_header_hostname": ("true", True),
    "enable_response_header_raft_node_id": ("true", True),
    "unsafe_allow_api_audit_creation": ("false", False),
    "allow_audit_log_prefixing": ("true", True),
    "unsafe_cross_namespace_identity": ("true", True),
}
LISTENER_VALUES = {
    "address": ('"10.0.0.1:8200"', "10.0.0.1:8200"),
    "cluster_address": ('"10.0.0.1:8201"', "10.0.0.1:8201"),
    "role": ('"metrics_only"', "metrics_only"),
    "max_connections": ("100", 100),
    "tls_disable": ("1", True),
    "tls_cert_file": ('"c.pem"', "c.pem"),
    "tls_key_file": ('"k.pem"', "k.pem"),
    "tls_client_ca_file": ('"ca.pem"', "ca.pem"),
    "tls_min_version": ('"tls13"', "tls13"),
    "tls_max_version": ('"tls12"', "tls12"),
    "tls_cipher_suites": ('"TLS_A, TLS_B"', ("TLS_A", "TLS_B")),
    "tls_require_and_verify_client_cert": ('"true"', True),
    "tls_disable_client_certs": ("true", True),
    "http_read_header_timeout": ('"3s"', 3.0),
    "http_read_timeout": ('"1m"', 60.0),
    "http_write_timeout": ("9", 9.0),
    "http_idle_timeout": ('"500ms"', 0.5),
    "max_request_size": ('"-1"', -1),
    "max_request_duration": ('"2m"', 120.0),
    "max_request_json_memory": ("1000", 1000),
    "max_request_json_strings": ("1001", 1001),
    "max_json_depth": ("10", 10),
    "max_json_string_value_length": ("11", 11),
    "max_json_object_entry_count": ("12", 12),
    "max_json_array_element_count": ("13", 13),
    "require_request_header": ("true", True),
    "x_forwarded_for_authorized_addrs": (
        '["10.0.0.0/8", "::1"]',
        (ip_network("10.0.0.0/8"), ip_network("::1/128")),
    ),
    "x_forwarded_for_hop_skips": ('"2"', 2),
    "x_forwarded_for_reject_not_authorized": ("false", False),
    "x_forwarded_for_reject_not_present": ('"false"', False),
    "x_forwarded_for_client_cert_header": ('"Client-Cert"', "Client-Cert"),
    "x_forwarded_for_client_cert_decoders": ('["URL", "PEM"]', ("URL", "PEM")),
    "x_forwarded_for_client_cert_header_decoders": ('"url,der"', ("URL", "DER")),
    "custom_response_headers": (
        '{ "default" = { "X-A" = ["1", "2"] } "2xx" = { "X-B" = "3" } }',
        {"default": {"X-A": "1; 2"}, "2xx": {"X-B": "3"}},
    ),
    "redact_addresses": ("true", True),
    "redact_cluster_name": ("true", True),
    "redact_version": ("true", True),
    "disable_unauthed_rekey_endpoints": ("true", True),
    "disable_unauthed_generate_root_endpoints": ("true", True),
    "telemetry.unauthenticated_metrics_access": ("true", True),
    "profiling.unauthenticated_pprof_access": ("true", True),
    "inflight_requests_logging.unauthenticated_in_flight_requests_access": ("true", True),
    "socket_mode": ('"0660"', 0o660),
    "socket_user": ("1000", "1000"),
    "socket_group": ('"vault"', "vault"),
}
TELEMETRY_VALUES = {
    "usage_gauge_period": ('"none"', "none"),
    "maximum_gauge_cardinality": ("7", 7),
    "disable_hostname": ("true", True),
    "enable_hostname_label": ("true", True),
    "metrics_prefix": ('"caveau"', "caveau"),
    "lease_metrics_epsilon": ('"10m"', 600.0),
    "num_lease_metrics_buckets": ("9", 9),
    "add_lease_metrics_namespace_labels": ("true", True),
    "add_mount_point_rollback_metrics": ("true", True),
    "filter_default": ("false", False),
    "prefix_filter": ('["+vault.token", "-vault.expire"]', ("+vault.token", "-vault.expire")),
    "prometheus_retention_time": ('"30s"', 30.0),
    "otlp_endpoint": ('"http://127.0.0.1:4318"', "http://127.0.0.1:4318"),
}
LOCKOUT_VALUES = {
    "lockout_threshold": ('"25"', 25),
    "lockout_duration": ('"5m"', 300.0),
    "lockout_counter_reset": ('"10m"', 600.0),
    "disable_lockout": ('"true"', True),
}


def test_the_tables_above_name_every_directive():
    assert set(SERVER_VALUES) == set(directives(ServerConfig))
    assert set(LISTENER_VALUES) == set(directives(ListenerConfig))
    assert set(TELEMETRY_VALUES) == set(directives(TelemetryConfig))
    assert set(LOCKOUT_VALUES) == set(directives(UserLockoutConfig))


@pytest.mark.parametrize("name", SERVER_VALUES)
def test_server_directive(name):
    text, value = SERVER_VALUES[name]
    assert decode(f"{name} = {text}", "f").values == {name: value}


@pytest.mark.parametrize("name", LISTENER_VALUES)
def test_listener_directive(name):
    text, value = LISTENER_VALUES[name]
    outer, dot, inner = name.partition(".")
    body = f"{outer} {{\n{inner} = {text}\n}}" if dot else f"{name} = {text}"
    [listener] = decode(f'listener "tcp" {{\n{body}\n}}', "f").listeners
    field, _ = directives(ListenerConfig)[name]
    assert getattr(listener, field.name) == value
    others = [f.name for f in fields(ListenerConfig) if f.name not in (field.name, "origin")]
    assert all(getattr(listener, other) == getattr(ListenerConfig(), other) for other in others)


@pytest.mark.parametrize("name", TELEMETRY_VALUES)
def test_telemetry_directive(name):
    text, value = TELEMETRY_VALUES[name]
    assert getattr(decode(f"telemetry {{\n{name} = {text}\n}}", "f").telemetry, name) == value


@pytest.mark.parametrize("name", LOCKOUT_VALUES)
def test_user_lockout_directive(name):
    text, value = LOCKOUT_VALUES[name]
    assert decode(f'user_lockout "all" {{\n{name} = {text}\n}}', "f").user_lockouts == [("all", {name: value})]


KNOWN = [
    *((name, level, "{}\n") for name, (level, _) in SERVER.items()),
    *((name, level, 'listener "tcp" {{\n{}\n}}') for name, (level, _) in LISTENER.items()),
    *((name, level, "telemetry {{\n{}\n}}") for name, (level, _) in TELEMETRY.items()),
]


@pytest.mark.parametrize(("name", "level", "frame"), KNOWN, ids=[name for name, _, _ in KNOWN])
def test_known_directives_without_effect_say_why(name, level, frame):
    text = frame.format(f"{name} = true")
    if level == "error":
        with pytest.raises(ConfigError, match=rf"^f:\d: {name}: "):
            decode(text, "f")
    else:
        [(seen, notice)] = decode(text, "f").notices
        assert seen == level
        assert name in notice


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('ui = "maybe"', "f:1: ui: cannot parse 'maybe' as bool"),
        ("ui = [true]", "f:1: ui: expected true or false, got array"),
        ('\n\nmax_lease_ttl = "soon"', "f:3: max_lease_ttl: invalid duration 'soon'"),
        ('max_lease_ttl = "-1h"', "f:1: max_lease_ttl: a duration cannot be negative"),
        ("api_addr = true", "f:1: api_addr: expected a string, got boolean"),
        ("api_addr { a = 1 }", "f:1: api_addr: expected a string, got a block"),
        ('cache_size = "lots"', "f:1: cache_size: cannot parse 'lots' as int"),
        ("cache_size = -1", "f:1: cache_size: cannot be negative"),
        ("cache_size = true", "f:1: cache_size: expected an integer, got boolean"),
        ('log_level = "loud"', "f:1: log_level: must be one of trace, debug, info, warn, error; got 'loud'"),
        ("pid_file_mode = 0600", 'f:1: pid_file_mode: write the mode as octal digits in quotes, such as "0600"'),
        ('pid_file_mode = "rw"', 'f:1: pid_file_mode: write the mode as octal digits in quotes, such as "0600"'),
        ('listener "tcp" {\n tls_min_version = "tls11"\n}', "f:2: tls_min_version: tls11 is insecure"),
        ('listener "tcp" {\n tls_max_version = "ssl3"\n}', "f:2: tls_max_version: must be tls12 or tls13"),
        ('listener "tcp" {\n x_forwarded_for_authorized_addrs = "vault"\n}', "f:2: x_forwarded_for_authorized_addrs: "),
        ('listener "tcp" {\n x_forwarded_for_hop_skips = -1\n}', "f:2: x_forwarded_for_hop_skips: cannot be negative"),
        ('listener "tcp" {\n x_forwarded_for_client_cert_decoders = "rot13"\n}', "'ROT13' is not one of URL, "),
        ('listener "tcp" {\n custom_response_headers { "20" = { "A" = "b" } }\n}', "'20' is no status"),
        ('listener "tcp" {\n custom_response_headers { "200" = "b" }\n}', "'200' must hold header names"),
        (
            'listener "tcp" {\n custom_response_headers { "200" = { "X-Vault-A" = "b" } }\n}',
            "headers that begin with X-Vault- are the server's own",
        ),
        (
            'listener "tcp" {\n custom_response_headers { "200" = { "A" = "b\\r\\nC: d" } }\n}',
            "a header value cannot hold control characters",
        ),
        ('listener "tcp" {\n custom_response_headers { "200" = { "A B" = "b" } }\n}', "'A B' is no HTTP header name"),
        ('listener "http" {}', 'f:1: listener "http": must be "tcp" or "unix"'),
        ("listener = 3", 'f:1: listener must be a block: listener "TYPE" { ... }'),
        ("telemetry = 3", "f:1: telemetry must be a block: telemetry { ... }"),
        ('listener "tcp" {\n telemetry = true\n}', "f:2: telemetry must be a block"),
        ('ui = true\nui = false', "f:2: ui is given twice; the first is on line 1"),
        ('storage "a" {}\nstorage "b" {}', "f:2: only one storage block is permitted in a file; another is on line 1"),
        ('storage "a" {}\nbackend "b" {}', "f:2: only one storage block is permitted in a file"),
        ("telemetry {}\ntelemetry {}", "f:2: only one telemetry block is permitted in a file"),
        ('user_lockout "github" {}', 'user_lockout "github": must be one of all, userpass, ldap, approle'),
        ("ui = ", "f:1: expected a value, found the end"),
    ],
)  # fmt: skip
def test_wrong_values_name_their_place(text, message):
    with pytest.raises(ConfigError) as error:
        decode(text, "f")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_lease_tt1 = 3", 'f:1: unknown directive "max_lease_tt1"; did you mean "max_lease_ttl"?'),
        ("disable_mloc = true", 'f:1: unknown directive "disable_mloc"; did you mean "disable_mlock"?'),
        ('listner "tcp" {}', 'f:1: unknown directive "listner"; did you mean "listener"?'),
        ("qqq = 1", 'f:1: unknown directive "qqq"'),
        (
            'listener "tcp" {\n\n tls_cert = "x"\n}',
            'f:3: unknown directive "tls_cert" in listener "tcp"; did you mean "tls_cert_file"?',
        ),
        (
            'listener "tcp" {\n telemetry {\n unauthenticated_metric_access = true\n}\n}',
            'f:3: unknown directive "telemetry.unauthenticated_metric_access" in listener "tcp"; '
            'did you mean "telemetry.unauthenticated_metrics_access"?',
        ),
        ("telemetry {\n disable_hostnam = true\n}", 'f:2: unknown directive "disable_hostnam" in telemetry; did'),
        ('audit "file" "a" {\n option { x = 1 }\n}', 'in audit; did you mean "options"?'),
    ],
)
def test_unknown_directives_are_errors_with_a_hint(text, message):
    with pytest.raises(ConfigError) as error:
        decode(text, "f")
    assert message in str(error.value)


def test_every_problem_is_told_at_once():
    with pytest.raises(ConfigError) as error:
        decode('uii = 1\ncache_size = "x"\nlistener "tcp" {\n adress = "a"\n}', "f")
    assert [text.partition(" ")[0] for text in error.value.problems] == ["f:1:", "f:2:", "f:4:"]
