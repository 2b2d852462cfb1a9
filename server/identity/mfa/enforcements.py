"""``identity/mfa/login-enforcement``: which logins need a second factor."""

from __future__ import annotations

from dataclasses import field, replace
from typing import Annotated, Any

from ....framework import Field, NoParams, Params, Response, delete, list_, read, update
from ....framework.errors import InvalidRequest, NotFound
from ...layout import Namespace
from ...request import CoreRequest
from ..base import IdentityRoutes
from ..entities import listing
from ..store import new_id
from .records import TARGETS, Enforcement


class EnforcementName(Params):
    name: Annotated[str, Field("Name of the enforcement.")]


class EnforcementParams(EnforcementName):
    mfa_method_ids: Annotated[list[str], Field("Ids of the methods, any one of which will do.")] = field(
        default_factory=list
    )
    auth_method_accessors: Annotated[list[str], Field("Accessors of the auth mounts whose logins need it.")] = field(
        default_factory=list
    )
    auth_method_types: Annotated[list[str], Field("Types of the auth methods whose logins need it.")] = field(
        default_factory=list
    )
    identity_group_ids: Annotated[list[str], Field("Ids of the groups whose members need it.")] = field(
        default_factory=list
    )
    identity_entity_ids: Annotated[list[str], Field("Ids of the entities that need it.")] = field(default_factory=list)


class EnforcementRoutes(IdentityRoutes):
    @read("mfa/login-enforcement/{name}")
    async def read_login_enforcement(self, req: CoreRequest, p: EnforcementName) -> dict[str, Any]:
        """Read a login enforcement."""
        enforcement = await req.node.identity.mfa.enforcement(req.root, p.name)
        if enforcement is None:
            raise NotFound
        return _shown(req.node.namespace, enforcement)

    @update("mfa/login-enforcement/{name}")
    async def write_login_enforcement(self, req: CoreRequest, p: EnforcementParams) -> None:
        """Create or change a login enforcement; lists that are not given stay as they are.

        It is about the logins of this namespace and of those below it.
        """
        if not p.mfa_method_ids:
            raise InvalidRequest("missing method ids")
        node, mfa = req.node, req.node.namespaces.mfa
        for id_ in p.mfa_method_ids:
            if await mfa.method(req.root, node.namespace, id_) is None:
                raise InvalidRequest("one of the provided method ids doesn't exist")
        old = await node.identity.mfa.enforcement(req.root, p.name) or Enforcement(new_id(), p.name)
        given: dict[str, Any] = {name: tuple(dict.fromkeys(getattr(p, name))) for name in p.given - {"name"}}
        new = replace(old, **given)
        await _check_targets(req, given)
        if not any(getattr(new, name) for name in TARGETS):
            raise InvalidRequest(f"One of {', '.join(TARGETS)} must be specified")
        node.identity.mfa.put_enforcement(req.root, new)
        req.on_commit(lambda: mfa.enforce(node.namespace, new))

    @delete("mfa/login-enforcement/{name}")
    async def delete_login_enforcement(self, req: CoreRequest, p: EnforcementName) -> None:
        """Delete a login enforcement: what it was about needs a second factor no more."""
        node = req.node
        node.identity.mfa.delete_enforcement(req.root, p.name)
        req.on_commit(lambda: node.namespaces.mfa.end(node.namespace, p.name))

    @list_("mfa/login-enforcement")
    async def list_login_enforcements(self, req: CoreRequest, p: NoParams) -> Response:
        """List login enforcements."""
        found = await req.node.identity.mfa.enforcements(req.root)
        return listing({enforcement.name: _shown(req.node.namespace, enforcement) for enforcement in found})


async def _check_targets(req: CoreRequest, given: dict[str, tuple[str, ...]]) -> None:
    """Raise InvalidRequest unless there is everything that is named."""
    identity = req.node.identity
    mounts = [mount.entry for mount in req.node.router if mount.entry.table == "auth"]
    accessors, types = {each.accessor for each in mounts}, {each.type.removeprefix("ns_") for each in mounts}
    for name, known, what in (
        ("auth_method_accessors", accessors, "auth method accessors provided is invalid"),
        ("auth_method_types", types, "auth method types provided is invalid"),
    ):
        if not known.issuperset(given.get(name, ())):
            raise InvalidRequest(f"one of the {what}")
    for id_ in given.get("identity_group_ids", ()):
        if await identity.group(req.root, id_) is None:
            raise InvalidRequest("one of the provided group ids doesn't exist")
    for id_ in given.get("identity_entity_ids", ()):
        if await identity.entity(req.root, id_) is None:
            raise InvalidRequest("one of the provided entity ids doesn't exist")


def _shown(namespace: Namespace, enforcement: Enforcement) -> dict[str, Any]:
    return {name: getattr(enforcement, name) for name in enforcement.__dataclass_fields__} | {
        "namespace_id": namespace.id, "namespace_path": namespace.path,
    }  # fmt: skip
