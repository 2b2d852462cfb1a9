"""Metrics have the names, kinds and labels that they have in OpenBao, so that its dashboards work."""

from __future__ import annotations

import json
import time
import urllib.request
from typing import Any

import pytest
from caveau.tests.peers import Server, bao_server, caveau_server
from prometheus_client.parser import text_string_to_metric_families

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.timeout(120)]

SHARED = {
    "vault_audit_log_request", "vault_audit_log_request_failure", "vault_audit_log_response",
    "vault_barrier_delete", "vault_barrier_estimated_encryptions", "vault_barrier_get", "vault_barrier_list",
    "vault_barrier_put", "vault_cache_hit", "vault_cache_miss", "vault_cache_write", "vault_core_active",
    "vault_core_check_token", "vault_core_fetch_acl_and_token", "vault_core_handle_login_request",
    "vault_core_handle_request", "vault_core_in_flight_requests", "vault_core_mount_table_num_entries",
    "vault_core_mount_table_size", "vault_expire_num_irrevocable_leases", "vault_expire_num_leases",
    "vault_core_locked_users", "vault_core_post_unseal", "vault_core_unsealed",
    "vault_expire_renew_token", "vault_expire_revoke", "vault_expire_revoke_prefix",
    "vault_identity_entity_creation",
    "vault_namespace_delete_namespace", "vault_namespace_get_namespace_by_path", "vault_namespace_list_namespaces",
    "vault_namespace_modify_namespace", "vault_policy_delete_policy", "vault_policy_get_policy",
    "vault_policy_list_policies", "vault_policy_set_policy", "vault_token_create", "vault_token_revoke_tree",
    "vault_route_create_secret_",
    "vault_route_read_secret_", "vault_route_update_auth_userpass_", "vault_route_read_sys_",
    "vault_route_update_sys_", "vault_runtime_alloc_bytes", "vault_runtime_heap_objects",
    "vault_runtime_num_goroutines", "vault_runtime_sys_bytes", "vault_runtime_total_gc_pause_ns",
    "vault_runtime_total_gc_runs", "process_cpu_seconds", "process_max_fds", "process_open_fds",
    "process_resident_memory_bytes", "process_start_time_seconds", "process_virtual_memory_bytes",
}  # fmt: skip
OURS_ONLY = {"vault_sqlite_", "python_", "vault_token_count", "vault_identity_", "vault_quota_"}


def ask(server: Server, method: str, path: str, body: Any = None) -> bytes:
    request = urllib.request.Request(
        f"{server.address}/v1/{path}",
        None if body is None else json.dumps(body).encode(),
        {"X-Vault-Token": server.token},
        method=method,
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        found: bytes = response.read()
        return found


def used(server: Server) -> dict[str, tuple[str, frozenset[str]]]:
    """Kind and names of labels of every metric, once a server has had something to do."""
    ask(server, "POST", "secret/data/a", {"data": {"x": 1}})
    ask(server, "GET", "secret/data/a")
    ask(server, "DELETE", "secret/metadata/a")
    ask(server, "GET", "sys/mounts")
    ask(server, "POST", "sys/auth/userpass", {"type": "userpass"})
    ask(server, "POST", "auth/userpass/users/u", {"password": "p"})
    ask(server, "POST", "auth/userpass/login/u", {"password": "p"})
    ask(server, "POST", "sys/policies/acl/p", {"policy": 'path "a" { capabilities = ["read"] }'})
    ask(server, "GET", "sys/policies/acl/p")
    ask(server, "LIST", "sys/policies/acl")
    ask(server, "DELETE", "sys/policies/acl/p")
    ask(server, "POST", "sys/namespaces/n", {})
    ask(server, "GET", "sys/namespaces/n")
    ask(server, "LIST", "sys/namespaces")
    token = json.loads(ask(server, "POST", "auth/userpass/login/u", {"password": "p"}))["auth"]["client_token"]
    ask(server, "POST", "auth/token/renew", {"token": token})
    ask(server, "POST", "sys/leases/revoke-prefix/auth/userpass")
    ask(server, "DELETE", "sys/namespaces/n")
    deadline = time.monotonic() + 30
    while "vault_runtime_sys_bytes" not in (text := ask(server, "GET", "sys/metrics?format=prometheus").decode()):
        assert time.monotonic() < deadline
        time.sleep(0.5)  # OpenBao measures its gauges every ten seconds
    return {
        family.name: (family.type, frozenset(name for sample in family.samples for name in sample.labels))
        for family in text_string_to_metric_families(text)
    }


def test_metrics_are_called_as_they_are_in_openbao() -> None:
    with bao_server() as bao, caveau_server() as caveau:
        theirs, ours = used(bao), used(caveau)
    without_audit = {name for name in SHARED if not name.startswith("vault_audit_log_re")}
    assert without_audit - ours.keys() == set()
    assert SHARED - theirs.keys() == set()
    assert {name: ours[name] for name in SHARED & ours.keys()} == {name: theirs[name] for name in SHARED & ours.keys()}
    unknown = {name for name in ours.keys() - theirs.keys() if not name.startswith(tuple(OURS_ONLY))}
    assert unknown <= {"vault_token_creation", "vault_token_lookup", "vault_core_pre_seal"}
