"""A stand-in for a bucket: keeps objects, and answers only what is signed right, as S3 would."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl, quote, unquote

from aiohttp import web

KEY_ID, SECRET, REGION = "AKID", "s3-secret-key", "eu-test-1"


class Bucket:
    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.headers: dict[str, str] = {}  # of the last upload
        self.address = ""
        self.page = 2  # names a listing has at once
        self.full = False

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        if not self._signed(request, body):
            return _error(403, "SignatureDoesNotMatch", "The request signature we calculated does not match")
        raw = request.raw_path.partition("?")[0]
        name, _, key = unquote(raw).lstrip("/").partition("/")
        if name != "backups":
            return _error(404, "NoSuchBucket", "The specified bucket does not exist")
        if request.method == "PUT":
            if self.full:
                return _error(507, "XMinioStorageFull", "Storage backend has reached its minimum free drive threshold")
            self.objects[key] = body
            self.headers = {name.lower(): value for name, value in request.headers.items()}
            return web.Response()
        if request.method == "HEAD":
            return web.Response(headers={"Content-Length": str(len(self.objects[key]))})
        if request.method == "DELETE":
            del self.objects[key]
            return web.Response(status=204)
        query = dict(parse_qsl(request.query_string))
        assert query["list-type"] == "2"
        after = query.get("continuation-token", "")
        keys = [key for key in sorted(self.objects) if key.startswith(query["prefix"]) and key > after]
        more = f"<NextContinuationToken>{keys[self.page - 1]}</NextContinuationToken>" if len(keys) > self.page else ""
        text = "".join(f"<Contents><Key>{key}</Key></Contents>" for key in keys[: self.page])
        return web.Response(text=f"<ListBucketResult>{more}{text}</ListBucketResult>", content_type="application/xml")

    def _signed(self, request: web.Request, body: bytes) -> bool:
        """Computed anew, from what arrived and not from what the client says that it signed."""
        found = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=(\S+), SignedHeaders=(\S+), Signature=(\S+)",
            request.headers["Authorization"],
        )
        assert found is not None
        credential, names, signature = found.groups()
        key_id, day, region, service, end = credential.split("/")
        if (key_id, region, service, end) != (KEY_ID, REGION, "s3", "aws4_request"):
            return False
        digest = hashlib.sha256(body).hexdigest()
        path, _, query = request.raw_path.partition("?")
        pairs = sorted(parse_qsl(query, keep_blank_values=True))
        canonical = "\n".join([
            request.method, path, "&".join(f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in pairs),
            *(f"{name}:{request.headers[name].strip()}" for name in names.split(";")), "", names, digest,
        ])  # fmt: skip
        text = "\n".join([
            "AWS4-HMAC-SHA256", request.headers["x-amz-date"], f"{day}/{region}/s3/aws4_request",
            hashlib.sha256(canonical.encode()).hexdigest(),
        ])  # fmt: skip
        key = f"AWS4{SECRET}".encode()
        for part in (day, region, "s3", "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        return hmac.compare_digest(hmac.new(key, text.encode(), hashlib.sha256).hexdigest(), signature)


def _error(status: int, code: str, message: str) -> web.Response:
    return web.Response(status=status, text=f"<Error><Code>{code}</Code><Message>{message}</Message></Error>")


@asynccontextmanager
async def serving_bucket() -> AsyncIterator[Bucket]:
    bucket = Bucket()
    server = web.Server(bucket.handle)
    runner = web.ServerRunner(server)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    bucket.address = f"{host}:{port}"
    try:
        yield bucket
    finally:
        await runner.cleanup()
