"""How much JSON a request may hold: what a parser would otherwise turn into far more memory than it was text."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields
from typing import Any

from . import jsontext

MAX_DEPTH = jsontext.MAX_DEPTH - 10
"""The most levels that a request may have: answers need some more for their envelope."""
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_VALUE_BYTES = 16  # what a parsed value takes beside its text, at least
_COMPLEX = "refused JSON input due to high complexity"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Each the most that is accepted; below zero is no limit. The names are those of the listener's directives.

    max_json_depth                  levels of arrays and objects, never more than MAX_DEPTH
    max_json_string_value_length    bytes of one string value
    max_json_object_entry_count     entries of one object
    max_json_array_element_count    elements of one array
    max_request_json_strings        strings of a text, keys and values
    max_request_json_memory         bytes: the text, and 16 for each value in it
    """

    max_json_depth: float
    max_json_string_value_length: float
    max_json_object_entry_count: float
    max_json_array_element_count: float
    max_request_json_strings: float
    max_request_json_memory: float

    def __post_init__(self) -> None:
        for each in fields(self):
            if getattr(self, each.name) < 0:
                object.__setattr__(self, each.name, math.inf)
        object.__setattr__(self, "max_json_depth", min(self.max_json_depth, MAX_DEPTH))


class LimitExceeded(ValueError):
    """A text that is over a limit."""

    def __init__(self, what: str, name: str, limit: float) -> None:
        super().__init__(f"{_COMPLEX}: {what}; {name} is {limit:.0f}")


class Reader:
    """Reads JSON texts within ``limits``. Those too short to be over any are only parsed."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # No text of as many bytes is over a limit: a level takes one byte, an element two ("1,"), an entry
        # five ('"":1,'), a string three ('"",'), and a value two, for 16 bytes of memory.
        self._harmless = min(
            limits.max_json_depth,
            limits.max_json_string_value_length,
            limits.max_json_object_entry_count * 5,
            limits.max_json_array_element_count * 2,
        )
        self._light = min(
            limits.max_request_json_strings * 3,
            (limits.max_request_json_memory - _VALUE_BYTES) / (1 + _VALUE_BYTES / 2),
        )

    def loads(self, raw: bytes) -> Any:
        """The value of a JSON text, as ``jsontext.loads``; raises LimitExceeded, or ValueError on bad JSON."""
        size = len(raw)
        if size > self._light:
            self._weigh(raw)
        value = jsontext.loads(raw)
        if size > self._harmless and self._suspicious(raw):
            self._measure(value)
        return value

    def _weigh(self, raw: bytes) -> None:
        """Count strings and values before any of them is made."""
        limits = self._limits
        bare = _STRING.sub(b'"', raw)
        strings = bare.count(b'"')
        if strings > limits.max_request_json_strings:
            raise LimitExceeded(f"{strings} strings", "max_request_json_strings", limits.max_request_json_strings)
        values = bare.count(b",") + bare.count(b":") + bare.count(b"[") + bare.count(b"{") + 1
        memory = len(raw) + values * _VALUE_BYTES
        if memory > limits.max_request_json_memory:
            raise LimitExceeded(f"{memory} bytes of memory", "max_request_json_memory", limits.max_request_json_memory)

    def _suspicious(self, raw: bytes) -> bool:
        limits = self._limits
        return (
            len(raw) > limits.max_json_string_value_length
            or raw.count(b"[") + raw.count(b"{") > limits.max_json_depth
            or raw.count(b",") >= min(limits.max_json_object_entry_count, limits.max_json_array_element_count)
        )

    def _measure(self, value: Any) -> None:
        limits = self._limits
        longest = limits.max_json_string_value_length
        level: list[Any] = [value]
        depth = 0
        while level:
            deeper: list[Any] = []
            for each in level:
                if isinstance(each, dict):
                    if len(each) > limits.max_json_object_entry_count:
                        raise LimitExceeded(
                            f"an object of {len(each)} entries",
                            "max_json_object_entry_count",
                            limits.max_json_object_entry_count,
                        )
                    deeper.extend(each.values())
                elif isinstance(each, list):
                    if len(each) > limits.max_json_array_element_count:
                        raise LimitExceeded(
                            f"an array of {len(each)} elements",
                            "max_json_array_element_count",
                            limits.max_json_array_element_count,
                        )
                    deeper.extend(each)
                elif isinstance(each, str) and len(each) * 4 > longest and len(each.encode()) > longest:
                    raise LimitExceeded(
                        f"a string of {len(each.encode())} bytes", "max_json_string_value_length", longest
                    )
            depth += 1
            if depth > limits.max_json_depth and any(isinstance(each, dict | list) for each in level):
                raise LimitExceeded("exceeded max depth", "max_json_depth", limits.max_json_depth)
            level = deeper
