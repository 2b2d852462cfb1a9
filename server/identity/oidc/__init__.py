"""``identity/oidc``: identity tokens, and this server as an OpenID provider for other applications.

Identity tokens: ``keys.py``, ``roles.py`` (with token and introspect), ``wellknown.py`` (with the issuer).
The provider: ``clients.py``, ``assignments.py``, ``scopes.py``, ``providers.py``; a login goes through
``authorize.py`` and ``token.py`` (with userinfo). Pure parts: ``signing.py``, ``template.py``. What is stored is in
``records.py``, what happens later in ``due.py``.
"""

from __future__ import annotations

from .due import enders
from .roles import RoleRoutes
from .token import TokenRoutes

__all__ = ["OidcRoutes", "enders"]


class OidcRoutes(RoleRoutes, TokenRoutes):
    """All of them, for the identity engine to inherit."""
