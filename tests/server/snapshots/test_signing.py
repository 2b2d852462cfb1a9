"""Signatures, against the examples that AWS publishes (sig-v4-header-based-auth.html)."""

from __future__ import annotations

import pytest
from caveau.server.snapshots.signing import EMPTY, Credentials, signed

CREDENTIALS = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
MAY_2013 = 1369353600.0
HOST = {"host": "examplebucket.s3.amazonaws.com"}


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "digest", "signature"),
    [
        (
            "GET", "/test.txt", {}, {"Range": "bytes=0-9"}, EMPTY,
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "PUT", "/test$file.text", {},
            {"Date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
            "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            "GET", "/", {"lifecycle": ""}, {}, EMPTY,
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            "GET", "/", {"prefix": "J", "max-keys": "2"}, {}, EMPTY,
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
)  # fmt: skip
def test_published_examples(
    method: str, path: str, query: dict[str, str], headers: dict[str, str], digest: str, signature: str
) -> None:
    sent = signed(CREDENTIALS, "us-east-1", MAY_2013, method, path, query, {**HOST, **headers}, digest)
    assert sent["authorization"].endswith(f"Signature={signature}")


def test_temporary_credentials_are_signed_too() -> None:
    session = Credentials("a", "b", "token")
    sent = signed(session, "r", MAY_2013, "GET", "/", {}, HOST, EMPTY)
    assert sent["x-amz-security-token"] == "token"
    assert "x-amz-security-token" in sent["authorization"]
    assert "token" not in repr(session)
