"""What every physical store must do. A store's test module subclasses ``Conformance`` and gives the
``store`` fixture: an empty, opened store."""

from __future__ import annotations

import asyncio
import random

import pytest
from caveau.framework.errors import StoreError
from caveau.framework.storage import Physical

NAMES = ["a", "b", "a-", "a0", "ab", "é", "é0", "日本", "\U0001f600", "~", " ", "a b", "%", "A", "nul\0"]


def listing(model: dict[str, bytes], prefix: str, after: str, limit: int) -> list[str]:
    """The contract of ``list``, spelled out over a dict."""
    below = [key[len(prefix) :] for key in model if key.startswith(prefix) and key != prefix]
    names = {head + slash for head, slash, _ in (key.partition("/") for key in below)}
    ordered = sorted((n for n in names if n.encode() > after.encode()), key=str.encode)
    return ordered[:limit] if limit else ordered


class Conformance:
    async def test_absent_key_is_none(self, store: Physical) -> None:
        assert await store.get("no/such") is None
        assert await store.list("") == []
        assert await store.list("no/such/") == []

    async def test_put_overwrite_delete(self, store: Physical) -> None:
        await store.commit({"k": b"1"})
        await store.commit({"k": b"2"})
        assert await store.get("k") == b"2"
        await store.commit({"k": None, "never/was": None})
        assert await store.get("k") is None
        assert await store.list("") == []

    async def test_empty_batch(self, store: Physical) -> None:
        await store.commit({})
        assert await store.list("") == []

    async def test_empty_value_is_not_absent(self, store: Physical) -> None:
        await store.commit({"k": b""})
        assert await store.get("k") == b""
        assert await store.list("") == ["k"]

    async def test_big_value(self, store: Physical) -> None:
        value = random.Random(1).randbytes(32 << 20)
        await store.commit({"big": value, "small": b"s"})
        assert await store.get("big") == value
        await store.commit({"big": None})
        assert await store.get("small") == b"s"

    async def test_big_batch(self, store: Physical) -> None:
        batch: dict[str, bytes | None] = {f"many/{i:05}": str(i).encode() for i in range(5000)}
        await store.commit(batch)
        assert await store.list("many/") == [f"{i:05}" for i in range(5000)]
        await store.commit(dict.fromkeys(list(batch)[:4999]))
        assert await store.list("many/") == ["04999"]

    async def test_folders_show_once_and_in_byte_order(self, store: Physical) -> None:
        await store.commit({"p/a/1": b"", "p/a/2/3": b"", "p/a": b"", "p/a-": b"", "p/a0": b"", "q": b"", "p0": b""})
        assert await store.list("") == ["p/", "p0", "q"]
        assert await store.list("p/") == ["a", "a-", "a/", "a0"]
        assert await store.list("p/a/") == ["1", "2/"]

    @pytest.mark.parametrize(
        ("after", "limit", "expected"),
        [
            ("a", 0, ["a-", "a/", "a0", "b"]),
            ("a/", 0, ["a0", "b"]),
            ("a/1", 0, ["a0", "b"]),
            ("a-", 1, ["a/"]),
            ("", 2, ["a", "a-"]),
            ("a.", 2, ["a/", "a0"]),
            ("b", 5, []),
            ("zzz", 0, []),
        ],
    )
    async def test_after_and_limit(self, store: Physical, after: str, limit: int, expected: list[str]) -> None:
        await store.commit(dict.fromkeys(["p/a", "p/a-", "p/a/1", "p/a/2", "p/a0", "p/b", "o", "q"], b""))
        assert await store.list("p/", after, limit) == expected

    async def test_listing_steps_over_a_crowded_folder(self, store: Physical) -> None:
        await store.commit({f"p/crowd/{i}": b"" for i in range(3000)} | {"p/zoo": b""})
        assert await store.list("p/") == ["crowd/", "zoo"]

    async def test_long_listing_of_folders(self, store: Physical) -> None:
        await store.commit({f"p/{i:04}/{j}": b"" for i in range(1500) for j in range(2)})
        assert await store.list("p/") == [f"{i:04}/" for i in range(1500)]

    async def test_commits_take_effect_in_the_order_of_the_calls(self, store: Physical) -> None:
        waits = [store.commit({"k": str(i).encode(), f"k{i}": b"", f"k{i - 1}": None}) for i in range(200)]
        await asyncio.gather(*waits)
        assert await store.get("k") == b"199"
        assert await store.list("") == ["k", "k199"]

    async def test_done_in_order(self, store: Physical) -> None:
        order: list[int] = []

        async def write(i: int) -> None:
            await store.commit({"k": str(i).encode()})
            order.append(i)

        await asyncio.gather(*(write(i) for i in range(50)))
        assert order == list(range(50))

    async def test_abandoned_commit_still_happens(self, store: Physical) -> None:
        async def write() -> None:
            await store.commit({"k": b"abandoned"})

        task = asyncio.create_task(write())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await store.commit({"other": b""})
        assert await store.get("k") == b"abandoned"

    async def test_close_finishes_what_was_given(self, store: Physical) -> None:
        waits = [asyncio.ensure_future(store.commit({f"k{i}": b""})) for i in range(20)]
        await store.close()
        assert all(wait.done() and wait.exception() is None for wait in waits)
        with pytest.raises(StoreError):
            await store.commit({"late": b""})

    @pytest.mark.parametrize("seed", range(4))
    async def test_like_a_dict(self, store: Physical, seed: int) -> None:
        """Random batches and reads, against the contract over a dict."""
        rng = random.Random(seed)
        model: dict[str, bytes] = {}

        def key() -> str:
            return "/".join(rng.choice(NAMES) for _ in range(rng.randint(1, 3)))

        for _ in range(150):
            batch = {key(): rng.choice([None, b"", rng.randbytes(rng.choice([1, 50, 5000]))]) for _ in range(8)}
            await store.commit(batch)
            for k, value in batch.items():
                if value is None:
                    model.pop(k, None)
                else:
                    model[k] = value
            probe = key()
            assert await store.get(probe) == model.get(probe)
            prefix = rng.choice(["", key() + "/"])
            after, limit = rng.choice(["", rng.choice(NAMES), key()]), rng.choice([0, 0, 1, 2, 5])
            assert await store.list(prefix, after, limit) == listing(model, prefix, after, limit)
