"""A bucket that speaks Amazon's S3: AWS, MinIO, Ceph, Garage, Google Cloud Storage in its interoperable mode."""

from __future__ import annotations

import asyncio
import hashlib
import html
import os
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote

from ...framework.clock import Clock
from ...framework.errors import InvalidRequest, StoreError
from .signing import EMPTY, Credentials, query_string, signed

if TYPE_CHECKING:
    from aiohttp import ClientResponse

_PART = 1 << 20
_SECONDS = 3600.0  # of a whole upload
_SILENT = 120.0  # seconds without a word
_LONGEST = 4 << 20  # bytes of a listing of a thousand names
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_REGION = re.compile(r"[a-z0-9-]{1,64}")
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class Bucket:
    """``host``: with its port, where it is not AWS's own. ``encryption``: headers that ask for it at rest."""

    name: str
    region: str
    credentials: Credentials
    host: str
    path_style: bool
    tls: bool
    encryption: Mapping[str, str]

    def url(self, key: str) -> str:
        """Of an object, as people write it."""
        return f"s3://{self.name}/{key}"

    async def put(self, clock: Clock, key: str, file: Path) -> None:
        """Upload a file. The bucket compares its SHA-256. Raises StoreError."""
        with await asyncio.to_thread(file.open, "rb") as content:
            digest = (await asyncio.to_thread(hashlib.file_digest, content, "sha256")).hexdigest()
            headers = {"content-length": str(content.tell()), "content-type": "application/gzip", **self.encryption}
            content.seek(0)
            async with (
                aclosing(_read(content)) as body,
                self._ask(clock, "PUT", key, headers=headers, digest=digest, body=body),
            ):
                pass

    async def size(self, clock: Clock, key: str) -> int:
        """Bytes of an object; raises StoreError."""
        async with self._ask(clock, "HEAD", key) as answer:
            return int(answer.headers.get("Content-Length", -1))

    async def delete(self, clock: Clock, key: str) -> None:
        """Raises StoreError."""
        async with self._ask(clock, "DELETE", key):
            pass

    async def names(self, clock: Clock, prefix: str) -> list[str]:
        """Keys that begin with ``prefix``; raises StoreError."""
        found: list[str] = []
        query = {"list-type": "2", "prefix": prefix}
        while True:
            async with self._ask(clock, "GET", "", query=query) as answer:
                text = (await _whole(answer)).decode("utf-8", "replace")
            found += map(html.unescape, re.findall(r"<Key>([^<]*)</Key>", text))
            more = re.search(r"<NextContinuationToken>([^<]+)</NextContinuationToken>", text)
            if more is None:
                return found
            query["continuation-token"] = html.unescape(more[1])

    @asynccontextmanager
    async def _ask(
        self,
        clock: Clock,
        method: str,
        key: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        digest: str = EMPTY,
        body: AsyncIterator[bytes] | None = None,
    ) -> AsyncIterator[ClientResponse]:
        import aiohttp
        from yarl import URL

        host = self.host if self.path_style else f"{self.name}.{self.host}"
        path = f"/{self.name}/{key}" if self.path_style else f"/{key}"
        sent = signed(
            self.credentials, self.region, clock.time(), method, path, query or {}, {"host": host, **(headers or {})},
            digest,
        )  # fmt: skip
        url = f"{'https' if self.tls else 'http'}://{host}{quote(path)}" + (f"?{query_string(query)}" if query else "")
        limits = aiohttp.ClientTimeout(total=_SECONDS, sock_connect=30, sock_read=_SILENT)
        try:
            async with (
                aiohttp.ClientSession(timeout=limits, trust_env=True) as session,
                session.request(
                    method, URL(url, encoded=True), headers=sent, data=body, allow_redirects=False
                ) as answer,
            ):
                if answer.status >= 300:
                    raise StoreError(f"{self.url(key)}: {await _refusal(answer)}")
                yield answer
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise StoreError(f"{self.url(key)}: {error or type(error).__name__}") from None


def bucket(options: Mapping[str, Any]) -> Bucket:
    """From the fields of a schedule, and AWS's environment variables; raises InvalidRequest."""
    name, region = options["aws_s3_bucket"], options["aws_s3_region"] or os.environ.get("AWS_REGION", "us-east-1")
    if not _NAME.fullmatch(name):
        raise InvalidRequest("aws_s3_bucket is missing, or is no name of a bucket")
    if not _REGION.fullmatch(region):
        raise InvalidRequest("aws_s3_region is no name of a region")
    endpoint = options["aws_s3_endpoint"]
    scheme, _, host = endpoint.rpartition("://")
    host = host.rstrip("/") or f"s3.{region}.amazonaws.com"
    if scheme not in ("", "http", "https") or not _HOST.fullmatch(host):
        raise InvalidRequest("aws_s3_endpoint is a host, with a port where that is unusual")
    key, secret, session = (
        options[f"aws_{field}"] or os.environ.get(f"AWS_{field.upper()}", "")
        for field in ("access_key_id", "secret_access_key", "session_token")
    )
    if not key or not secret:
        raise InvalidRequest("aws_access_key_id and aws_secret_access_key are needed, here or in the environment")
    encryption = {}
    if options["aws_s3_enable_kms"]:
        encryption = {"x-amz-server-side-encryption": "aws:kms"}
        if options["aws_s3_kms_key"]:
            encryption["x-amz-server-side-encryption-aws-kms-key-id"] = options["aws_s3_kms_key"]
    elif options["aws_s3_server_side_encryption"]:
        encryption = {"x-amz-server-side-encryption": "AES256"}
    if not all(text.isascii() and text.isprintable() for text in (key, session, *encryption.values())):
        raise InvalidRequest(
            "aws_access_key_id, aws_session_token and aws_s3_kms_key go into headers: plain ASCII only"
        )
    path_style, tls = options["aws_s3_force_path_style"], scheme != "http" and not options["aws_s3_disable_tls"]
    return Bucket(name, region, Credentials(key, secret, session), host, path_style, tls, encryption)


async def _refusal(answer: ClientResponse) -> str:
    """What the bucket says is wrong, which its XML has as Code and Message."""
    text = (await _whole(answer))[:10_000].decode("utf-8", "replace")
    said = [html.unescape(each) for each in re.findall(r"<(?:Code|Message)>([^<]{1,500})", text)]
    return f"HTTP {answer.status}" + "".join(f": {each}" for each in said)


async def _whole(answer: ClientResponse) -> bytes:
    text = b""
    async for part in answer.content.iter_any():
        text += part
        if len(text) > _LONGEST:
            raise StoreError("the bucket's answer is too long")
    return text


async def _read(content: IO[bytes]) -> AsyncGenerator[bytes, None]:
    while part := await asyncio.to_thread(content.read, _PART):
        yield part
