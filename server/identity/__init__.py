"""Identity: who is behind a token, whichever way they logged in.

``records`` is what is stored, ``store`` finds and changes it, ``profile`` is what a request needs to know of an
entity. A file of routes is one resource of the API; ``engine`` puts them together.
"""

from .profile import Profile
from .records import Alias, Entity, Group
from .store import IdentityStore

__all__ = ["Alias", "Entity", "Group", "IdentityStore", "Profile"]
