"""What two answers to one request differ in, once what must differ (ids, times, tokens) is evened out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import orjson

# Every header a client may act on. Date and Content-Length say nothing about compatibility.
HEADERS = (
    "Allow",
    "Cache-Control",
    "Connection",
    "Content-Disposition",
    "Content-Type",
    "Location",
    "Retry-After",
    "Strict-Transport-Security",
    "Vary",
    "WWW-Authenticate",
    "X-Vault-Index",
    "Access-Control-Allow-Origin",
    "Access-Control-Allow-Methods",
    "Access-Control-Allow-Headers",
)

_NOISE = (
    (
        re.compile(r"\bhvs\.[A-Za-z0-9_-]{24,}(?:\.[A-Za-z0-9]{6})?|\bs\.[A-Za-z0-9]{24}(?:\.[A-Za-z0-9]{6})?\b"),
        "<token>",
    ),
    (re.compile(r"\b(?:hvb|b)\.[A-Za-z0-9_-]{40,}"), "<batch token>"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "<uuid>"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)"), "<time>"),
    (re.compile(r"\b([a-z][a-z0-9-]*(?:_[a-z]+)?)_[0-9a-f]{8}\b"), r"\1_<hex>"),
    (re.compile(r"\bvault-cluster-[0-9a-f]{8}\b"), "<cluster>"),
    (re.compile(r"\bh(?:[0-9a-f]{64}|[0-9a-f]{44})(?:\.[A-Za-z0-9]{6})?\b"), "<token lease>"),
    (re.compile(r"\b[0-9a-f]{64,}\b"), "<hex>"),
    (re.compile(r"\b127\.0\.0\.1:\d+"), "<address>"),
    (re.compile(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{43}="), "<base64>"),
    (  # depends on whether a second has begun since the token was made
        re.compile(
            r"WARNING! The following warnings were returned from \w+:\s+\* TTL of \"\w+\" exceeded the effective "
            r"max_ttl of \"\d+h59m\d+s\"; TTL value is capped accordingly\s*"
        ),
        "",
    ),
    (re.compile(r'(effective max_ttl of )"\d+h59m\d+s"'), r"\1<what is left of it>"),
    (re.compile(r"(?<![\d.])\d{1,2}\.\d{1,2}\.\d{1,2}(?:\+[\w.]+)?\b(?!\.)"), "<version>"),
    (
        re.compile(r"(?<![\w/+.-])(?:(?=\w*[A-Z])[A-Za-z0-9]{24}|[0-9a-f]{32})(?:\.[A-Za-z0-9]{6})?(?![\w/+=-])"),
        "<accessor>",
    ),
    (re.compile(r"\b(id +)[A-Za-z0-9]{6}(?=\s+locked)"), r"\1<namespace>"),
)
# Random at these places, and in no form that a pattern would find.
_RANDOM = {
    "otp",
    "encoded_token",
    "encoded_root_token",
    "keys_base64[]",
    "unseal_keys_b64[]",
    "random_bytes",
    "password",
}
_NAMESPACE_ID = re.compile(r"[A-Za-z0-9]{6}")
_CLOCK_SKEW = 5  # seconds between the two servers answering the same request
_UNIX_TIMES = 1_500_000_000


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said. ``status`` 0: it dropped the connection."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


@dataclass(frozen=True, slots=True)
class Difference:
    """``aspect`` is ``status``, ``header NAME``, ``error``, ``body``, or ``keys``, ``type`` or ``value``
    and the place in the JSON answer."""

    aspect: str
    ours: str
    theirs: str

    @property
    def of_value(self) -> bool:
        return self.aspect.startswith("value ")


def even_out(text: str) -> str:
    for pattern, name in _NOISE:
        text = pattern.sub(name, text)
    return text


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "bool"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "list" if value else "empty list"
        case _:
            return "object"


def same_number(ours: float, theirs: float) -> bool:
    """Equal, or apart only by the moment at which each server was asked."""
    return abs(ours - theirs) <= (_CLOCK_SKEW if ours > 30 else 0) or min(ours, theirs) > _UNIX_TIMES


def _json(ours: Any, theirs: Any, place: str, depth: int) -> list[Difference]:
    where = place or "."
    if _kind(ours) != _kind(theirs):
        return [Difference(f"type {where}", _kind(ours), _kind(theirs))]
    if isinstance(ours, dict):
        if depth == 0:
            return []
        mine, other = ({even_out(k): v for k, v in side.items()} for side in (ours, theirs))
        inner = f"{place}." if place else ""
        found = [
            Difference(
                f"keys {inner}{key}",
                _kind(mine[key]) if key in mine else "absent",
                _kind(other[key]) if key in other else "absent",
            )
            for key in sorted(mine.keys() ^ other.keys())
        ]
        for key in sorted(mine.keys() & other.keys()):
            found += _json(mine[key], other[key], inner + key, depth - 1)
        return found
    if isinstance(ours, list):
        if place.endswith("errors"):
            said, told = ("\n".join(even_out(str(e)) for e in side) for side in (ours, theirs))
            return [Difference("error", said, told)] if said != told else []
        found = []
        if len(ours) != len(theirs):
            found.append(Difference(f"value {where}[]", f"{len(ours)} items", f"{len(theirs)} items"))
        for mine, other in zip(ours, theirs, strict=False):
            found += [d for d in _json(mine, other, f"{place}[]", depth) if d not in found]
        return found
    if isinstance(ours, str):
        last = place.rpartition(".")[2]
        same = even_out(ours) == even_out(theirs) or last in _RANDOM
        same = same or (last == "id" and bool(_NAMESPACE_ID.fullmatch(ours) and _NAMESPACE_ID.fullmatch(theirs)))
    elif isinstance(ours, bool) or ours is None:
        same = ours == theirs
    else:
        same = same_number(ours, theirs)
    return [] if same else [Difference(f"value {where}", even_out(str(ours)), even_out(str(theirs)))]


def _bodies(ours: bytes, theirs: bytes, depth: int) -> list[Difference]:
    try:
        mine, other = orjson.loads(ours), orjson.loads(theirs)
    except orjson.JSONDecodeError:
        mine, other = (even_out(side.decode(errors="replace"))[:300] for side in (ours, theirs))
        return [Difference("body", mine, other)] if mine != other else []
    if isinstance(mine, dict) and isinstance(other, dict) and ("errors" in mine) != ("errors" in other):
        return [Difference("error", *(even_out(str(s.get("errors", "no errors"))) for s in (mine, other)))]
    return _json(mine, other, "", depth)


def differences(ours: Answer, theirs: Answer, *, depth: int = 99, values: bool = True) -> list[Difference]:
    """Every difference of the two answers, values left out unless ``values``."""
    found = []
    if ours.status != theirs.status:
        found.append(Difference("status", str(ours.status), str(theirs.status)))
    for name in HEADERS:
        mine, other = (even_out(side.headers.get(name.lower(), "absent")) for side in (ours, theirs))
        if mine != other:
            found.append(Difference(f"header {name}", mine, other))
    found += _bodies(ours.body, theirs.body, depth)
    return [d for d in found if values or not d.of_value]
