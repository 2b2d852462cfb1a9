"""Snapshots: the whole of a store in one file, checked before anything is made of it.

``archive`` is the file: a gzipped tar as Vault's is, in outline. ``state`` reads what is in it, which is a SQLite file
of ciphertext. ``scratch`` is where both are put while they are worked on.
"""

from .archive import Archive, pieces, unpack
from .scratch import Scratch
from .state import State

__all__ = ["Archive", "Scratch", "State", "pieces", "unpack"]
