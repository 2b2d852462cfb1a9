"""``LIST`` and ``SCAN``, which are not HTTP methods of any standard, past an HTTP parser that knows only those.

aiohttp's parser (llhttp) refuses a method it does not know. So the first bytes of a request are looked at
before it sees them, and the two verbs travel through it as two methods of RFC 2068 that nothing uses.
"""

from __future__ import annotations

AS_LIST, AS_SCAN = "LINK", "UNLINK"
VERBS = {AS_LIST: "LIST", AS_SCAN: "SCAN"}
"""What stands for what."""

_DISGUISE = {
    b"LIST ": AS_LIST.encode() + b" ",
    b"SCAN ": AS_SCAN.encode() + b" ",
    # Who really sends these means neither; TRACE is answered like every method that is not served.
    AS_LIST.encode() + b" ": b"TRACE ",
    AS_SCAN.encode() + b" ": b"TRACE ",
}
_LONGEST = max(map(len, _DISGUISE))
_INITIALS = frozenset(verb[0] for verb in _DISGUISE)


def disguise(data: bytes) -> bytes | None:
    """The first bytes of a request with its verb replaced, if need be; None while more are needed to tell."""
    if not data or data[0] not in _INITIALS:
        return data
    verb, space, _ = data[:_LONGEST].partition(b" ")
    if space:
        return _DISGUISE.get(verb + space, verb + space) + data[len(verb) + 1 :]
    if any(known.startswith(data) for known in _DISGUISE):
        return None
    return data
