"""The engine at ``identity/``: its routes, put together."""

from __future__ import annotations

from .aliases import AliasRoutes
from .entities import EntityRoutes
from .group_aliases import GroupAliasRoutes
from .groups import GroupRoutes
from .lookup import LookupRoutes
from .merge import MergeRoutes
from .mfa.enforcements import EnforcementRoutes
from .mfa.methods import MethodRoutes
from .mfa.secrets import SecretRoutes
from .oidc import OidcRoutes


class IdentityEngine(
    AliasRoutes, EnforcementRoutes, EntityRoutes, GroupAliasRoutes, GroupRoutes, LookupRoutes, MergeRoutes,
    MethodRoutes, OidcRoutes, SecretRoutes,
):  # fmt: skip
    help = "Who the holders of tokens are: entities, the aliases they log in by, and the groups they are in."
