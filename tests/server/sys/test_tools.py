"""Hashes and random bytes."""

from __future__ import annotations

import base64
import hashlib

import pytest
from caveau.framework.errors import InvalidRequest
from caveau.server.sys.tools import HASHES, MAX_RANDOM


@pytest.mark.parametrize("algorithm", sorted(HASHES))
@pytest.mark.parametrize("size", [0, 1, 100_000])
async def test_hashes(server, algorithm, size):
    data = b"x" * size
    expected = hashlib.new(HASHES[algorithm], data).digest()
    body = {"input": base64.b64encode(data).decode()}
    by_path = await server.call("update", f"sys/tools/hash/{algorithm}", body)
    assert by_path.data == {"sum": expected.hex()}
    by_field = await server.call("update", "sys/tools/hash", body | {"algorithm": algorithm, "format": "base64"})
    assert by_field.data == {"sum": base64.b64encode(expected).decode()}


async def test_published_vector(server):
    """FIPS 180-4: SHA-256 of "abc"."""
    answer = await server.call("update", "sys/tools/hash", {"input": base64.b64encode(b"abc").decode()})
    assert answer.data["sum"] == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize(
    "body", [{"input": "not base64!"}, {"input": "YQ==", "algorithm": "md5"}, {"input": "YQ==", "format": "x"}]
)
async def test_hashes_that_are_refused(server, body):
    with pytest.raises(InvalidRequest):
        await server.call("update", "sys/tools/hash", body)


@pytest.mark.parametrize(
    ("path", "body", "size"),
    [
        ("", {}, 32),
        ("", {"bytes": 1}, 1),
        ("", {"bytes": MAX_RANDOM}, MAX_RANDOM),
        ("/8", {"bytes": 9}, 8),
        ("/platform", {}, 32),
        ("/all/8", {}, 8),
        ("/platform/8", {"format": "base64"}, 8),
    ],
)
async def test_random_bytes(server, path, body, size):
    found = [(await server.call("update", f"sys/tools/random{path}", body)).data["random_bytes"] for _ in range(2)]
    assert [len(base64.b64decode(each)) for each in found] == [size, size]
    assert size < 8 or found[0] != found[1]


async def test_a_seal_without_entropy_leaves_it_to_the_platform_and_says_so(server):
    answer = await server.call("update", "sys/tools/random/seal/8", {"format": "hex"})
    assert len(bytes.fromhex(answer.data["random_bytes"])) == 8
    assert answer.warnings


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("", {"bytes": 0}), ("", {"bytes": -1}), ("", {"bytes": MAX_RANDOM + 1}), ("", {"source": "none"}),
        ("", {"format": "x"}), ("/0", {}), ("/99999999999999999999", {}), ("/none", {}), ("/platform/x", {}),
    ],
)  # fmt: skip
async def test_random_that_is_refused(server, path, body):
    with pytest.raises(InvalidRequest):
        await server.call("update", f"sys/tools/random{path}", body)
