"""A snapshot that is restored at a node that follows reaches the active one as it comes, however long it is."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from caveau.framework.errors import InvalidRequest
from caveau.tests.server.cluster.fake import cluster

PATH = "sys/storage/raft/snapshot"


async def test_it_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytes(range(256)) * 20_000
    taken: list[tuple[bytes, bool]] = []

    async def restore(sent: AsyncIterator[bytes], *, force: bool) -> None:
        taken.append((b"".join([piece async for piece in sent]), force))

    async with cluster() as two:
        active, standby = two.nodes
        monkeypatch.setattr(active.core.whole, "restore", restore)
        monkeypatch.setattr(standby.core.whole, "restore", None)
        for path in (PATH, f"{PATH}-force"):
            answer = await standby.ask("POST", path, content)
            assert answer.status == 204
        assert taken == [(content, False), (content, True)]
        answer = await standby.ask("POST", "kv-v2/data/a", {"data": {"v": "1"}})
        assert answer.status == 200


async def test_a_refusal_does_not_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def restore(sent: AsyncIterator[bytes], *, force: bool) -> None:
        raise InvalidRequest("it is no snapshot")

    async with cluster() as two:
        active, standby = two.nodes
        monkeypatch.setattr(active.core.whole, "restore", restore)
        answer = await standby.ask("POST", PATH, bytes(5 << 20))
        assert (answer.status, answer.errors) == (400, ["it is no snapshot"])
        await standby.client.close()
        answer = await standby.ask("POST", PATH, b"x", token="wrong")
        assert answer.status == 403
