"""``storage "raft" { ... }``: what its directives mean. Names as in Vault; durations in seconds."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import orjson

from ...framework.errors import InvalidRequest
from ...framework.wire import parse_bool

NODE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
_KNOWN = {"path", "node_id", "performance_multiplier", "retry_join", "retry_join_as_non_voter"}
_IGNORED = {"snapshot_threshold", "snapshot_interval", "trailing_logs", "max_entry_size", "max_transaction_size",
            "max_mount_and_namespace_table_entry_size", "autopilot_reconcile_interval", "autopilot_update_interval",
            "raft_wal", "raft_log_verifier_enabled", "raft_log_verification_interval", "max_batch_entries",
            "max_batch_size"}  # fmt: skip
"""Of other implementations' logs: when this one is compacted, and how much goes into an entry, is not to be set."""
_JOIN = ("leader_api_addr", "leader_ca_cert", "leader_ca_cert_file", "leader_tls_servername", "leader_client_cert",
         "leader_client_cert_file", "leader_client_key", "leader_client_key_file", "auto_join", "auto_join_scheme",
         "auto_join_port", "join_token", "join_token_file")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinTarget:
    """Where a cluster may be found. One of ``leader_api_addr`` and ``auto_join`` (a DNS name) is set; certificates
    and keys are PEM."""

    leader_api_addr: str = ""
    leader_ca_cert: str = ""
    leader_client_cert: str = ""
    leader_client_key: str = field(default="", repr=False)
    leader_tls_servername: str = ""
    auto_join: str = ""
    auto_join_scheme: str = "https"
    auto_join_port: int = 8200
    join_token: str = field(default="", repr=False)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Of the values of a ``retry_join`` block, or of a request; files are read. Raises InvalidRequest."""
        given = {name: str(value) for name, value in values.items() if value not in ("", None)}
        if unknown := sorted(set(given) - set(_JOIN)):
            raise InvalidRequest(f"retry_join has no setting {', '.join(unknown)}")
        for name in ("leader_ca_cert", "leader_client_cert", "leader_client_key", "join_token"):
            if path := given.pop(f"{name}_file", ""):
                try:
                    given[name] = Path(path).read_text().strip()
                except OSError as error:
                    raise InvalidRequest(f"retry_join: {name}_file: {path}: {error.strerror}") from None
        if bool(given.get("leader_api_addr")) == bool(given.get("auto_join")):
            raise InvalidRequest("to join a cluster, give either leader_api_addr or auto_join")
        if bool(given.get("leader_client_cert")) != bool(given.get("leader_client_key")):
            raise InvalidRequest("leader_client_cert and leader_client_key go together")
        if "=" in given.get("auto_join", ""):
            raise InvalidRequest("auto_join is a DNS name here; the providers of other implementations are not")
        port = given.pop("auto_join_port", "") or "8200"
        if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise InvalidRequest(f"auto_join_port: {port[:16]} is not a port")
        if given.get("auto_join_scheme", "https") not in ("http", "https"):
            raise InvalidRequest("auto_join_scheme is http or https")
        return cls(auto_join_port=int(port), **given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Of this node. ``node``: its id, made and kept in ``path`` where none is given."""

    path: Path
    node_id: str = ""
    performance_multiplier: float = 1.0
    retry_join: tuple[JoinTarget, ...] = ()
    non_voter: bool = False

    @classmethod
    def of(cls, options: Mapping[str, str]) -> Self:
        """Raises InvalidRequest naming the setting that is missing, wrong or unknown."""
        if unknown := sorted(set(options) - _KNOWN - _IGNORED):
            raise InvalidRequest(f'storage "raft" has no setting {", ".join(unknown)}')
        if not options.get("path"):
            raise InvalidRequest('storage "raft" needs path, a directory')
        node = options.get("node_id", "")
        if node and not NODE.fullmatch(node):
            raise InvalidRequest("node_id: up to 64 letters, digits, dots, dashes and underscores")
        try:
            multiplier = float(options.get("performance_multiplier") or 1)
            non_voter = parse_bool(options.get("retry_join_as_non_voter") or "false")
        except ValueError as error:
            raise InvalidRequest(f'storage "raft": {error}') from None
        if not multiplier:
            multiplier = 1.0  # as in Vault, zero is the default
        if not 1 <= multiplier <= 10:
            raise InvalidRequest(f"performance_multiplier is between 1 and 10, not {multiplier:g}")
        blocks = orjson.loads(options.get("retry_join") or "[]")
        return cls(
            path=Path(options["path"]),
            node_id=node,
            performance_multiplier=multiplier,
            retry_join=tuple(JoinTarget.of(block) for block in blocks),
            non_voter=non_voter,
        )

    def node(self) -> str:
        """This node's id, for life. Raises OSError."""
        if self.node_id:
            return self.node_id
        file = self.path / "node-id"
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            return file.read_text().strip()
        except FileNotFoundError:
            made = str(uuid.uuid4())
            file.write_text(made + "\n")
            return made
