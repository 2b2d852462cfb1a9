from __future__ import annotations

import pytest
from caveau.cli import durations
from caveau.cli.durations import SECOND
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [("60", 60 * SECOND), ("1m30s", 90 * SECOND), ("1.5h", 5400 * SECOND), ("250ms", SECOND // 4), ("-1", -SECOND),
     ("0", 0), ("1d", 86400 * SECOND), (".5s", None), ("", None), ("5", 5 * SECOND), ("1h x", None), ("s", None),
     ("-", None), ("٣s", None)],
)  # fmt: skip
def test_parse(text: str, nanoseconds: int | None) -> None:
    if nanoseconds is None:
        with pytest.raises(ValueError, match="invalid duration"):
            durations.parse(text)
    else:
        assert durations.parse(text) == nanoseconds


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [(0, "0s"), (3600 * SECOND, "1h0m0s"), (90 * SECOND, "1m30s"), (1_500_000_000, "1.5s"), (250_000_000, "250ms"),
     (1_500, "1.5µs"), (7, "7ns"), (-SECOND, "-1s")],
)  # fmt: skip
def test_text_is_gos(nanoseconds: int, text: str) -> None:
    assert durations.text(nanoseconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (60, "1m"), (2764800, "768h"), (3597, "59m57s"), (3661, "1h1m1s"), (3605, "1h5s"), (600, "10m"),
     (36000, "10h"), (86399, "23h59m59s")],
)  # fmt: skip
def test_human_leaves_empty_parts_out(seconds: int, text: str) -> None:
    assert durations.human(seconds) == text


@given(st.integers(min_value=-(10**15), max_value=10**15))
def test_what_is_written_is_read_again(nanoseconds: int) -> None:
    assert durations.parse(durations.text(nanoseconds)) == nanoseconds
