"""Which logins need second factors. Most servers ask that of none, and load only this of login MFA."""

from __future__ import annotations

import asyncio
from functools import cached_property
from typing import TYPE_CHECKING

from ....framework.storage import ReadView
from ...layout import ROOT, Namespace
from ...mounts import Mount
from ..profile import Profile
from .records import Enforcement, Method
from .store import MfaStore

if TYPE_CHECKING:
    from ...namespaces import Namespaces
    from .login import LoginMfa


class Enforced:
    """Login MFA of all namespaces. ``enforced``: the enforcements of those in use; empty on most servers."""

    def __init__(self, namespaces: Namespaces) -> None:
        self._namespaces = namespaces
        self.enforced: dict[tuple[str, str], tuple[Namespace, Enforcement]] = {}  # by id of the namespace, and name
        self._stores: dict[str, MfaStore] = {}
        self._loaded: set[str] = set()
        self._loading = asyncio.Lock()

    @cached_property
    def logins(self) -> LoginMfa:
        """Those that need second factors."""
        from .login import LoginMfa

        return LoginMfa(self, self._namespaces.core.clock)

    async def load(self, namespace: Namespace) -> None:
        """Take up what is enforced in a namespace that comes into use, and in those above it."""
        async with self._loading:
            for each, store in self.above(namespace):
                if each.id not in self._loaded:
                    for enforcement in await store.enforcements(self._namespaces.store):
                        self.enforce(each, enforcement)
                    self._loaded.add(each.id)

    def enforce(self, namespace: Namespace, enforcement: Enforcement) -> None:
        self.enforced[namespace.id, enforcement.name] = namespace, enforcement

    def end(self, namespace: Namespace, name: str) -> None:
        self.enforced.pop((namespace.id, name), None)

    def forget(self, namespace: Namespace) -> None:
        """Let go of a namespace that is no more."""
        self._loaded.discard(namespace.id)
        self._stores.pop(namespace.id, None)
        for key in [key for key in self.enforced if key[0] == namespace.id]:
            del self.enforced[key]

    def above(self, namespace: Namespace) -> list[tuple[Namespace, MfaStore]]:
        """The namespace and those it is in, from the inside out, with what they keep of MFA."""
        found, at = [], namespace
        while True:
            found.append((at, self._stores.setdefault(at.id, MfaStore(at.prefix))))
            if at.id == ROOT.id or (parent := self._namespaces.at(at.parent)) is None:
                return found
            at = parent

    async def method(self, view: ReadView, namespace: Namespace, id_: str) -> tuple[Namespace, Method] | None:
        """The method of this id that a namespace can use, and where it is."""
        for each, store in self.above(namespace):
            if (method := await store.method(view, id_)) is not None:
                return each, method
        return None

    def needed(self, namespace: Namespace, mount: Mount, profile: Profile | None) -> list[Enforcement]:
        """The enforcements that a login by ``mount`` has to satisfy."""
        kind = mount.entry.type.removeprefix("ns_")
        entity, groups = ("", set()) if profile is None else (profile.id, {group.id for group in profile.groups})
        return [
            enforcement
            for home, enforcement in self.enforced.values()
            if home.holds(namespace)
            and (
                mount.entry.accessor in enforcement.auth_method_accessors
                or kind in enforcement.auth_method_types
                or entity in enforcement.identity_entity_ids
                or not groups.isdisjoint(enforcement.identity_group_ids)
            )
        ]
