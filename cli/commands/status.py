"""``status`` and ``version-history``, and the seal status that other commands print too."""

from __future__ import annotations

from typing import Any

from .. import values
from ..client import ClientError
from ..command import Arity, Command
from ..invocation import CommandError, Invocation

# The original's order; what the server leaves out of the second half is left out here.
_SEAL_KEYS = ("type", "initialized", "sealed", "t", "n", "progress", "nonce", "version")
_OPTIONAL_KEYS = ("commit_date", "migration", "cluster_name", "cluster_id", "recovery_seal", "storage_type",
                  "build_date")  # fmt: skip
_LEADER_KEYS = ("is_self", "active_time", "leader_address", "leader_cluster_address", "performance_standby",
                "performance_standby_last_remote_wal", "last_wal", "raft_committed_index",
                "raft_applied_index")  # fmt: skip


def status(run: Invocation) -> int:
    try:
        with run.failing("Error checking seal status"):
            seal = run.client.answer("GET", "sys/seal-status")
    except CommandError as e:
        raise CommandError(str(e), 1) from e
    leader: dict[str, Any] = {}
    if not seal.get("sealed"):
        try:
            leader = run.client.answer("GET", "sys/leader")
        except ClientError as e:
            raise CommandError(f"Error checking leader status: {e}", 1) from e
    code = 2 if seal.get("sealed") else 0
    field = run.flags.text("field")
    try:
        show_seal_status(run, seal, leader, field)
    except CommandError as e:
        raise CommandError(str(e), code) from e
    return code


def show_seal_status(run: Invocation, seal: dict[str, Any], leader: dict[str, Any], field: str = "") -> int:
    """Print ``sys/seal-status`` with what ``sys/leader`` adds to it."""
    shown = {key: seal.get(key) for key in _SEAL_KEYS}
    shown |= {key: seal[key] for key in _OPTIONAL_KEYS if key in seal}
    shown.setdefault("build_date", "")
    shown["ha_enabled"] = bool(leader.get("ha_enabled"))
    shown |= {key: leader[key] for key in _LEADER_KEYS if leader.get(key)}
    if not shown["ha_enabled"]:
        shown = {key: value for key, value in shown.items() if key not in ("is_self", "active_time")}
    if field:
        return run.field(shown.get(field), field, "seal status")
    if not run.table:
        return run.data(shown)
    return run.rows(_rows(seal, leader))


def _rows(seal: dict[str, Any], leader: dict[str, Any]) -> list[tuple[str, str]]:
    recovery = seal.get("recovery_seal")
    sealed = bool(seal.get("sealed"))
    rows: list[tuple[str, Any]] = [("Seal Type", seal.get("type", ""))]
    if recovery:
        rows.append(("Recovery Seal Type", seal.get("recovery_seal_type") or "shamir"))
    rows += [
        ("Initialized", seal.get("initialized")),
        ("Sealed", sealed),
        ("Total Recovery Shares" if recovery else "Total Shares", seal.get("n")),
        ("Threshold", seal.get("t")),
    ]
    if sealed:
        rows.append(("Unseal Progress", f"{seal.get('progress', 0)}/{seal.get('t', 0)}"))
        rows.append(("Unseal Nonce", seal.get("nonce") or ""))
    if seal.get("migration"):
        rows.append(("Seal Migration in Progress", True))
    rows += [
        (title, seal[key])
        for title, key in (("Version", "version"), ("Commit Date", "commit_date"), ("Build Date", "build_date"),
                           ("Storage Type", "storage_type"), ("Cluster Name", "cluster_name"),
                           ("Cluster ID", "cluster_id"))
        if seal.get(key)
    ]  # fmt: skip
    if "version" in seal:
        rows.append(("HA Enabled", bool(leader.get("ha_enabled"))))
    if leader.get("ha_enabled"):
        rows += _ha_rows(leader)
    rows += [
        (title, leader[key])
        for title, key in (("Raft Committed Index", "raft_committed_index"),
                           ("Raft Applied Index", "raft_applied_index"), ("Last WAL", "last_wal"))
        if leader.get(key)
    ]  # fmt: skip
    return [(title, values.text(value)) for title, value in rows]


def _ha_rows(leader: dict[str, Any]) -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = [("HA Cluster", leader.get("leader_cluster_address") or "n/a")]
    if leader.get("is_self"):
        rows.append(("HA Mode", "active"))
        if not str(leader.get("active_time", "0001")).startswith("0001"):
            rows.append(("Active Since", leader["active_time"]))
        return rows
    rows.append(("HA Mode", "standby"))
    rows.append(("Active Node Address", leader.get("leader_address") or "<none>"))
    return rows


def version_history(run: Invocation) -> int:
    with run.failing("Error reading version history"):
        secret = run.client.list("sys/version-history")
    if secret is None:
        raise CommandError("Error reading version history: this server keeps none")
    if not run.table:
        return run.secret(secret)
    run.warnings(secret)
    data = secret.get("data") or {}
    found, known = data.get("key_info") or {}, data.get("keys") or []
    dates = "commit_date" if any("commit_date" in info for info in found.values()) else "build_date"
    header = ["Version", "Installation Time", "Commit Date" if dates == "commit_date" else "Build Date"]
    rows = [header, ["-" * len(word) for word in header]]
    for version in known:
        info = found.get(version) or {}
        rows.append([version, *(values.text(info.get(key) or "n/a") for key in ("timestamp_installed", dates))])
    return run.say(values.columns(rows, gap="  "))


STATUS = Command(
    "status", status,
    "Shows whether the server is sealed, its version, and its place in the cluster.\n"
    "Exit code 0: unsealed; 2: sealed; 1: it could not be asked.\n\n    $ caveau status",
    formats=True, field=True,
)  # fmt: skip

VERSION_HISTORY = Command(
    "version-history", version_history,
    "Shows the versions that the server has run, and since when.\n\n    $ caveau version-history",
    usage="", arity=Arity(0, None), formats=True,
)  # fmt: skip
