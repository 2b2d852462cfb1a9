"""Every operation of the served OpenAPI document, with input that fits its schema and input that does not.

Bounded so that CI can run it; CAVEAU_FUZZ_EXAMPLES=200 looks further, and at other input every time.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.schemas import APIOperation

from ..peers import Server, caveau_server

EXAMPLES = int(os.environ.get("CAVEAU_FUZZ_EXAMPLES", "6"))

LEFT_OUT = {
    "/sys/seal": "ends the server's work",
    "/sys/step-down": "may end it",
    "/auth/token/revoke-self": "ends the token that all the requests use",
    "/sys/monitor": "streams until the client goes",
    "/sys/remount": "takes the mounts of the document away",
    "/sys/quotas/rate-limit/{name}": "a quota holds for the test too",
    "/sys/audit/{path}": "a device that cannot write stops every request, on purpose",
    "/sys/pprof/profile": "runs for half a minute",
    "/sys/pprof/trace": "runs for a while",
    "/sys/namespaces/api-lock/lock": "locks the test out",
    "/sys/namespaces/api-lock/lock/{path}": "locks the test out",
}


def alive(server: Server) -> bool:
    """Whether the server still answers and knows the root token."""
    try:
        return requests.get(f"{server.address}/v1/auth/token/lookup-self", headers=headers(server), timeout=10).ok
    except requests.RequestException:
        return False


def headers(server: Server) -> dict[str, str]:
    return {"X-Vault-Token": server.token}


def complaints(operation: APIOperation, server: Server, mode: GenerationMode) -> list[str]:
    """Try one operation; the requests that the server answered with an error of its own, or not at all."""
    found: dict[int, str] = {}

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        derandomize="CAVEAU_FUZZ_EXAMPLES" not in os.environ,
        suppress_health_check=list(HealthCheck),
    )
    def try_(case: schemathesis.Case) -> None:
        try:
            response = case.call(base_url=f"{server.address}/v1", headers=headers(server), timeout=10)
        except requests.RequestException as error:
            found.setdefault(0, f"{operation.label}: {error!r}")
            return
        if response.status_code >= 500:
            report = f"{operation.label}: {response.status_code} {response.text[:200]}{case.as_curl_command()[:400]}"
            found.setdefault(response.status_code, report)

    with suppress(Unsatisfiable):  # nothing can be wrong about an operation without parameters
        try_()
    return list(found.values())


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_operation_answers_with_a_server_error() -> None:
    failures: list[str] = []
    with ExitStack() as servers:
        server = servers.enter_context(caveau_server())
        document = requests.get(f"{server.address}/v1/sys/internal/specs/openapi", headers=headers(server), timeout=30)
        schema = schemathesis.openapi.from_dict(document.json())
        schema.config.output.sanitization.update(enabled=False)  # a report must be repeatable; there are no secrets
        operations = [found.ok() for found in schema.get_all_operations()]
        assert len(operations) > 50
        for operation in operations:
            if operation.path in LEFT_OUT:
                continue
            for mode in GenerationMode:
                failures += complaints(operation, server, mode)
            if not alive(server):
                failures.append(f"{operation.label}: after it the server or its root token is gone")
                servers.close()
                server = servers.enter_context(caveau_server())
    assert not failures, "\n".join(failures)
