"""YAML as the original prints it; apart, because importing a YAML library takes long."""

from __future__ import annotations

import re
from typing import Any

import yaml

from .values import Decimal

# YAML 1.1 words and numbers that other readers would not take for strings.
_DOUBTFUL = re.compile(
    r"(?i:y|n)|[0-9]+(:[0-5]?[0-9])+(\.[0-9]*)?|[-+]?0o[0-7]+"
    r"|[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
)
_PLAIN_WORDS = ("=", "<<")


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _string(dumper: _Dumper, value: str) -> yaml.Node:
    if "\n" in value:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|")
    resolved: str = dumper.resolve(yaml.ScalarNode, value, (True, False))  # type: ignore[no-untyped-call]
    if value in _PLAIN_WORDS:
        return yaml.ScalarNode(resolved, value)
    doubtful = resolved != "tag:yaml.org,2002:str" or _DOUBTFUL.fullmatch(value)
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style='"' if doubtful else None)


def _decimal(dumper: _Dumper, value: Decimal) -> yaml.Node:
    written = str(int(value)) if value.is_integer() else repr(float(value))
    return dumper.represent_scalar("tag:yaml.org,2002:float" if "." in written else "tag:yaml.org,2002:int", written)


_Dumper.add_representer(str, _string)
_Dumper.add_representer(Decimal, _decimal)


def natural(key: str) -> list[tuple[int, int | str]]:
    """Sort key that orders ``s2`` before ``s10``."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"([0-9]+)", key) if part]


def dump(value: Any) -> str:
    return str(yaml.dump(_sorted(value), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=2**31))


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value, key=natural)}
    return [_sorted(item) for item in value] if isinstance(value, list | tuple) else value
