"""Templates of claims: JSON with directives in it, ``{"name": {{identity.entity.name}}}``.

A directive stands for a whole JSON value; what it names and the entity lacks is an empty one.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any, Final

from ....framework import jsontext
from ....framework.errors import InvalidRequest
from ....framework.wire import parse_duration
from ...policy.templating import Alias, Identity

RESERVED: Final = ("iat", "aud", "exp", "iss", "sub", "namespace", "nonce", "auth_time", "at_hash", "c_hash")
"""Claims that the server sets itself."""


class _Nobody:
    """An entity without anything, to try a template on."""

    id = ""
    name = ""
    metadata: Mapping[str, str] = {}
    aliases: Mapping[str, Alias] = {}
    groups: Iterable[Any] = ()


def plain(text: str) -> str:
    """A template as a client sent it, which may be base64 of it."""
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return text


def check(template: str) -> None:
    """Raises InvalidRequest for a template that cannot be filled, or that sets a reserved claim."""
    claims = claims_of(template)
    for claim in RESERVED:
        if claim in claims:
            raise InvalidRequest(f'top level key "{claim}" not allowed. Restricted keys: {", ".join(RESERVED)}')


def claims_of(template: str) -> dict[str, Any]:
    """The claims that a template sets, their values empty; raises InvalidRequest."""
    return render(template, _Nobody(), 0)


def render(template: str, identity: Identity, now: float) -> dict[str, Any]:
    """The claims that a template gives an entity; raises InvalidRequest. ``now``: seconds since the epoch."""
    if not template.strip():
        return {}
    first, *rest = template.split("{{")
    filled = [first]
    for part in rest:
        directive, closed, plain_text = part.partition("}}")
        if not closed:
            raise InvalidRequest("error parsing template: unbalanced templating characters")
        filled += jsontext.dumps(_value(directive.strip(), identity, now)).decode(), plain_text
    try:
        claims = jsontext.loads("".join(filled).encode())
    except ValueError as error:
        raise InvalidRequest(f"error parsing template JSON: {error}") from None
    if not isinstance(claims, dict):
        raise InvalidRequest("error parsing template JSON: it must be an object")
    return claims


def _value(directive: str, identity: Identity, now: float) -> Any:
    match directive.split("."):
        case ["time", "now"]:
            return int(now)
        case ["time", "now", "plus" | "minus" as way, *duration] if any(duration):
            try:
                seconds = int(parse_duration(".".join(duration)))
            except ValueError as error:
                raise InvalidRequest(f"error parsing template: {error}") from None
            return int(now) + (seconds if way == "plus" else -seconds)
        case ["identity", "entity", "groups", "ids"]:
            return sorted(group.id for group in identity.groups)
        case ["identity", "entity", "groups", "names"]:
            return sorted(group.name for group in identity.groups)
        case ["identity", "entity", "id"]:
            return identity.id
        case ["identity", "entity", "name"]:
            return identity.name
        case ["identity", "entity", "metadata", *key]:
            return _metadata(identity.metadata, key)
        case ["identity", "entity", "aliases", accessor, "id" | "name" as field]:
            alias = identity.aliases.get(accessor)
            return getattr(alias, field) if alias else ""
        case ["identity", "entity", "aliases", accessor, "metadata" | "custom_metadata" as field, *key]:
            alias = identity.aliases.get(accessor)
            return _metadata(getattr(alias, field) if alias else {}, key)
    raise InvalidRequest("error parsing template: no value could be found for one of the template directives")


def _metadata(metadata: Mapping[str, str], key: list[str]) -> Any:
    return metadata.get(".".join(key), "") if key else dict(metadata)
