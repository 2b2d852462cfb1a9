"""Where KV version 2 keeps what; the base of the classes that answer its routes.

    config                      settings of the mount
    metadata/<path>             a Secret: settings of one, and what its versions are
    versions/<path>/<number>    the data of one version as JSON text, which goes into answers as it is
    upgraded                    the time at which the mount was found to hold version 1 secrets
    v1/<path>                   a secret of version 1 that nobody has written since

The paths of secrets are readable in the keys; what is in them is not.

**Upgrading from version 1** needs no migration. A secret under ``v1/`` is shown as one with a single
version, created at the time in ``upgraded``; the first request that changes it (data, versions or
metadata) moves it in its own transaction. So a path is under ``v1/`` or under ``metadata/``, never both,
whatever crashes when, and an upgrade of any size takes no time and no memory. Mounts that hold
nothing under ``v1/`` pay nothing for this.
"""

from __future__ import annotations

from typing import Annotated

from ...framework.clock import rfc3339
from ...framework.engine import Context, Engine
from ...framework.memo import Memo
from ...framework.messages import Request
from ...framework.params import Field, Params
from ...framework.storage import ReadView, View
from . import v1
from .records import Config, Secret, Version

CONFIG = "config"
UPGRADED = "upgraded"
_REMEMBERED = 2000  # secrets whose metadata stays decoded, some kilobytes each


class SecretPath(Params):
    path: Annotated[str, Field("Where the secret is kept.")]


def metadata_key(path: str) -> str:
    return "metadata/" + path


def version_key(path: str, number: int) -> str:
    return f"versions/{path}/{number}"


class Secrets(Engine):
    """Finds, lists and saves the secrets of one mount."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._secrets = Memo(lambda _, raw: Secret.decode(raw), _REMEMBERED)
        self._upgraded = ""  # while version 1 secrets may remain

    async def setup(self, storage: View) -> None:
        if not await storage.list(v1.PREFIX, limit=1):
            return
        time = await storage.get(UPGRADED)
        if time is None:
            time = rfc3339(self.clock.time()).encode()
            storage.put(UPGRADED, time)
        self._upgraded = time.decode()

    async def config(self, storage: ReadView) -> Config:
        raw = await storage.get(CONFIG)
        return Config() if raw is None else Config.decode(raw)

    async def find(self, storage: ReadView, path: str) -> Secret | None:
        raw = await storage.get(metadata_key(path))
        if raw is None and self._upgraded:
            if await storage.get(v1.PREFIX + path) is not None:
                time = self._upgraded
                only: dict[str, Version] = {"1": (time, "", False)}
                return Secret(created_time=time, updated_time=time, current_version=1, oldest_version=1, versions=only)
            raw = await storage.get(metadata_key(path))  # moved between the two reads?
        return None if raw is None else self._secrets(path, raw)

    async def take(self, storage: View, path: str) -> Secret | None:
        """``find`` for a request that may change the secret: it is a version 2 secret afterwards."""
        secret = await self.find(storage, path)
        if self._upgraded and secret and (entry := await storage.get(v1.PREFIX + path)) is not None:
            storage.put(version_key(path, 1), v1.data_of(entry))
            storage.delete(v1.PREFIX + path)
            self.save(storage, path, secret)
        return secret

    def save(self, storage: View, path: str, secret: Secret) -> None:
        raw = secret.encode()
        storage.put(metadata_key(path), raw)
        self._secrets.remember(path, raw, secret)  # the next write need not decode it

    async def data(self, storage: ReadView, path: str, number: int) -> bytes | None:
        """JSON text of the data of a version; None when there is none."""
        key = version_key(path, number)
        raw = await storage.get(key)
        if raw is None and self._upgraded:
            if (entry := await storage.get(v1.PREFIX + path)) is not None:
                return v1.data_of(entry)
            raw = await storage.get(key)  # moved between the two reads?
        return raw

    async def children(self, storage: ReadView, prefix: str, after: str = "", limit: int = 0) -> list[str]:
        """Names in the folder ``prefix``, in byte order."""
        keys = await storage.list("metadata/" + prefix, after, limit)
        if self._upgraded:
            keys = sorted({*keys, *await storage.list(v1.PREFIX + prefix, after, limit)})
            keys = keys[:limit] if limit else keys
        return keys

    async def existing(self, req: Request, p: SecretPath) -> Secret | None:
        return await self.find(req.storage, p.path)
