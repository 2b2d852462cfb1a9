"""``config``: settings of the mount, applied to every secret in it."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from ...framework.messages import Request
from ...framework.params import Field, NoParams, Params
from ...framework.routes import read, update
from ...framework.wire import INT, SIGNED_SECONDS, Wire
from .secrets import CONFIG, Secrets


def _count(raw: Any) -> int:
    number: int = INT.parse(raw)
    if not 0 <= number < 2**32:
        raise ValueError("must be between 0 and 4294967295")
    return number


COUNT = Wire("int", INT.schema, _count, int)


class Settings(Params):
    cas_required: Annotated[bool, Field("Refuse writes of data without the cas option.")] = False
    delete_version_after: Annotated[int, Field(
        "Delete a version so long after it was written; 0 never. Negative: never, whatever a secret's "
        "own setting says.", SIGNED_SECONDS,
    )] = 0  # fmt: skip
    max_versions: Annotated[int, Field("How many versions of a secret to keep; 0 keeps 10.", COUNT)] = 0
    metadata_cas_required: Annotated[bool, Field("Refuse writes of metadata without metadata_cas.")] = False


class ConfigRoutes(Secrets):
    @read("config")
    async def read_config(self, req: Request, p: NoParams) -> dict[str, Any]:
        """Read the settings of the mount."""
        return (await self.config(req.storage)).describe()

    @update("config")
    async def write_config(self, req: Request, p: Settings) -> None:
        """Change settings of the mount; those not given stay as they are."""
        changes = {name: getattr(p, name) for name in p.given}
        if "delete_version_after" in changes:
            changes["delete_version_after"] = max(p.delete_version_after, -1)
        if changes:
            config = replace(await self.config(req.storage), **changes)
            req.storage.put(CONFIG, config.encode())
