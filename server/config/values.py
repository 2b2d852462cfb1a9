"""How the value of one directive is read: weakly, as Vault does, and never silently wrong.

A ``Kind`` turns what the file says (see ``hcl.Value``) into a Python value or raises ValueError. Its
``merge`` says what a second file does to the value of the first: by default the last one wins.
"""

from __future__ import annotations

import ipaddress
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import orjson

from ...framework.wire import INT, parse_bool, parse_duration, type_name
from ..hcl import Block, Value

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
CERT_DECODER_NAMES = ("URL", "BASE64", "PEM", "DER", "RFC9440", "ENVOY")
Headers: TypeAlias = Mapping[str, Mapping[str, str]]


def _last(_first: Any, second: Any) -> Any:
    return second


@dataclass(frozen=True, slots=True)
class Kind:
    parse: Callable[[Value], Any]
    merge: Callable[[Any, Any], Any] = _last


def kind_name(raw: Value) -> str:
    return "a block" if isinstance(raw, Block) else type_name(raw)


def _text(raw: Value) -> str:
    if isinstance(raw, str):
        return raw
    if isinstance(raw, int | float) and not isinstance(raw, bool):
        return str(raw)
    raise ValueError(f"expected a string, got {kind_name(raw)}")


def _flag(raw: Value) -> bool:
    if isinstance(raw, list | Block) or raw is None:
        raise ValueError(f"expected true or false, got {kind_name(raw)}")
    return parse_bool(raw)


def _seconds(raw: Value) -> float:
    seconds = parse_duration(raw)
    if seconds < 0:
        raise ValueError("a duration cannot be negative")
    return seconds


def _integer(raw: Value) -> int:
    if isinstance(raw, bool | Block):
        raise ValueError(f"expected an integer, got {kind_name(raw)}")
    return int(INT.parse(raw))


def _natural(raw: Value) -> int:
    number = _integer(raw)
    if number < 0:
        raise ValueError("cannot be negative")
    return number


def _strings(raw: Value) -> tuple[str, ...]:
    """A list, or text with commas."""
    items = [_text(item) for item in raw] if isinstance(raw, list) else _text(raw).split(",")
    return tuple(stripped for item in items if (stripped := item.strip()))


def _networks(raw: Value) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(text, strict=False) for text in _strings(raw))
    except ValueError as error:
        raise ValueError(f"{error}: write addresses or CIDR ranges such as 10.0.0.0/8") from None


def _tls_version(raw: Value) -> str:
    if raw in ("tls10", "tls11"):
        raise ValueError(f"{raw} is insecure and not offered: use tls12 or tls13")
    if raw not in ("tls12", "tls13"):
        raise ValueError("must be tls12 or tls13")
    return str(raw)


def _cert_decoders(raw: Value) -> tuple[str, ...]:
    """Steps from a header to a certificate, upper case."""
    names = tuple(name.upper() for name in _strings(raw))
    if unknown := [name for name in names if name not in CERT_DECODER_NAMES]:
        raise ValueError(f"{unknown[0][:32]!r} is not one of {', '.join(CERT_DECODER_NAMES)}")
    return names


def _octal(raw: Value) -> int:
    text = raw if isinstance(raw, str) else ""
    if not re.fullmatch(r"0?o?[0-7]{1,4}", text):
        raise ValueError('write the mode as octal digits in quotes, such as "0600"')
    return int(text.lstrip("0o") or "0", 8)


def choice(*allowed: str, **same_as: str) -> Kind:
    """One of ``allowed``, in any case; ``same_as`` maps further spellings to one of them."""

    def parse(raw: Value) -> str:
        text = _text(raw).strip().lower()
        text = same_as.get(text, text)
        if text not in allowed:
            raise ValueError(f"must be one of {', '.join(filter(None, allowed))}; got {text[:64]!r}")
        return text

    return Kind(parse)


def plain(value: Any) -> Any:
    """A parsed value as JSON would give it. A block given twice is a list, as in HCL 1."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if not isinstance(value, Block):
        return value
    result: dict[str, Any] = {}
    for item in value.items:
        new = plain(item.value)
        for label in reversed(item.labels):
            new = {label: new}
        if isinstance(new, dict) and item.key in result:
            seen = result[item.key]
            new = [*seen, new] if isinstance(seen, list) else [seen, new]
        result[item.key] = new
    return result


def _options(raw: Value) -> Mapping[str, str]:
    """A block for a plug-in (a store, a seal): string to string, anything else as JSON text.

    Blocks inside (``retry_join``) are always a list of objects, whether one is given or several.
    """
    if not isinstance(raw, Block):
        raise ValueError(f"expected a block, got {kind_name(raw)}")
    return MappingProxyType({key: _option_text(value) for key, value in plain(raw).items()})


def _option_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return orjson.dumps([value] if isinstance(value, dict) else value).decode()


_STATUS = re.compile(r"default|[1-5]xx|[1-5][0-9][0-9]")
_HEADER = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


def _response_headers(raw: Value) -> Headers:
    """``{"default" | "2xx" | "204": {"Name": "value" or ["value", ...]}}``; several values are joined by ``; ``."""
    table = plain(raw)
    if isinstance(table, list) and len(table) == 1:
        table = table[0]
    if not isinstance(table, dict):
        raise ValueError(f"expected a block, got {kind_name(raw)}")
    result: dict[str, Mapping[str, str]] = {}
    for status, headers in table.items():
        if not _STATUS.fullmatch(status):
            raise ValueError(
                f'{status[:32]!r} is no status: use "default", a class such as "2xx" or a code such as "204"'
            )
        if isinstance(headers, list) and len(headers) == 1:
            headers = headers[0]
        if not isinstance(headers, dict):
            raise ValueError(f"{status!r} must hold header names with their values")
        result[status] = MappingProxyType({_header_name(name): _header_value(v) for name, v in headers.items()})
    return MappingProxyType(result)


def _header_name(name: str) -> str:
    if not _HEADER.fullmatch(name):
        raise ValueError(f"{name[:64]!r} is no HTTP header name")
    if name.lower().startswith("x-vault-"):
        raise ValueError(f"{name[:64]!r}: headers that begin with X-Vault- are the server's own")
    return name


def _header_value(raw: Any) -> str:
    value = "; ".join(_text(item) for item in (raw if isinstance(raw, list) else [raw]))
    if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value):
        raise ValueError("a header value cannot hold control characters")
    return value


TEXT = Kind(_text)
FLAG = Kind(_flag)
ANY_FLAG = Kind(_flag, operator.or_)  # true in one file is true
SECONDS = Kind(_seconds)
LONGEST = Kind(_seconds, max)
INTEGER = Kind(_integer)
NATURAL = Kind(_natural)
STRINGS = Kind(_strings)
NETWORKS = Kind(_networks)
TLS_VERSION = Kind(_tls_version)
CERT_DECODERS = Kind(_cert_decoders)
OCTAL = Kind(_octal)
OPTIONS = Kind(_options)
RESPONSE_HEADERS = Kind(_response_headers)
LOG_LEVEL = choice("trace", "debug", "info", "warn", "error", warning="warn", err="error")
LOG_FORMAT = choice("standard", "json", **{"": "standard"})
