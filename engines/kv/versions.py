"""``delete/``, ``undelete/`` and ``destroy/``: what becomes of chosen versions of a secret."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Annotated

from ...framework.clock import rfc3339
from ...framework.errors import InvalidRequest
from ...framework.messages import Request
from ...framework.params import Field
from ...framework.routes import update
from ...framework.wire import COMMA_INTS
from .paths import check_writable
from .records import Secret, Version, deleted_at, is_readable
from .secrets import SecretPath, Secrets, version_key


class ChosenVersions(SecretPath):
    versions: Annotated[list[int], Field(
        "Numbers of the versions; those that do not exist are passed over.", COMMA_INTS,
    )] = dataclasses.field(default_factory=list)  # fmt: skip


class VersionRoutes(Secrets):
    @update("delete/{path:path}")
    async def delete_versions(self, req: Request, p: ChosenVersions) -> None:
        """Delete versions of a secret. Their data stays until it is destroyed or pruned, and can be undeleted."""
        now = self.clock.time()
        deleted = rfc3339(now)
        await self._change(
            req, p, lambda _, version: deleted_at(version, deleted) if is_readable(version, now) else version
        )

    @update("undelete/{path:path}")
    async def undelete_versions(self, req: Request, p: ChosenVersions) -> None:
        """Bring deleted versions of a secret back.

        Where versions delete themselves after some time, that time starts again.
        """
        config = await self.config(req.storage)
        now = self.clock.time()

        def restore(secret: Secret, version: Version) -> Version:
            lifetime = secret.lifetime(config)
            return deleted_at(version, rfc3339(now + lifetime) if lifetime else "")

        await self._change(req, p, restore)

    @update("destroy/{path:path}")
    async def destroy_versions(self, req: Request, p: ChosenVersions) -> None:
        """Remove the data of versions of a secret for good."""
        if not p.versions:
            raise InvalidRequest("no version number provided")
        await self._change(req, p, lambda _, version: (version[0], version[1], True))
        for number in p.versions:
            req.storage.delete(version_key(p.path, number))

    async def _change(self, req: Request, p: ChosenVersions, change: Callable[[Secret, Version], Version]) -> None:
        """Apply ``change`` to the chosen versions that are not destroyed."""
        check_writable(p.path)
        if not p.versions:
            raise InvalidRequest("No version number provided")
        secret = await self.take(req.storage, p.path)
        if secret is None:
            return
        chosen = set(map(str, p.versions))
        versions = {
            number: change(secret, version) if number in chosen and not version[2] else version
            for number, version in secret.versions.items()
        }
        if versions != secret.versions:
            self.save(req.storage, p.path, secret.changed(versions=versions))
