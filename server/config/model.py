"""The configuration as values. A field is a directive: its name, its kind and its default stand here once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from types import MappingProxyType
from typing import Any

from .values import (
    ANY_FLAG,
    CERT_DECODERS,
    FLAG,
    INTEGER,
    LOG_FORMAT,
    LOG_LEVEL,
    LONGEST,
    NATURAL,
    NETWORKS,
    OCTAL,
    OPTIONS,
    RESPONSE_HEADERS,
    SECONDS,
    STRINGS,
    TEXT,
    TLS_VERSION,
    Kind,
    Network,
    choice,
)

HOURS = 3600.0
MIB = 1 << 20
_NONE: Mapping[str, Any] = MappingProxyType({})


def _none() -> Mapping[str, Any]:
    return _NONE


def directive(kind: Kind, default: Any, *names: str, secret: bool = False) -> Any:
    """A field read from the directive of its own name, or of the first of ``names`` that is given.

    ``telemetry.x`` is the directive ``x`` of the block ``telemetry`` inside this block.
    """
    metadata = {"kind": kind, "names": names}
    if default is _NONE:  # a mapping is not hashable, which dataclasses take for mutable
        return field(default_factory=_none, repr=not secret, metadata=metadata)
    return field(default=default, repr=not secret, metadata=metadata)


def directives(cls: type[Any]) -> dict[str, tuple[Field[Any], Kind]]:
    """The directives that ``cls`` reads: every accepted name with its field and kind."""
    return {
        name: (each, each.metadata["kind"])
        for each in fields(cls)
        if "kind" in each.metadata
        for name in (each.metadata["names"] or (each.name,))
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerConfig:
    """One address that answers HTTP. Durations are seconds, 0 = no limit; sizes are bytes."""

    type: str = "tcp"  # or "unix"
    origin: str = field(default="", compare=False)  # FILE:LINE, for messages

    address: str = directive(TEXT, "")
    cluster_address: str = directive(TEXT, "")
    role: str = directive(choice("default", "metrics_only", **{"": "default"}), "default")
    max_connections: int = directive(NATURAL, 0)

    tls_disable: bool = directive(FLAG, False)
    tls_cert_file: str = directive(TEXT, "")
    tls_key_file: str = directive(TEXT, "")
    tls_client_ca_file: str = directive(TEXT, "")
    tls_min_version: str = directive(TLS_VERSION, "tls12")
    tls_max_version: str = directive(TLS_VERSION, "tls13")
    tls_cipher_suites: tuple[str, ...] = directive(STRINGS, ())
    tls_require_and_verify_client_cert: bool = directive(FLAG, False)
    tls_disable_client_certs: bool = directive(FLAG, False)

    http_read_header_timeout: float = directive(SECONDS, 10.0)
    http_read_timeout: float = directive(SECONDS, 30.0)
    http_write_timeout: float = directive(SECONDS, 0.0)
    http_idle_timeout: float = directive(SECONDS, 300.0)

    # Below zero: no limit. Zero: the default, as in Vault.
    max_request_size: int = directive(INTEGER, 32 * MIB)
    max_request_duration: float = directive(SECONDS, 0.0)
    max_request_json_memory: int = directive(INTEGER, 32 * MIB + MIB // 2)
    max_request_json_strings: int = directive(INTEGER, 1_000_000)
    max_json_depth: int = directive(INTEGER, 500)
    max_json_string_value_length: int = directive(INTEGER, MIB)
    max_json_object_entry_count: int = directive(INTEGER, 10_000)
    max_json_array_element_count: int = directive(INTEGER, 10_000)
    require_request_header: bool = directive(FLAG, False)

    x_forwarded_for_authorized_addrs: tuple[Network, ...] = directive(NETWORKS, ())
    x_forwarded_for_hop_skips: int = directive(NATURAL, 0)
    x_forwarded_for_reject_not_authorized: bool = directive(FLAG, True)
    x_forwarded_for_reject_not_present: bool = directive(FLAG, True)
    x_forwarded_for_client_cert_header: str = directive(TEXT, "")
    x_forwarded_for_client_cert_decoders: tuple[str, ...] = directive(
        CERT_DECODERS, (), "x_forwarded_for_client_cert_decoders", "x_forwarded_for_client_cert_header_decoders"
    )

    custom_response_headers: Mapping[str, Mapping[str, str]] = directive(RESPONSE_HEADERS, _NONE)
    redact_addresses: bool = directive(FLAG, False)
    redact_cluster_name: bool = directive(FLAG, False)
    redact_version: bool = directive(FLAG, False)
    disable_unauthed_rekey_endpoints: bool = directive(FLAG, False)
    disable_unauthed_generate_root_endpoints: bool = directive(FLAG, False)
    unauthenticated_metrics_access: bool = directive(FLAG, False, "telemetry.unauthenticated_metrics_access")
    unauthenticated_pprof_access: bool = directive(FLAG, False, "profiling.unauthenticated_pprof_access")
    unauthenticated_in_flight_requests_access: bool = directive(
        FLAG, False, "inflight_requests_logging.unauthenticated_in_flight_requests_access"
    )

    socket_mode: int = directive(OCTAL, 0o600)
    socket_user: str = directive(TEXT, "")
    socket_group: str = directive(TEXT, "")

    @property
    def scheme(self) -> str:
        return "unix" if self.type == "unix" else "http" if self.tls_disable else "https"

    @property
    def idle_seconds(self) -> float:
        return self.http_idle_timeout or self.http_read_timeout or self.http_read_header_timeout

    def response_headers(self, status: int) -> dict[str, str]:
        """The configured headers of an answer: an exact code wins over its class, a class over ``default``."""
        found: dict[str, str] = {}
        for key in ("default", f"{status // 100}xx", str(status)):
            found.update(self.custom_response_headers.get(key, _NONE))
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageConfig:
    """A store by its entry point's name, with its own options, which may be secret."""

    type: str
    options: Mapping[str, str] = field(default_factory=_none, repr=False)
    origin: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SealConfig:
    type: str
    name: str = ""
    disabled: bool = False
    options: Mapping[str, str] = field(default_factory=_none, repr=False)
    origin: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditConfig:
    """A declared audit device."""

    type: str
    path: str
    description: str = directive(TEXT, "")
    local: bool = directive(FLAG, False)
    options: Mapping[str, str] = directive(OPTIONS, _NONE, secret=True)
    origin: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserLockoutConfig:
    """When logins of one user are refused for a while; see ``ServerConfig.user_lockout``."""

    lockout_threshold: int = directive(NATURAL, 5)
    lockout_duration: float = directive(SECONDS, 900.0)
    lockout_counter_reset: float = directive(SECONDS, 900.0)
    disable_lockout: bool = directive(FLAG, False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetryConfig:
    usage_gauge_period: str = directive(TEXT, "10m")  # a duration, or "none"
    maximum_gauge_cardinality: int = directive(NATURAL, 500)
    disable_hostname: bool = directive(FLAG, False)
    enable_hostname_label: bool = directive(FLAG, False)
    metrics_prefix: str = directive(TEXT, "vault")
    lease_metrics_epsilon: float = directive(SECONDS, HOURS)
    num_lease_metrics_buckets: int = directive(NATURAL, 168)
    add_lease_metrics_namespace_labels: bool = directive(FLAG, False)
    add_mount_point_rollback_metrics: bool = directive(FLAG, False)
    filter_default: bool = directive(FLAG, True)
    prefix_filter: tuple[str, ...] = directive(STRINGS, ())
    prometheus_retention_time: float = directive(SECONDS, 24 * HOURS)
    otlp_endpoint: str = directive(TEXT, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """Everything ``-config`` and the environment said. Durations are seconds."""

    sources: tuple[str, ...] = ()  # the -config paths, read again on SIGHUP
    notices: tuple[tuple[str, str], ...] = field(default=(), compare=False)  # (log level, text)

    storage: StorageConfig | None = None
    ha_storage: StorageConfig | None = None
    listeners: tuple[ListenerConfig, ...] = ()
    seals: tuple[SealConfig, ...] = ()
    audits: tuple[AuditConfig, ...] = ()
    user_lockouts: Mapping[str, UserLockoutConfig] = field(default_factory=_none)
    telemetry: TelemetryConfig = TelemetryConfig()

    api_addr: str = directive(TEXT, "")
    cluster_addr: str = directive(TEXT, "")
    cluster_name: str = directive(TEXT, "")
    disable_clustering: bool = directive(FLAG, False)
    disable_standby_reads: bool = directive(ANY_FLAG, False)

    default_lease_ttl: float = directive(LONGEST, 768 * HOURS)
    max_lease_ttl: float = directive(LONGEST, 768 * HOURS)
    default_max_request_duration: float = directive(LONGEST, 90.0)

    log_level: str = directive(LOG_LEVEL, "")  # "" is info, and on SIGHUP what is in force
    log_format: str = directive(LOG_FORMAT, "standard")
    log_file: str = directive(TEXT, "")
    log_rotate_duration: float = directive(SECONDS, 24 * HOURS)
    log_rotate_bytes: int = directive(NATURAL, 0)
    log_rotate_max_files: int = directive(INTEGER, 0)
    log_requests_level: str = directive(choice("off", "trace", "debug", "info", "warn", "error"), "off")

    pid_file: str = directive(TEXT, "")
    pid_file_mode: int = directive(OCTAL, 0o644)
    plugin_directory: str = directive(TEXT, "")

    ui: bool = directive(ANY_FLAG, False)
    disable_cache: bool = directive(ANY_FLAG, False)
    cache_size: int = directive(NATURAL, 131072)
    raw_storage_endpoint: bool = directive(ANY_FLAG, False)
    introspection_endpoint: bool = directive(ANY_FLAG, False)
    enable_response_header_hostname: bool = directive(ANY_FLAG, False)
    enable_response_header_raft_node_id: bool = directive(ANY_FLAG, False)
    # Vault allows it and so do we; OpenBao does not unless this says so.
    unsafe_allow_api_audit_creation: bool = directive(FLAG, True)
    allow_audit_log_prefixing: bool = directive(ANY_FLAG, False)
    unsafe_cross_namespace_identity: bool = directive(ANY_FLAG, False)

    def user_lockout(self, method: str) -> UserLockoutConfig:
        """The lockout of an auth method's type: its own block, else ``all``, else the defaults."""
        return self.user_lockouts.get(method) or self.user_lockouts.get("all") or UserLockoutConfig()
