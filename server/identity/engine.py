"""The engine at ``identity/``: its routes, put together."""

from __future__ import annotations

from .aliases import AliasRoutes
from .entities import EntityRoutes
from .group_aliases import GroupAliasRoutes
from .groups import GroupRoutes
from .lookup import LookupRoutes
from .merge import MergeRoutes
from .oidc import OidcRoutes


class IdentityEngine(AliasRoutes, EntityRoutes, GroupAliasRoutes, GroupRoutes, LookupRoutes, MergeRoutes, OidcRoutes):
    help = "Who the holders of tokens are: entities, the aliases they log in by, and the groups they are in."
