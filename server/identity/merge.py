"""``entity/merge``: several entities turn out to be one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field
from typing import Annotated, Any

from ...framework import Field, Params, Response, update
from ...framework.errors import InvalidRequest, MultipleErrors
from ..request import CoreRequest
from .base import IdentityRoutes, Mounts
from .records import Alias, Entity


class MergeParams(Params):
    from_entity_ids: Annotated[list[str], Field("Entities that go into the other, and are gone then.")] = field(
        default_factory=list
    )
    to_entity_id: Annotated[str, Field("The entity that stays.")] = ""
    force: Annotated[bool, Field("Accepted for older clients; means nothing.", deprecated=True)] = False
    conflicting_alias_ids_to_keep: Annotated[
        list[str], Field("Which alias to keep where both entities have one on the same mount.")
    ] = field(default_factory=list)


class MergeRoutes(IdentityRoutes):
    @update("entity/merge")
    async def merge_entities(self, req: CoreRequest, p: MergeParams) -> Response | None:
        """Merge entities into one, which gets their aliases and groups and keeps its own policies and metadata.

        Tokens of the others count as tokens of that one from then on. Where two have an alias on the same mount,
        one of them must be chosen, and only two entities can be merged in one request.
        """
        identity, view = req.node.identity, req.root
        if not p.to_entity_id:
            raise InvalidRequest("missing entity id to merge to")
        if not p.from_entity_ids:
            raise InvalidRequest("missing entity ids to merge from")
        if p.to_entity_id in p.from_entity_ids:
            raise InvalidRequest("to_entity_id should not be present in from_entity_ids")
        into = await identity.entity(view, p.to_entity_id)
        if into is None:
            raise InvalidRequest("entity id to merge to is invalid")
        others = []
        for id_ in dict.fromkeys(p.from_entity_ids):
            other = await identity.entity(view, id_)
            if other is None:
                raise InvalidRequest("entity id to merge from is invalid")
            others.append(other)
        clashes = _clashes(into, others)
        if clashes and (len(others) > 1 or not p.conflicting_alias_ids_to_keep):
            return _refusal(req, into, clashes)
        kept = frozenset(p.conflicting_alias_ids_to_keep)
        dropped = {_loser(mine, theirs, kept).id for mine, _, theirs in clashes}
        for alias in [alias for alias in into.aliases if alias.id in dropped]:
            into = identity.detach(view, into, alias)
        for other in others:
            into = await identity.merge(view, into, other, [a for a in other.aliases if a.id not in dropped])
        return None


Clash = tuple[Alias, Entity, Alias]
"""An alias, and an entity with its alias on the same mount."""


def _clashes(into: Entity, others: Iterable[Entity]) -> list[Clash]:
    taken = {alias.mount_accessor: alias for alias in into.aliases}
    clashes = []
    for other in others:
        for alias in other.aliases:
            if alias.mount_accessor in taken:
                clashes.append((taken[alias.mount_accessor], other, alias))
            taken.setdefault(alias.mount_accessor, alias)
    return clashes


def _loser(mine: Alias, theirs: Alias, kept: frozenset[str]) -> Alias:
    wanted = [alias for alias in (mine, theirs) if alias.id in kept]
    if not wanted:
        raise InvalidRequest(
            "conflicting mount accessors in following alias IDs and neither were present in "
            f"conflicting_alias_ids_to_keep: {theirs.id}, {mine.id}"
        )
    if len(wanted) == 2:
        raise InvalidRequest(f"only one of the conflicting alias IDs can be kept: {theirs.id}, {mine.id}")
    return theirs if wanted[0] is mine else mine


def _refusal(req: CoreRequest, into: Entity, clashes: list[Clash]) -> Response:
    """The answer that tells which aliases are in each other's way."""
    mounts = Mounts(req)
    lines = [
        "toEntity and at least one fromEntity have aliases with the same mount accessor, repeat the merge request "
        "specifying exactly one fromEntity, clashes: "
    ]
    told: dict[str, dict[str, Any]] = {}
    for mine, other, theirs in clashes:
        lines.append(
            f"mountAccessor: {mine.mount_accessor}, toEntity ID: {into.id}, fromEntity ID: {other.id}, "
            f"conflicting toEntity alias ID: {mine.id}, conflicting fromEntity alias ID: {theirs.id}"
        )
        for alias, entity in ((mine, into), (theirs, other)):
            place = mounts.describe(alias)
            told[alias.id] = {"alias": alias.name, "entity": entity.name, "entity_id": entity.id,
                              "mount": place["mount_type"], "mount_path": place["mount_path"]}  # fmt: skip
    error = MultipleErrors(*lines)
    return Response(status=400, data={"errors": error.messages, "data": list(told.values())}, bare=True)
