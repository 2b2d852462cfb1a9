from __future__ import annotations

from datetime import UTC, datetime

import pytest
from caveau.framework.clock import FakeClock, SystemClock, parse_rfc3339, rfc3339
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_750_000_000, "2025-06-15T15:06:40Z"),
        (1_750_000_000.5, "2025-06-15T15:06:40.5Z"),
        (1_750_000_000.000001, "2025-06-15T15:06:40.000001Z"),
        (-1, "1969-12-31T23:59:59Z"),
    ],
)
def test_times_as_go_prints_them(seconds, text):
    assert rfc3339(seconds) == text
    assert parse_rfc3339(text) == seconds


@settings(max_examples=100, deadline=None)
@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2200, 1, 1)))
def test_times_round_trip(moment):
    seconds = moment.replace(tzinfo=UTC).timestamp()
    assert parse_rfc3339(rfc3339(seconds)) == pytest.approx(seconds, abs=2e-6)
    assert datetime.fromisoformat(rfc3339(seconds)).timestamp() == pytest.approx(seconds, abs=2e-6)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2025-06-15T15:06:40.123456789Z", 1_750_000_000.123456),
        ("2025-06-15T17:06:40+02:00", 1_750_000_000),
        ("2025-06-15T17:06:40.5+02:00", 1_750_000_000.5),
    ],
)
def test_nanoseconds_and_offsets_are_read(text, seconds):
    assert parse_rfc3339(text) == pytest.approx(seconds, abs=1e-6)


@pytest.mark.parametrize("text", ["", "now", "2025-13-01T00:00:00Z", "2025-06-15T15:06:40.Zx"])
def test_what_is_no_time(text):
    with pytest.raises(ValueError, match=r"."):
        parse_rfc3339(text)


def test_a_fake_clock_moves_when_told_to():
    clock = FakeClock(5)
    clock.advance(2.5)
    assert clock.time() == 7.5
    assert SystemClock().time() > 1_700_000_000
