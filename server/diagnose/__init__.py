"""``operator diagnose``: would a server start with this configuration, and what would it lack?

``run`` makes a tree of checks. Nothing is left behind but a key in the store, written and deleted to see how
long that takes.
"""

from .checks import run
from .report import Check

__all__ = ["Check", "run"]
