"""What the parts of ``identity/oidc/`` share: the records, the addresses of issuers, and the entity that asks."""

from __future__ import annotations

import re
from typing import Annotated, Any

from ....framework import Context, Engine, Field, Params, View
from ....framework.errors import InvalidRequest
from ....framework.storage import ReadView
from ...policy.templating import Identity
from ...request import CoreRequest
from .records import Folders

_ISSUER = re.compile(r"https?://[A-Za-z0-9.\-_\[\]:]*[A-Za-z0-9\]]")
_USES = "oidc/use/"  # <key>/<roles or clients>/<name>: who signs with a named key

ISSUER_WARNING = (
    'If "issuer" is set explicitly, all tokens must be validated against that address, including those issued by '
    'secondary clusters. Setting issuer to "" will restore the default behavior of using the cluster\'s api_addr '
    "as the issuer."
)


class Name(Params):
    name: Annotated[str, Field("Its name.")]


class OidcEngine(Engine):
    """Base of the files of this folder; each adds the routes of one resource to the identity engine."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.oidc = Folders()

    async def identity(self, req: CoreRequest, entity_id: str) -> Identity | None:
        """The entity of this id with its aliases and groups; None when there is none, or it is disabled."""
        profile = await req.node.identity.profile(req.node.store, entity_id)
        return None if profile is None or profile.entity.disabled else profile

    # Which roles and clients sign with a key

    def use(self, view: View, key: str, kind: str, name: str) -> None:
        view.put(f"{_USES}{key}/{kind}/{name}", b"")

    def unuse(self, view: View, key: str, kind: str, name: str) -> None:
        view.delete(f"{_USES}{key}/{kind}/{name}")

    async def users(self, view: ReadView, key: str, kind: str, limit: int = 0) -> list[str]:
        """Names of the ``roles`` or ``clients`` that sign with a key."""
        return await view.list(f"{_USES}{key}/{kind}/", limit=limit)

    async def used_keys(self, view: ReadView, kind: str) -> list[str]:
        """The named keys that some role, or some client, signs with."""
        return [name for name in await self.oidc.keys.names(view) if await self.users(view, name, kind, 1)]


def check_issuer(issuer: str) -> None:
    if issuer and not _ISSUER.fullmatch(issuer):
        raise InvalidRequest(
            "invalid issuer, which must include only a scheme, host, and optional port (e.g. https://example.com:8200)"
        )


def address(req: CoreRequest, base: str, path: str, root: str = "v1") -> str:
    """The URL of a path of this mount; ``base`` is a configured issuer, or empty for the server's own address."""
    namespace = req.node.namespace.path.strip("/")
    middle = f"{root}/{namespace}/" if namespace else f"{root}/"
    return f"{(base or req.node.core.config.api_addr).rstrip('/')}/{middle}{req.mount_point}oidc{path}"


def changes(p: Name) -> dict[str, Any]:
    """What a request sets, by name; lists as they are kept: in order, each value once."""
    given = {name: getattr(p, name) for name in p.given - {"name"}}
    return {name: tuple(sorted(set(value))) if isinstance(value, list) else value for name, value in given.items()}
