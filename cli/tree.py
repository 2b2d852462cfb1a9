"""The commands of ``caveau``; a module is imported only when its command runs."""

from __future__ import annotations

from .command import Group, Lazy

ROOT = Group(
    "caveau",
    "Talks to a Caveau or Vault server, or runs one.",
    (
        Lazy("read", "Read data and retrieve secrets", ".commands.data:READ", common=True),
        Lazy("write", "Write data, configuration and secrets", ".commands.data:WRITE", common=True),
        Lazy("delete", "Delete secrets and configuration", ".commands.data:DELETE", common=True),
        Lazy("list", "List data or secrets", ".commands.data:LIST", common=True),
        Lazy("login", "Authenticate and keep the token", ".commands.login:LOGIN", common=True),
        Lazy("server", "Run a server", ".server:COMMAND", common=True),
        Lazy("status", "Show seal and cluster status", ".commands.status:STATUS", common=True),
        Lazy("unwrap", "Unwrap a wrapped secret", ".commands.data:UNWRAP", common=True),
        Lazy("audit", "Work with audit devices", ".commands.audit:AUDIT"),
        Lazy("auth", "Work with auth methods", ".commands.mounts:AUTH"),
        Lazy("debug", "Collect what a server tells of itself", ".commands.debug:DEBUG"),
        Lazy("kv", "Work with key-value secrets", ".commands.kv:KV"),
        Lazy("lease", "Work with leases", ".commands.lease:LEASE"),
        Lazy("monitor", "Watch the log of a server", ".commands.monitor:MONITOR"),
        Lazy("namespace", "Work with namespaces", ".commands.namespace:NAMESPACE"),
        Lazy("operator", "Operate a server", ".commands.operator:OPERATOR"),
        Lazy("patch", "Change parts of data", ".commands.data:PATCH"),
        Lazy("path-help", "Show the server's help for a path", ".commands.path_help:PATH_HELP"),
        Lazy("policy", "Work with policies", ".commands.policy:POLICY"),
        Lazy("print", "Show what commands would use", ".commands.local:PRINT"),
        Lazy("scan", "List data or secrets recursively", ".commands.data:SCAN"),
        Lazy("secrets", "Work with secrets engines", ".commands.mounts:SECRETS"),
        Lazy("token", "Work with tokens", ".commands.token:TOKEN"),
        Lazy("version", "Show the version of this program", ".commands.local:VERSION"),
        Lazy("version-history", "Show which versions a server has run", ".commands.status:VERSION_HISTORY"),
    ),
)
