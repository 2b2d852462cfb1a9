"""The identities of one namespace in its store, and what follows from them.

    identity/entity/<id>                   an Entity, its aliases in it
    identity/entity-name/<hash>            id of the entity of that name
    identity/merged/<id>                   id of the entity that this one went into
    identity/alias/<id>                    id of the entity that has the alias
    identity/alias-name/<accessor>/<hash>  id of the entity with the alias of that name on that mount
    identity/entity-groups/<id>            ids of the groups that an entity is in itself
    identity/group/<id>                    a Group, its alias in it
    identity/group-name/<hash>             id of the group of that name
    identity/group-member/<id>/<entity>    marks a member of a group
    identity/group-alias/<id>              id of the group that has the alias
    identity/group-alias-name/<accessor>/<hash>  id of the group with the alias of that name on that mount
    identity/mfa/...                       login MFA: mfa/store.py

Names are the same whatever their case. Their keys are hashes, so that a name may have any length and characters.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

import orjson

from ...framework.clock import Clock
from ...framework.errors import PermissionDenied
from ...framework.memo import Memo
from ...framework.messages import NOTHING
from ...framework.storage import ReadView, View
from ...storage.store import Store, Transaction, Watch, unchanged
from ..mounts import MountEntry
from .mfa.store import MfaStore
from .profile import Profile
from .records import Alias, Entity, Group

_REMEMBERED = 2000  # profiles, each with what a token's ACL takes
_BREATH = 200  # entries read between letting other requests run
_STEP = 100  # aliases removed in one transaction
T = TypeVar("T", Entity, Group)


def new_id() -> str:
    return str(uuid.uuid4())


def name_key(name: str) -> str:
    """A name in keys: BLAKE2b (RFC 7693), 160 bits, of its lower case."""
    return hashlib.blake2b(name.lower().encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()


class IdentityStore:
    """Finds, saves and deletes entities and groups; ``prefix`` is that of the namespace's keys.

    Names and (mount, alias name) pairs are unique: callers look before they save something under one.
    ``on_creation`` is told, at the commit, of which mount's login made an entity.
    """

    def __init__(self, prefix: str, clock: Clock) -> None:
        self.mfa = MfaStore(prefix)
        self._prefix = prefix = f"{prefix}identity/"
        self._clock = clock
        self.on_creation: Callable[[MountEntry], None] = lambda mount: None
        self._entity, self._entity_name = f"{prefix}entity/", f"{prefix}entity-name/"
        self._alias, self._alias_name = f"{prefix}alias/", f"{prefix}alias-name/"
        self._group, self._group_name = f"{prefix}group/", f"{prefix}group-name/"
        self._group_alias, self._group_alias_name = f"{prefix}group-alias/", f"{prefix}group-alias-name/"
        self._merged = f"{prefix}merged/"
        self._groups_of, self._members = f"{prefix}entity-groups/", f"{prefix}group-member/"
        self._entities = Memo(Entity.load, _REMEMBERED)
        self._groups = Memo(Group.load, _REMEMBERED)
        self._owners: dict[tuple[str, str], str] = {}  # ids of entities, by aliases that have logged in
        self._profiles: dict[str, tuple[Profile, list[tuple[str, bytes | None]], Watch]] = {}

    # What requests and logins ask

    async def profile(self, store: Store, entity_id: str) -> Profile | None:
        """An entity and what follows from it, the same object for as long as nothing of it changes.

        None when there is no such entity any more. One that was merged is the one it went into.
        """
        known = self._profiles.get(entity_id)
        if known is not None:
            profile, stored, watch = known
            if not watch:
                watch = store.watch(stored)
                self._profiles[entity_id] = profile, stored, watch
            if unchanged(watch):
                return profile
        return await self._learn(store, entity_id)

    async def _learn(self, view: ReadView, entity_id: str) -> Profile | None:
        """An entity's profile, remembered. What is read in a transaction may come to nothing: it is used only where
        the entries that it was made of are found again."""
        known = self._profiles.get(entity_id)
        profile, stored = await self._resolve(view, entity_id)
        if profile is None:
            self._profiles.pop(entity_id, None)
            return None
        if known is not None and stored == known[1]:
            profile = known[0]  # the same, and no longer in the cache
        elif known is None and len(self._profiles) >= _REMEMBERED:
            del self._profiles[next(iter(self._profiles))]
        self._profiles[entity_id] = profile, stored, []
        return profile

    async def _resolve(self, view: ReadView, entity_id: str) -> tuple[Profile | None, list[tuple[str, bytes | None]]]:
        """An entity's profile, and the entries it was made of."""
        stored: list[tuple[str, bytes | None]] = []

        async def get(key: str) -> bytes | None:
            raw = await view.get(key)
            stored.append((key, raw))
            return raw

        raw = await get(self._entity + entity_id)
        if raw is None and (into := await get(self._merged + entity_id)) is not None:
            entity_id = into.decode()
            raw = await get(self._entity + entity_id)
        if raw is None:
            return None, stored
        entity = self._entities(entity_id, raw)
        pointers = await get(self._groups_of + entity_id)
        direct: list[str] = [] if pointers is None else orjson.loads(pointers)
        groups: dict[str, Group] = {}
        waiting = list(direct)
        for id_ in waiting:  # grows while it is walked
            if id_ not in groups and (raw := await get(self._group + id_)) is not None:
                groups[id_] = group = self._groups(id_, raw)
                waiting += group.parents
        return Profile.of(entity, groups, direct), stored

    async def group_ids(self, view: ReadView, entity_id: str) -> tuple[list[str], list[str]]:
        """Ids of the groups that an entity is in itself, and of those it is in through them."""
        profile, _ = await self._resolve(view, entity_id)
        if profile is None:
            return [], []
        return [group.id for group in profile.direct], [group.id for group in profile.inherited]

    async def policies(self, store: Store, entity_id: str) -> tuple[str, ...]:
        """Policies of an entity and of all its groups, sorted; none when there is no such entity."""
        profile = await self.profile(store, entity_id) if entity_id else None
        return () if profile is None else profile.policies

    async def policies_in(self, view: ReadView, entity_id: str) -> tuple[str, ...]:
        """Like ``policies``, as a transaction sees it."""
        profile = await self.profile_in(view, entity_id) if entity_id else None
        return () if profile is None else profile.policies

    async def profile_in(self, view: ReadView, entity_id: str) -> Profile | None:
        """Like ``profile``, as a transaction sees it."""
        known = self._profiles.get(entity_id)
        if known is not None:
            for key, raw in known[1]:
                if await view.get(key) is not raw:
                    break
            else:
                return known[0]
        return await self._learn(view, entity_id)

    async def login(
        self,
        txn: View,
        mount: MountEntry,
        alias_name: str,
        alias_meta: Mapping[str, str] = NOTHING,
        group_aliases: Iterable[str] | None = None,
    ) -> Profile:
        """The entity that ``mount`` knows as ``alias_name``: a new one where there is none yet.

        Keeps the alias's metadata and, unless ``group_aliases`` is None, the external groups of the mount as they
        are told. Writes nothing when nothing changed. Raises PermissionDenied when the entity is disabled.
        """
        profile = await self._owner(txn, mount.accessor, alias_name)
        now = self._clock.time()
        if profile is None:
            alias = Alias(new_id(), alias_name, mount.accessor, now, now, dict(alias_meta))
            entity = Entity(new_id(), random_name("entity"), now, now)
            self.save(txn, entity)
            self.attach(txn, entity, alias)
            if isinstance(txn, Transaction):  # as every view is that can write
                txn.on_commit(lambda: self.on_creation(mount))
        else:
            entity = profile.entity
            if entity.disabled:
                raise PermissionDenied
            known = profile.aliases.get(mount.accessor)
            if known is not None and known.metadata != alias_meta:
                self.save(txn, entity.holding(replace(known, metadata=dict(alias_meta), last_update_time=now)))
            elif group_aliases is None:
                return profile
        if group_aliases is not None:
            await self.refresh_groups(txn, mount, entity.id, group_aliases)
        profile = await self.profile_in(txn, entity.id)
        assert profile is not None
        return profile

    async def _owner(self, txn: View, accessor: str, name: str) -> Profile | None:
        hint = self._owners.get((accessor, name))
        if hint is not None:
            profile = await self.profile_in(txn, hint)
            alias = None if profile is None else profile.aliases.get(accessor)
            if alias is not None and alias.name == name:
                return profile
        id_ = await txn.get(f"{self._alias_name}{accessor}/{name_key(name)}")
        profile = None if id_ is None else await self.profile_in(txn, id_.decode())
        if profile is not None:
            if len(self._owners) >= _REMEMBERED:
                self._owners.clear()
            self._owners[accessor, name] = profile.id
        return profile

    async def refresh_groups(self, txn: View, mount: MountEntry, entity_id: str, group_aliases: Iterable[str]) -> None:
        """Put an entity into the external groups that ``mount`` knows by these names, and out of its others."""
        names = list(group_aliases)
        now = await self.groups_of(txn, entity_id)
        if not names and not now:
            return
        wanted = {group.id: group for name in names if (group := await self.group_by_alias(txn, mount.accessor, name))}
        for id_ in now:
            group = await self.group(txn, id_)
            if id_ not in wanted and group and group.alias and group.alias.mount_accessor == mount.accessor:
                await self.leave(txn, id_, entity_id)
        for id_ in wanted:
            if id_ not in now:
                await self.join(txn, id_, entity_id)

    # Entities

    async def entity(self, view: ReadView, id_: str) -> Entity | None:
        raw = await view.get(self._entity + id_)
        return None if raw is None else self._entities(id_, raw)

    async def by_name(self, view: ReadView, name: str) -> Entity | None:
        return await self._follow(view, self._entity_name + name_key(name))

    async def by_alias(self, view: ReadView, accessor: str, name: str) -> Entity | None:
        return await self._follow(view, f"{self._alias_name}{accessor}/{name_key(name)}")

    async def by_alias_id(self, view: ReadView, id_: str) -> Entity | None:
        return await self._follow(view, self._alias + id_)

    async def _follow(self, view: ReadView, pointer: str) -> Entity | None:
        raw = await view.get(pointer)
        return None if raw is None else await self.entity(view, raw.decode())

    async def entities(self, view: ReadView) -> AsyncIterator[Entity]:
        """Every entity, in the order of their ids."""
        for number, id_ in enumerate(await view.list(self._entity)):
            if number % _BREATH == _BREATH - 1:
                await asyncio.sleep(0)
            entity = await self.entity(view, id_)
            if entity is not None:
                yield entity

    def save(self, view: View, entity: Entity, old: Entity | None = None) -> None:
        """Store an entity; ``old`` is what it was before when its name may have changed."""
        view.put(self._entity + entity.id, entity.dump())
        if old is None or old.name.lower() != entity.name.lower():
            if old is not None:
                view.delete(self._entity_name + name_key(old.name))
            view.put(self._entity_name + name_key(entity.name), entity.id.encode())

    def attach(self, view: View, entity: Entity, alias: Alias, old: Alias | None = None) -> Entity:
        """Give an entity an alias, in place of ``old`` where that is given; the entity as it is then."""
        if old is not None:
            view.delete(self._alias_key(old))
        entity = entity.holding(alias)
        self.save(view, entity, entity)
        view.put(self._alias + alias.id, entity.id.encode())
        view.put(self._alias_key(alias), entity.id.encode())
        return entity

    def detach(self, view: View, entity: Entity, alias: Alias) -> Entity:
        """Take an alias from an entity; the entity as it is then."""
        entity = entity.without(alias.id)
        self.save(view, entity, entity)
        self._forget_alias(view, alias)
        return entity

    def _forget_alias(self, view: View, alias: Alias) -> None:
        view.delete(self._alias + alias.id)
        view.delete(self._alias_key(alias))

    def _alias_key(self, alias: Alias) -> str:
        return f"{self._alias_name}{alias.mount_accessor}/{name_key(alias.name)}"

    async def delete(self, view: View, entity: Entity) -> None:
        """Delete an entity with its aliases, and take it out of its groups. Its tokens are worth nothing then."""
        await self.mfa.move_secrets(view, entity.id)
        for id_ in await self.groups_of(view, entity.id):
            view.delete(f"{self._members}{id_}/{entity.id}")
        view.delete(self._groups_of + entity.id)
        for alias in entity.aliases:
            self._forget_alias(view, alias)
        for id_ in entity.merged:
            view.delete(self._merged + id_)
        view.delete(self._entity + entity.id)
        view.delete(self._entity_name + name_key(entity.name))

    async def merge(self, view: View, into: Entity, other: Entity, kept: Iterable[Alias]) -> Entity:
        """Let ``other`` go into ``into`` with the aliases ``kept`` of it; ``into`` as it is then.

        Its groups become those of ``into``, and tokens of it count as tokens of ``into``. So do its keys for MFA
        methods that ``into`` has none for.
        """
        groups = await self.groups_of(view, other.id)
        await self.mfa.move_secrets(view, other.id, into.id)
        await self.delete(view, other)
        into = replace(into, merged=(*into.merged, other.id, *other.merged))
        self.save(view, into, into)
        for alias in kept:
            into = self.attach(view, into, replace(alias, merged_from=(*alias.merged_from, other.id)))
        for id_ in (other.id, *other.merged):
            view.put(self._merged + id_, into.id.encode())
        for id_ in groups:
            await self.join(view, id_, into.id)
        return into

    async def forget_mount(self, store: Store, accessor: str) -> None:
        """Remove the aliases, of entities and groups, of a mount that is gone; some in each transaction."""
        for folder in (f"{self._alias_name}{accessor}/", f"{self._group_alias_name}{accessor}/"):
            while True:

                async def step(txn: Transaction, folder: str = folder) -> int:
                    keys = [folder + name for name in await txn.list(folder, limit=_STEP)]
                    for key in keys:
                        await self._forget_pointer(txn, key, accessor)
                    return len(keys)

                if not await store.run(step):
                    break

    async def _forget_pointer(self, txn: View, key: str, accessor: str) -> None:
        raw = await txn.get(key)
        owner = "" if raw is None else raw.decode()
        txn.delete(key)
        if key.startswith(self._alias_name):
            entity = await self.entity(txn, owner)
            alias = None if entity is None else entity.alias_on(accessor)
            if entity is not None and alias is not None:
                self.detach(txn, entity, alias)
        else:
            group = await self.group(txn, owner)
            if group is not None and group.alias is not None and group.alias.mount_accessor == accessor:
                self.save_group(txn, replace(group, alias=None), group)

    # Groups

    async def group(self, view: ReadView, id_: str) -> Group | None:
        raw = await view.get(self._group + id_)
        return None if raw is None else self._groups(id_, raw)

    async def group_by_name(self, view: ReadView, name: str) -> Group | None:
        return await self._follow_group(view, self._group_name + name_key(name))

    async def group_by_alias(self, view: ReadView, accessor: str, name: str) -> Group | None:
        return await self._follow_group(view, f"{self._group_alias_name}{accessor}/{name_key(name)}")

    async def group_by_alias_id(self, view: ReadView, id_: str) -> Group | None:
        return await self._follow_group(view, self._group_alias + id_)

    async def _follow_group(self, view: ReadView, pointer: str) -> Group | None:
        raw = await view.get(pointer)
        return None if raw is None else await self.group(view, raw.decode())

    async def groups(self, view: ReadView) -> AsyncIterator[Group]:
        """Every group, in the order of their ids."""
        for number, id_ in enumerate(await view.list(self._group)):
            if number % _BREATH == _BREATH - 1:
                await asyncio.sleep(0)
            group = await self.group(view, id_)
            if group is not None:
                yield group

    async def groups_of(self, view: ReadView, entity_id: str) -> list[str]:
        """Ids of the groups that an entity is in itself."""
        raw = await view.get(self._groups_of + entity_id)
        ids: list[str] = [] if raw is None else orjson.loads(raw)
        return ids

    async def members(self, view: ReadView, group_id: str) -> list[str]:
        """Ids of the entities that are in a group itself."""
        return list(await view.list(f"{self._members}{group_id}/"))

    async def join(self, view: View, group_id: str, entity_id: str) -> None:
        ids = await self.groups_of(view, entity_id)
        if group_id not in ids:
            view.put(self._groups_of + entity_id, orjson.dumps(sorted([*ids, group_id])))
            view.put(f"{self._members}{group_id}/{entity_id}", b"")

    async def leave(self, view: View, group_id: str, entity_id: str) -> None:
        left = [id_ for id_ in await self.groups_of(view, entity_id) if id_ != group_id]
        if left:
            view.put(self._groups_of + entity_id, orjson.dumps(left))
        else:
            view.delete(self._groups_of + entity_id)
        view.delete(f"{self._members}{group_id}/{entity_id}")

    async def fill(self, view: View, group_id: str, wanted: set[str]) -> None:
        """Make ``wanted``, ids of entities that exist, the members of a group."""
        present = set(await self.members(view, group_id))
        for number, id_ in enumerate(sorted(present ^ wanted)):
            if number % _BREATH == _BREATH - 1:
                await asyncio.sleep(0)
            await (self.join if id_ in wanted else self.leave)(view, group_id, id_)

    def save_group(self, view: View, group: Group, old: Group | None = None) -> None:
        """Store a group; ``old`` is what it was before."""
        view.put(self._group + group.id, group.dump())
        if old is None or old.name.lower() != group.name.lower():
            if old is not None:
                view.delete(self._group_name + name_key(old.name))
            view.put(self._group_name + name_key(group.name), group.id.encode())
        was = None if old is None else old.alias
        if was != group.alias:
            if was is not None:
                view.delete(self._group_alias + was.id)
                view.delete(self._group_alias_key(was))
            if group.alias is not None:
                view.put(self._group_alias + group.alias.id, group.id.encode())
                view.put(self._group_alias_key(group.alias), group.id.encode())

    def _group_alias_key(self, alias: Alias) -> str:
        return f"{self._group_alias_name}{alias.mount_accessor}/{name_key(alias.name)}"

    async def delete_group(self, view: View, group: Group) -> None:
        """Delete a group: out of its members, of the groups in it and of those it is in."""
        await self.fill(view, group.id, set())
        for id_ in group.member_groups:
            if (below := await self.group(view, id_)) is not None:
                self.save_group(view, replace(below, parents=_without(below.parents, group.id)), below)
        for id_ in group.parents:
            if (above := await self.group(view, id_)) is not None:
                self.save_group(view, replace(above, member_groups=_without(above.member_groups, group.id)), above)
        if group.alias is not None:
            view.delete(self._group_alias + group.alias.id)
            view.delete(self._group_alias_key(group.alias))
        view.delete(self._group + group.id)
        view.delete(self._group_name + name_key(group.name))

    async def nest(self, view: View, group: Group, member_groups: tuple[str, ...]) -> Group:
        """Make ``member_groups`` the groups that ``group`` holds; they must exist, and not hold it themselves."""
        for id_ in {*group.member_groups, *member_groups}:
            below = await self.group(view, id_)
            if below is not None and (id_ in member_groups) != (group.id in below.parents):
                parents = _without(below.parents, group.id)
                if id_ in member_groups:
                    parents = tuple(sorted([*parents, group.id]))
                changed = replace(below, parents=parents, modify_index=below.modify_index + 1)
                self.save_group(view, changed, below)
        return replace(group, member_groups=member_groups)

    async def is_above(self, view: ReadView, group_id: str, other: str) -> bool:
        """Whether ``other`` holds ``group_id``, itself or through groups in it: is one of its ancestors."""
        seen = {group_id}
        waiting = [group_id]
        for id_ in waiting:  # grows while it is walked
            group = await self.group(view, id_)
            fresh = [] if group is None else [parent for parent in group.parents if parent not in seen]
            if other in fresh:
                return True
            seen.update(fresh)
            waiting += fresh
        return False


def random_name(kind: str) -> str:
    return f"{kind}_{secrets.token_hex(4)}"


def _without(ids: tuple[str, ...], id_: str) -> tuple[str, ...]:
    return tuple(each for each in ids if each != id_)
