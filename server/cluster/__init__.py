"""Nodes that find, trust and describe each other.

``identity`` is who a node is, ``port`` where others reach it, ``gate`` what keeps it silent while it is sealed, and
``store`` the physical store; ``Cluster`` puts them together for the rest of the server.
"""

from __future__ import annotations

from .cluster import Cluster
from .store import ClusterStore

__all__ = ["Cluster", "ClusterStore"]
