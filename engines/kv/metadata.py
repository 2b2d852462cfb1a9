"""``metadata/`` and ``detailed-metadata/``: settings of secrets, their versions, and the folders they are in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from ...framework.clock import rfc3339
from ...framework.errors import InvalidRequest, MultipleErrors, NotFound
from ...framework.messages import Request, Response
from ...framework.params import Field, PageParams
from ...framework.routes import delete, list_, patch, read, scan, update
from ...framework.storage import View
from ...framework.wire import SECONDS, STRING
from . import paths
from .config import COUNT
from .data import NULLABLE_MAP, merge_patch
from .records import Config, Secret
from .secrets import SecretPath, Secrets, metadata_key, version_key

_MAX_KEYS, _MAX_KEY_BYTES, _MAX_VALUE_BYTES = 64, 128, 512


class Folder(PageParams):
    path: Annotated[str, Field("The folder; empty for the top.")] = ""


class SecretSettings(SecretPath):
    cas_required: Annotated[bool, Field("Refuse writes of data without the cas option.")] = False
    custom_metadata: Annotated[dict[str, Any] | None, Field(
        "Names and values of your own, up to 64; not encrypted separately, so keep secrets out.", NULLABLE_MAP,
    )] = None  # fmt: skip
    delete_version_after: Annotated[int, Field(
        "Delete a version so long after it was written; 0 takes the mount's setting, which also caps it.", SECONDS,
    )] = 0  # fmt: skip
    max_versions: Annotated[int, Field(
        "How many versions to keep; the greater of this and the mount's setting counts.", COUNT,
    )] = 0  # fmt: skip
    metadata_cas: Annotated[int, Field(
        "Write only if this is the current version of the metadata; 0 means there must be none.",
    )] = 0  # fmt: skip
    metadata_cas_required: Annotated[bool, Field("Refuse writes of metadata without metadata_cas.")] = False


_SETTINGS = SecretSettings.specs.keys() - {"path", "metadata_cas"}


class MetadataRoutes(Secrets):
    @read("metadata/{path:path}")
    async def read_metadata(self, req: Request, p: SecretPath) -> dict[str, Any]:
        """Read the settings of a secret and what its versions are."""
        secret = await self.find(req.storage, p.path)
        if secret is None:
            raise NotFound
        return secret.describe()

    @update("metadata/{path:path}", exists="existing")
    async def write_metadata(self, req: Request, p: SecretSettings) -> Response | None:
        """Change settings of a secret, which need not have any data yet; those not given stay as they are."""
        paths.check_writable(p.path)
        return await self._apply(req.storage, p, await self.take(req.storage, p.path))

    @patch("metadata/{path:path}")
    async def patch_metadata(self, req: Request, p: SecretSettings) -> Response | None:
        """Change settings of a secret by a JSON merge patch: null resets one, or removes a name of yours."""
        paths.check_writable(p.path)
        if not p.given & _SETTINGS:
            return None
        secret = await self.take(req.storage, p.path)
        if secret is None:
            return Response(status=404, body=b"")
        if p.custom_metadata is not None:
            p.custom_metadata = merge_patch(secret.custom_metadata, p.custom_metadata)
        return await self._apply(req.storage, p, secret)

    @delete("metadata/{path:path}")
    async def delete_metadata(self, req: Request, p: SecretPath) -> None:
        """Remove a secret for good: every version and all that is known of it."""
        secret = await self.take(req.storage, p.path)
        if secret is not None:
            for number in secret.versions:
                req.storage.delete(version_key(p.path, int(number)))
            req.storage.delete(metadata_key(p.path))

    @list_("metadata[/{path:path}]")
    async def list_secrets(self, req: Request, p: Folder) -> dict[str, Any]:
        """List the secrets and folders in a folder. Folders end in a slash."""
        return {"keys": await self._list(req, p)}

    @scan("metadata[/{path:path}]")
    async def scan_secrets(self, req: Request, p: Folder) -> dict[str, Any]:
        """List every secret below a folder, however deep; after and limit have no effect."""
        keys = await self._scan(req, p)
        return {"keys": keys} if keys else {}

    @list_("detailed-metadata[/{path:path}]")
    async def list_metadata(self, req: Request, p: Folder) -> dict[str, Any]:
        """List the secrets and folders in a folder with the metadata of each secret."""
        keys = await self._list(req, p)
        return {"key_info": await self._details(req, p, keys), "keys": keys}

    @scan("detailed-metadata[/{path:path}]")
    async def scan_metadata(self, req: Request, p: Folder) -> dict[str, Any]:
        """List every secret below a folder with its metadata; after and limit have no effect."""
        keys = await self._scan(req, p)
        return {"key_info": await self._details(req, p, keys), "keys": keys} if keys else {}

    async def _list(self, req: Request, p: Folder) -> list[str]:
        keys = await self.children(req.storage, paths.folder(p.path), p.after, max(p.limit, 0))
        if not keys:
            raise NotFound
        return keys

    async def _scan(self, req: Request, p: Folder) -> list[str]:
        return await paths.scan(lambda prefix: self.children(req.storage, prefix), paths.folder(p.path))

    async def _details(self, req: Request, p: Folder, keys: list[str]) -> dict[str, Any]:
        found = {key: await self.find(req.storage, paths.folder(p.path) + key) for key in keys}
        return {key: secret.describe() if secret else {} for key, secret in found.items()}

    async def _apply(self, storage: View, p: SecretSettings, secret: Secret | None) -> Response | None:
        changes = {name: getattr(p, name) for name in p.given & _SETTINGS}
        if not changes:
            return None
        if "custom_metadata" in changes:
            changes["custom_metadata"] = _custom_metadata(p.custom_metadata)
        config = await self.config(storage)
        _check_and_set(p, secret, config)
        now = rfc3339(self.clock.time())
        secret = secret or Secret(created_time=now)
        changes["current_metadata_version"] = secret.current_metadata_version + 1
        self.save(storage, p.path, secret.changed(updated_time=now, **changes))
        overruled = [
            f'"{name}" set to false, but is mandated by backend config. This value will be ignored.'
            for name in ("cas_required", "metadata_cas_required")
            if name in changes and getattr(config, name) and not changes[name]
        ]
        return Response(warnings=overruled) if overruled else None


def _check_and_set(p: SecretSettings, secret: Secret | None, config: Config) -> None:
    if "metadata_cas" not in p.given:
        if config.metadata_cas_required or (secret and secret.metadata_cas_required):
            raise InvalidRequest("metadata check-and-set parameter required for this call")
    elif secret is None:
        if p.metadata_cas != 0:
            raise InvalidRequest("metadata_cas must be 0 when creating new metadata")
    elif p.metadata_cas != secret.current_metadata_version:
        raise InvalidRequest("metadata check-and-set parameter does not match the current version")


def _custom_metadata(raw: Mapping[str, Any] | None) -> dict[str, str] | None:
    if not raw:
        return None
    failed = "custom_metadata validation failed: "
    if len(raw) > _MAX_KEYS:
        raise MultipleErrors(f"{failed}payload must contain at most {_MAX_KEYS} keys, provided {len(raw)}")
    try:
        values = {key: STRING.zero() if value is None else STRING.parse(value) for key, value in raw.items()}
    except ValueError as error:
        raise InvalidRequest(f"{failed}{error}") from None
    errors: list[str] = []
    for key, value in values.items():
        name = json.dumps(key[: _MAX_KEY_BYTES + 1], ensure_ascii=False)
        if not 0 < (size := len(key.encode())) <= _MAX_KEY_BYTES:
            errors.append(f"{failed}length of key {name} is {size} but must be 0 < len(key) <= {_MAX_KEY_BYTES}")
        if not 0 < (size := len(value.encode())) <= _MAX_VALUE_BYTES:
            errors.append(
                f"{failed}length of value for key {name} is {size} but must be 0 < len(value) <= {_MAX_VALUE_BYTES}"
            )
        if not key.isprintable():
            errors.append(f"{failed}key {name} contains unprintable characters")
        if not value.isprintable():
            errors.append(f"{failed}value for key {name} contains unprintable characters")
    if errors:
        raise MultipleErrors(*errors)
    return values
