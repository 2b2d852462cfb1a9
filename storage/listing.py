"""How a flat, sorted key space looks like folders.

Python compares text by code point, which is the byte order of its UTF-8 form, so the same bounds
serve a sorted list in memory and a B-tree on disk.
"""

from __future__ import annotations


def bounds(prefix: str, after: str) -> tuple[str, str | None]:
    """The keys whose child of ``prefix`` sorts after ``after``: ``low <= key``, and ``key < high``
    unless high is None (the prefix is empty)."""
    high = past(prefix) if prefix else None
    folder, slash, _ = after.partition("/")
    # No name lies between "b/anything" and "b0" but the folder "b/", which is not after "b/...".
    return (past(prefix + folder + slash) if slash else prefix + after + "\0"), high


def past(folder: str) -> str:
    """The least key after everything in ``folder`` (which ends in ``/``): ``0`` follows ``/``."""
    return folder[:-1] + "0"


def child(prefix: str, key: str) -> str:
    """The name under which ``key`` shows in a listing of ``prefix``: a leaf, or a folder with ``/``."""
    start = len(prefix)
    slash = key.find("/", start)
    return key[start:] if slash < 0 else key[start : slash + 1]
