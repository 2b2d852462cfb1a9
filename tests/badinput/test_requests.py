"""Bad requests are refused with a status that says so, never with a server error, and do no harm."""

from __future__ import annotations

import json

import pytest

from ..peers import Server
from . import cases
from .cases import Case
from .wire import Answer, Peak, exchange

MIB = 2**20
ROOM = 200 * MIB
"""How far one bad request may lift the server's memory."""


def try_(case: Case, server: Server, product: str) -> Answer:
    method = case.request.method if isinstance(case.request.method, str) else "GET"
    with Peak(server.pid) as peak:
        answer = exchange(server, [case.request.render(server)], method)
    assert answer.status in case.allowed(product), answer
    if product == "caveau":
        assert peak.grown < ROOM
        assert b"Traceback" not in answer.body
        if answer.status >= 400 and answer.body and "json" in answer.headers.get("content-type", ""):
            assert isinstance(json.loads(answer.body)["errors"], list)
    return answer


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=f"{group}: {case.name}")
        for group in ("BODIES", "PATCHES", "PARAMETERS", "PATHS", "METHODS", "HEADERS", "PROTOCOL")
        for case in getattr(cases, group)
    ],
)
def test_refused(case: Case, live: Server, product: str) -> None:
    answer = try_(case, live, product)
    assert "x-injected" not in answer.headers


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in cases.SEALED])
def test_refused_while_sealed(case: Case, sealed: Server, product: str) -> None:
    try_(case, sealed, product)
