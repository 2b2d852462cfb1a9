"""The audit log: who asked for what, and what was answered.

`broker` is the way in. It has the devices, each behind a `channel` that writes entries in groups on a thread
of its own. `record` follows one request, `entry` writes what it saw as JSON, `hashing` hides values, `filters`
decides which entries a device gets. The devices: `file`, `socket`, `syslog`, `http`.
"""

from .broker import AuditFailed, Broker

__all__ = ["AuditFailed", "Broker"]
