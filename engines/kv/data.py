"""``data/`` and ``subkeys/``: reading, writing, patching and deleting the data of secrets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import orjson

from ...framework.clock import rfc3339
from ...framework.errors import CaveauError, InvalidRequest, NotFound
from ...framework.jsontext import MAX_DEPTH, dumps, loads
from ...framework.messages import NOT_ASKED, Request, Response
from ...framework.params import Field
from ...framework.routes import delete, patch, read, update
from ...framework.storage import View
from ...framework.wire import INT, MAP, Wire
from .paths import check_writable
from .records import Config, Secret, deleted_at, is_readable
from .secrets import SecretPath, Secrets, version_key

NULLABLE_MAP = Wire("map", MAP.schema, MAP.parse, lambda: None)


class ReadVersion(SecretPath):
    version: Annotated[int, Field("Which version to read; 0 is the latest.")] = 0


class ReadSubkeys(ReadVersion):
    depth: Annotated[int, Field("Show only so many levels; 0 shows all.")] = 0


class WriteData(ReadVersion):
    data: Annotated[dict[str, Any] | None, Field("The fields of the secret.", NULLABLE_MAP, sensitive=True)] = None
    options: Annotated[dict[str, Any] | None, Field(
        "With cas, the write happens only if that is the current version; 0 means the secret must be new.",
        NULLABLE_MAP,
    )] = None  # fmt: skip


class DataRoutes(Secrets):
    @read("data/{path:path}")
    async def read_data(self, req: Request, p: ReadVersion) -> Response | dict[str, Any]:
        """Read a version of a secret, the latest unless told otherwise.

        A version that was deleted or destroyed answers 404 with what is known of it.
        """
        described, data = await self._read(req, p)
        if data is None:
            return Response(status=404, data={"data": None, "metadata": described})
        return {"data": orjson.Fragment(data), "metadata": described}

    @read("subkeys/{path:path}")
    async def read_subkeys(self, req: Request, p: ReadSubkeys) -> Response | dict[str, Any]:
        """Read the names of the fields of a secret, nested ones too, without their values."""
        described, text = await self._read(req, p)
        if text is None:
            return Response(status=404, data={"metadata": described, "subkeys": None})
        data = loads(text)
        return {"metadata": described, "subkeys": data and _names(data, p.depth or MAX_DEPTH)}

    @update("data/{path:path}", exists="existing")
    async def write_data(self, req: Request, p: WriteData) -> dict[str, Any]:
        """Write a new version of a secret.

        Versions beyond the limit of the secret or of the mount, 10 by default, are removed, the oldest first.
        """
        check_writable(p.path)
        if "data" not in p.given:
            raise InvalidRequest("no data provided")
        config = await self.config(req.storage)
        secret: Secret | None = req.existing
        if req.existing is NOT_ASKED or self._upgraded:
            secret = await self.take(req.storage, p.path)
        if secret is None:
            secret = Secret(created_time=rfc3339(self.clock.time()))
        _check_and_set(p.options, secret, config)
        return self._add_version(req.storage, p.path, secret, config, dumps(p.data))

    @patch("data/{path:path}")
    async def patch_data(self, req: Request, p: WriteData) -> Response | dict[str, Any]:
        """Write a new version made from the latest one and a JSON merge patch (RFC 7386).

        Null removes a field. The latest version must be neither deleted nor destroyed.
        """
        check_writable(p.path)
        if "data" not in p.given:
            raise InvalidRequest("no data provided")
        config = await self.config(req.storage)
        secret = await self.take(req.storage, p.path)
        if secret is None or not secret.current_version:
            return Response(status=404, body=b"")
        _check_and_set(p.options, secret, config)
        latest = secret.current_version
        if not is_readable(secret.versions[str(latest)], self.clock.time()):
            return Response(status=404, data=secret.describe_version(latest))
        data = await self.data(req.storage, p.path, latest)
        if data is None:
            raise CaveauError(f"the data of version {latest} is missing from storage")
        merged = merge_patch(loads(data), p.data)
        return self._add_version(req.storage, p.path, secret, config, dumps(merged))

    @delete("data/{path:path}")
    async def delete_data(self, req: Request, p: SecretPath) -> None:
        """Delete the latest version. Its data stays until it is destroyed or pruned, and can be undeleted."""
        secret = await self.take(req.storage, p.path)
        version = secret and secret.version(secret.current_version)
        now = self.clock.time()
        if secret and version and is_readable(version, now):
            versions = {**secret.versions, str(secret.current_version): deleted_at(version, rfc3339(now))}
            self.save(req.storage, p.path, secret.changed(versions=versions))

    async def _read(self, req: Request, p: ReadVersion) -> tuple[dict[str, Any], bytes | None]:
        """What is known of a version, and the JSON text of its data unless that is deleted or destroyed."""
        secret = await self.find(req.storage, p.path)
        while secret is not None:
            number = p.version if p.version > 0 else secret.current_version
            version = secret.version(number)
            if version is None:
                break
            if not is_readable(version, self.clock.time()):
                return secret.describe_version(number), None
            data = await self.data(req.storage, p.path, number)
            if data is not None:
                return secret.describe_version(number), data
            # Reads are not in a transaction: it was destroyed or pruned between the two, or is lost.
            before, secret = secret, await self.find(req.storage, p.path)
            if secret == before:
                raise CaveauError(f"the data of version {number} is missing from storage")
        raise NotFound

    def _add_version(self, storage: View, path: str, secret: Secret, config: Config, data: bytes) -> dict[str, Any]:
        now = self.clock.time()
        created = rfc3339(now)
        number = secret.current_version + 1
        lifetime = secret.lifetime(config)
        kept = secret.kept_versions(config)
        oldest = secret.oldest_version
        versions = dict(secret.versions)
        if number > kept:
            oldest = max(oldest, number - kept + 1)
            for pruned in range(secret.oldest_version, oldest):
                if versions.pop(str(pruned), None) is not None:
                    storage.delete(version_key(path, pruned))
        deletion = rfc3339(now + lifetime) if lifetime else ""
        versions[str(number)] = created, deletion, False
        written = secret.changed(updated_time=created, current_version=number, oldest_version=oldest, versions=versions)
        storage.put(version_key(path, number), data, new=True)
        self.save(storage, path, written)
        return written.describe_version(number)


def merge_patch(target: Any, change: Any) -> Any:
    """``target`` with a JSON merge patch applied (RFC 7386, section 2); neither is modified."""
    if not isinstance(change, Mapping):
        return change
    merged = dict(target) if isinstance(target, Mapping) else {}
    for key, value in change.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def _check_and_set(options: Mapping[str, Any] | None, secret: Secret, config: Config) -> None:
    if not options or "cas" not in options:
        if config.cas_required or secret.cas_required:
            raise InvalidRequest("check-and-set parameter required for this call")
        return
    try:
        expected = 0 if options["cas"] is None else INT.parse(options["cas"])
    except ValueError:
        raise InvalidRequest("error parsing check-and-set parameter") from None
    if expected != secret.current_version:
        raise InvalidRequest("check-and-set parameter did not match the current version")


def _names(data: dict[str, Any], depth: int) -> dict[str, Any]:
    names: dict[str, Any] = {}
    for name, value in data.items():  # no comprehension: it would halve how deep the call stack allows
        names[name] = _names(value, depth - 1) if depth > 1 and value and isinstance(value, dict) else None
    return names
