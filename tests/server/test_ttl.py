"""Lifetimes: the laws that hold for every token and lease, and the texts of what was cut."""

from __future__ import annotations

import pytest
from caveau.server.ttl import duration_text, effective_max, grant
from hypothesis import assume, given
from hypothesis import strategies as st

seconds = st.integers(0, 10**8)
positive = st.integers(1, 10**8)
limits = st.one_of(st.just(0), positive)


@given(wanted=seconds, default=seconds, system_max=positive, max_ttl=limits, explicit_max=limits, age=seconds)
def test_nothing_outlives_the_tightest_limit(wanted, default, system_max, max_ttl, explicit_max, age):
    life = grant(wanted=wanted, default=default, system_max=system_max, max_ttl=max_ttl, explicit_max=explicit_max,
                 start=1000.0, now=1000.0 + age)  # fmt: skip
    assert life.ttl >= 0
    assert age + life.ttl <= max(age, effective_max(system_max, max_ttl, explicit_max))
    assert life.ttl <= (wanted or default)
    assert bool(life.warnings) == (life.ttl < (wanted or default))


@given(period=positive, system_max=positive, explicit_max=limits, age=seconds, wanted=seconds)
def test_a_period_is_given_at_every_renewal_whatever_is_asked(period, system_max, explicit_max, age, wanted):
    life = grant(wanted=wanted, default=1, system_max=system_max, explicit_max=explicit_max, period=period,
                 start=0.0, now=float(age))  # fmt: skip
    assert life.ttl <= min(period, system_max)
    if explicit_max:
        assert age + life.ttl <= max(age, explicit_max)
    else:
        assert life.ttl == min(period, system_max)


@given(wanted=positive, system_max=positive, start=st.floats(0, 2e9), delay=st.floats(0, 0.4))
def test_fractions_of_a_second_take_nothing_away(wanted, system_max, start, delay):
    assume(wanted <= system_max - 1)
    assert grant(wanted=wanted, default=1, system_max=system_max, start=start, now=start + delay).ttl == wanted


@pytest.mark.parametrize(
    ("asked", "ttl", "warning"),
    [
        ({"wanted": 7200}, 3600, 'TTL of "2h" exceeded the effective max_ttl of "1h"; TTL value is capped accordingly'),
        ({"wanted": 7200, "age": 1800}, 1800,
         'TTL of "2h" exceeded the effective max_ttl of "30m"; TTL value is capped accordingly'),
        ({"period": 7200}, 3600,
         'period of "2h" exceeded the effective max_ttl of "1h"; period value is capped accordingly'),
        ({"age": 3600}, 0, 'TTL of "10m" exceeded the effective max_ttl of "0s"; TTL value is capped accordingly'),
        ({}, 600, None),
        ({"wanted": 3600}, 3600, None),
    ],
)  # fmt: skip
def test_what_was_cut_is_told(asked, ttl, warning):
    age = asked.pop("age", 0)
    life = grant(**({"wanted": 0} | asked), default=600, system_max=3600, start=0.0, now=float(age))
    assert (life.ttl, life.warnings) == (ttl, [warning] if warning else [])


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0s"), (1, "1s"), (60, "1m"), (3600, "1h"), (3661, "1h1m1s"), (768 * 3600, "768h"), (3605, "1h5s")],
)
def test_duration_text(number, text):
    assert duration_text(number) == text
