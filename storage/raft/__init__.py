"""Replicated storage: Raft, on PySyncObj's rules with everything around them our own.

``engine`` is what the rest of Caveau sees, ``store`` the physical store on top of it. ``driver`` runs a
``replica`` in the event loop; a replica is all of Raft without I/O: PySyncObj's ``core`` behind a ``guard`` that
closes its holes, the ``log``, ``reads`` and ``snapshot`` transfers. ``wal`` keeps the log on a ``disk``, ``machine``
what the log adds up to, ``transport`` carries ``messages`` between nodes.
"""
