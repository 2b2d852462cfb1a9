"""The ``sys/`` API. A file is one resource; ``System`` puts their routes together."""

from __future__ import annotations

from .audit import AuditRoutes
from .capabilities import CapabilityRoutes
from .control_group import ControlGroupRoutes
from .cors import CorsRoutes
from .counters import CounterRoutes
from .explain import ExplainRoutes
from .health import HealthRoutes
from .host import HostRoutes
from .intents import IntentRoutes
from .internal import InternalRoutes
from .leases import LeaseRoutes
from .locked_users import LockedUserRoutes
from .loggers import LoggerRoutes
from .metrics import MetricsRoutes
from .mfa import MfaRoutes
from .mounts import MountRoutes
from .namespaces import NamespaceRoutes
from .plugins import PluginRoutes
from .policies import PolicyRoutes
from .pprof import ProfileRoutes
from .quotas import QuotaRoutes
from .raft import RaftRoutes
from .raw import RawRoutes
from .rekey import RekeyRoutes
from .seal import SealRoutes
from .snapshot_auto import SnapshotAutoRoutes
from .snapshots import SnapshotRoutes
from .tools import ToolRoutes
from .ui_headers import UiHeaderRoutes
from .wrapping import WrappingRoutes


class System(
    AuditRoutes,
    CapabilityRoutes,
    ControlGroupRoutes,
    CorsRoutes,
    CounterRoutes,
    ExplainRoutes,
    HealthRoutes,
    HostRoutes,
    IntentRoutes,
    InternalRoutes,
    LoggerRoutes,
    LockedUserRoutes,
    MetricsRoutes,
    MfaRoutes,
    LeaseRoutes,
    MountRoutes,
    NamespaceRoutes,
    PluginRoutes,
    PolicyRoutes,
    QuotaRoutes,
    RaftRoutes,
    RawRoutes,
    ProfileRoutes,
    RekeyRoutes,
    SealRoutes,
    SnapshotAutoRoutes,
    SnapshotRoutes,
    ToolRoutes,
    UiHeaderRoutes,
    WrappingRoutes,
):
    help = "The server itself: its seal, mounts, policies, and what it can tell about its state."


__all__ = ["System"]
