from __future__ import annotations

import random
import tracemalloc

from caveau.storage.cache import MISSING, Cache


def test_absence_is_not_ignorance() -> None:
    cache = Cache(1 << 20)
    assert cache.get("a") is MISSING
    cache.put("a", None)
    assert cache.get("a") is None
    assert "a" in cache
    cache.put("a", b"")
    assert cache.get("a") == b""
    cache.discard("a")
    cache.discard("never there")
    assert cache.get("a") is MISSING
    assert cache.size == 0


def test_size_is_bounded_and_exact() -> None:
    cache = Cache(100_000)
    rng = random.Random(1)
    for _ in range(20_000):
        key = f"key/{rng.randrange(500)}"
        match rng.randrange(3):
            case 0:
                cache.get(key)
            case 1:
                cache.discard(key)
            case _:
                cache.put(key, rng.randbytes(rng.randrange(800)))
        assert cache.size <= 100_000
    assert len(cache) > 100
    for i in range(500):
        cache.discard(f"key/{i}")
    assert cache.size == len(cache) == 0


def test_what_is_read_again_outlives_a_sweep() -> None:
    cache = Cache(100_000)
    cache.put("hot", b"v")
    for i in range(10_000):
        cache.put(f"cold/{i}", b"v")
        assert cache.get("hot") == b"v"
    assert cache.get("cold/0") is MISSING
    assert cache.get("cold/9999") == b"v"


def test_full_of_hot_entries_still_takes_new_ones() -> None:
    cache = Cache(100_000)
    for i in range(1000):
        cache.put(f"k{i}", b"v")
        for j in range(i + 1):
            cache.get(f"k{j}")
    assert cache.get("k999") == b"v"
    assert cache.size <= 100_000


def test_outsized_value_is_not_kept_nor_the_one_it_replaces() -> None:
    cache = Cache(100_000)
    cache.put("a", b"old")
    cache.put("b", b"other")
    cache.put("a", bytes(50_000))
    assert cache.get("a") is MISSING
    assert cache.get("b") == b"other"


def test_no_capacity_caches_nothing() -> None:
    cache = Cache(0)
    cache.put("a", b"")
    assert cache.get("a") is MISSING


def test_clear() -> None:
    cache = Cache(1 << 20)
    cache.put("a", b"")
    cache.clear()
    assert cache.get("a") is MISSING
    assert cache.size == 0


def test_counts_the_memory_it_takes() -> None:
    """Within a fifth of what the allocator says, for entries of the usual size."""
    cache = Cache(1 << 30)
    tracemalloc.start()
    try:
        for i in range(20_000):
            cache.put(f"namespaces/root/logical/kv/{i}", bytes(100))
        used = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert 0.8 < cache.size / used < 1.25
