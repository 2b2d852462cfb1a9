"""The ``sys/`` API. A file is one resource; ``System`` puts their routes together."""

from __future__ import annotations

from .health import HealthRoutes
from .mounts import MountRoutes


class System(HealthRoutes, MountRoutes):
    help = "The server itself: its seal, mounts, policies, and what it can tell about its state."


__all__ = ["System"]
