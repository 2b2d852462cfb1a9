"""Directives that Vault or OpenBao knows and that this server does not act on, with the reason.

A configuration that works with Vault starts here too: ``debug`` and ``warn`` are the levels at which
the reason is logged. ``error`` is for what cannot be left out in silence, since the server would then
be reachable, unsealed or initialised in another way than the file says.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

Level: TypeAlias = Literal["debug", "warn", "error"]
Known: TypeAlias = "dict[str, tuple[Level, str]]"


def _same(level: Level, reason: str, *names: str) -> Known:
    return dict.fromkeys(names, (level, reason))


SERVER: Final[Known] = {
    **_same("debug", "memory is not locked; use encrypted swap, or none", "disable_mlock"),
    **_same("debug", "there is no seal wrapping beyond the barrier", "disable_sealwrap", "entropy"),
    **_same("debug", "there are no performance standbys or replication", "disable_performance_standby", "replication"),
    **_same("debug", "nothing is licensed", "license_path", "reporting", "license_entitlement"),
    **_same("debug", "Sentinel is not part of this server", "sentinel", "disable_sentinel_trace"),
    **_same("debug", "the expiry index is always kept", "disable_indexing", "imprecise_lease_role_tracking"),
    **_same("debug", "keys may hold any printable text", "disable_printable_check"),
    **_same(
        "debug",
        "there are no locks to watch",
        "detect_deadlocks",
        "enable_post_unseal_trace",
        "post_unseal_trace_directory",
    ),
    **_same("debug", "cipher suites between nodes are not configurable", "cluster_cipher_suites"),
    **_same("debug", "tokens carry no storage index", "disable_ssct_tokens"),
    **_same(
        "debug",
        "plug-ins are Python packages",
        "plugin_file_uid",
        "plugin_file_permissions",
        "plugin_tmpdir",
        "plugin_auto_download",
        "plugin_auto_register",
        "plugin_download_behavior",
        "plugin_download_max_size",
        "plugin_oci_auth",
    ),
    **_same("debug", "requests are limited by quotas", "request_limiter", "experiments", "feature_flags"),
    **_same("warn", "services are not registered from here; use the orchestrator's own checks", "service_registration"),
    **_same("error", "plug-ins are Python packages, found by their entry points: install them", "plugin", "plugins"),
    **_same("error", "the server does not initialise itself: use `operator init`", "initialize"),
    **_same("error", "PKCS#11 libraries are not loaded", "kms_library"),
    **_same("error", "workflows are not part of this server", "allow_unauthenticated_workflows"),
}

LISTENER: Final[Known] = {
    **_same(
        "debug",
        "the client's order of cipher suites has had no effect since TLS 1.3",
        "tls_prefer_server_cipher_suites",
    ),
    **_same(
        "debug",
        "every listener serves the whole API",
        "purpose",
        "agent_api",
        "proxy_api",
        "disable_replication_status_endpoints",
        "disable_request_limiter",
    ),
    **_same("debug", "certificates are read again on SIGHUP", "tls_auto_reload", "tls_auto_reload_interval"),
    **_same("debug", "key exchange follows OpenSSL's defaults", "tls_key_exchange_preferences"),
    **_same(
        "warn",
        "CORS is configured through the API, at sys/config/cors",
        "cors_enabled",
        "cors_allowed_origins",
        "cors_allowed_headers",
    ),
    **_same(
        "error",
        "the PROXY protocol is not spoken here: let the proxy send X-Forwarded-For and set "
        "x_forwarded_for_authorized_addrs",
        "proxy_protocol_behavior",
        "proxy_protocol_authorized_addrs",
    ),
    **_same("error", "a listener cannot be confined to a namespace", "chroot_namespace"),
    **_same(
        "error",
        "a certificate header is dropped unless an authorised proxy sent it",
        "x_forwarded_for_client_cert_keep_not_forwarded",
        "x_forwarded_for_client_cert_keep_unauthorized",
    ),
    **_same(
        "error",
        "certificates are not fetched by ACME here: let an ACME client write tls_cert_file and "
        "tls_key_file, and send SIGHUP",
        *(
            f"tls_acme_{name}"
            for name in (
                "alpn_challenge_port",
                "ca_directory",
                "ca_root",
                "cache_path",
                "challenge_host",
                "disable_alpn_challenge",
                "disable_http_challenge",
                "domains",
                "eab_key_id",
                "eab_mac_key",
                "email",
                "http_challenge_port",
                "key_type",
                "test_ca_directory",
            )
        ),
    ),
}

TELEMETRY: Final[Known] = {
    **_same(
        "warn",
        "metrics are not pushed: let Prometheus or an agent read sys/metrics",
        "statsd_address",
        "statsite_address",
        "dogstatsd_addr",
        "dogstatsd_tags",
        *(
            f"circonus_{name}"
            for name in (
                "api_app",
                "api_token",
                "api_url",
                "broker_id",
                "broker_select_tag",
                "check_display_name",
                "check_force_metric_activation",
                "check_id",
                "check_instance_id",
                "check_search_tag",
                "check_tags",
                "submission_interval",
                "submission_url",
            )
        ),
        *(f"stackdriver_{name}" for name in ("debug_logs", "location", "namespace", "project_id")),
    ),
}
