"""The ``approle`` auth method: machines log in with the id of their role and a secret id that was made for them.

``roles``: the roles. ``settings``: single settings of a role. ``secret_ids``: making, finding and destroying
secret ids. ``login``: logging in. What each stores is at the top of its module.
"""

from .login import AppRole

__all__ = ["AppRole"]
