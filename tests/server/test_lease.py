"""The arithmetic of leases: the rules that bound them, and the record of one."""

from __future__ import annotations

from caveau.framework import Lease
from caveau.server.lease import LeaseEntry, described, lifetime, retry_delay
from hypothesis import given
from hypothesis import strategies as st

seconds = st.integers(0, 10**8)
positive = st.integers(1, 10**8)


@given(ttl=seconds, max_ttl=seconds, default=positive, maximum=positive, increment=seconds, age=seconds, bound=seconds)
def test_no_lease_passes_any_of_its_bounds(ttl, max_ttl, default, maximum, increment, age, bound):
    """Of the engine or its role, of the mount (or the server), and of the batch token that has it."""
    issued, now = 1000.0, 1000.0 + age
    end_of_token = now + bound if bound else 0.0
    lease = Lease("k", ttl, max_ttl, issue_time=issued)
    life = lifetime(lease, (min(default, maximum), maximum), increment, now, end_of_token)
    assert life.ttl >= 0
    assert age + life.ttl <= max(age, min(maximum, max_ttl or maximum))
    assert not bound or life.ttl <= bound
    asked = increment or ttl or min(default, maximum)
    assert life.ttl <= asked
    free = min(maximum, max_ttl or maximum) - age >= asked and (not bound or bound >= asked)
    assert not free or life.ttl == asked  # nothing is cut without a bound that says so


@given(failures=st.integers(1, 6), luck=st.floats(0, 1, exclude_max=True))
def test_attempts_are_ever_further_apart(failures, luck):
    least, most = retry_delay(failures, 0.0), retry_delay(failures, 1.0)
    assert least <= retry_delay(failures, luck) <= most
    assert most < retry_delay(failures + 1, 0.0)


def test_a_record_reads_as_it_was_written():
    entry = LeaseEntry("db/creds/a/x", "user", 1.5, 2.5, 2.5, 10, 20, False, {"user": "é", "n": [1]}, "t", 3.0, 1.75, 2,
                       "why")  # fmt: skip
    assert LeaseEntry.load(entry.dump()) == entry
    assert (entry.path, entry.irrevocable) == ("db/creds/a", True)


def test_what_does_not_end_has_no_time_left():
    shown = described("a/hx", "a", 0.0, 0.0, 0.0, renewable=False, now=5.0)
    assert (shown["ttl"], shown["expire_time"], shown["renewable"]) == (0, None, False)
