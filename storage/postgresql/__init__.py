"""A store in a PostgreSQL database, for one server at a time that others may wait behind.

``database`` connects, ``writer`` is the one connection that leads and writes, ``store`` is the physical store.
"""
