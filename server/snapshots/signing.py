"""AWS Signature Version 4 for S3 (docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote

EMPTY = hashlib.sha256().hexdigest()
"""Of a request without a body."""


@dataclass(frozen=True, slots=True)
class Credentials:
    key_id: str
    secret: str = field(repr=False)
    session: str = field(default="", repr=False)


def query_string(query: Mapping[str, str]) -> str:
    return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in sorted(query.items()))


def signed(
    credentials: Credentials,
    region: str,
    now: float,
    method: str,
    path: str,
    query: Mapping[str, str],
    headers: Mapping[str, str],
    digest: str,
) -> dict[str, str]:
    """``headers``, which include the host, and those that sign the request. ``path``: not quoted. ``digest``: SHA-256
    of the body, in hex. ``now``: seconds since the epoch."""
    time = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    sent = {name.lower(): value.strip() for name, value in headers.items()}
    sent |= {"x-amz-content-sha256": digest, "x-amz-date": time}
    if credentials.session:
        sent["x-amz-security-token"] = credentials.session
    names = ";".join(sorted(sent))
    lines = "".join(f"{name}:{sent[name]}\n" for name in sorted(sent))
    request = "\n".join([method, quote(path), query_string(query), lines, names, digest])
    scope = f"{time[:8]}/{region}/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", time, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{credentials.secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.new(key, text.encode(), "sha256").hexdigest()
    sent["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return sent
