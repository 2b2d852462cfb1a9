"""The server's configuration: frozen values, read from HCL or JSON files and the environment."""

from .address import join_address, split_address
from .effect import without_effect
from .errors import ConfigError
from .load import check, cluster_address, load, parse_directive, variable
from .model import (
    AuditConfig,
    ListenerConfig,
    SealConfig,
    ServerConfig,
    StorageConfig,
    TelemetryConfig,
    UserLockoutConfig,
)

__all__ = [
    "AuditConfig",
    "ConfigError",
    "ListenerConfig",
    "SealConfig",
    "ServerConfig",
    "StorageConfig",
    "TelemetryConfig",
    "UserLockoutConfig",
    "check",
    "cluster_address",
    "join_address",
    "load",
    "parse_directive",
    "split_address",
    "variable",
    "without_effect",
]
