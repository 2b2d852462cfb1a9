"""What the author of an engine or an auth method needs; imports nothing else of Caveau.

An engine is a class of routes (``Engine``, ``read``, ``update``, ...) with typed parameters
(``Params``, ``Field``), and storage through a ``View``.
"""

from .engine import Context, Engine, System
from .leases import recover, renew, revoke
from .messages import Auth, Intent, Lease, Request, Response
from .params import Field, NoParams, Params
from .routes import delete, list_, patch, read, route, scan, update
from .storage import ReadView, View

__all__ = [
    "Auth", "Context", "Engine", "Field", "Intent", "Lease", "NoParams", "Params", "ReadView", "Request",
    "Response", "System", "View", "delete", "list_", "patch", "read", "recover", "renew", "revoke", "route", "scan",
    "update",
]  # fmt: skip
