"""Counting, and what is made of it."""

from __future__ import annotations

import math
import statistics

import pytest
from caveau.framework.metrics import Key, Metrics, Summary, quantile, value


@pytest.fixture
def metrics():
    return Metrics()


def test_a_series_is_known_by_its_name_and_labels(metrics):
    metrics.count("token.creation", method="userpass", namespace="root")
    metrics.count("token.creation", 2, namespace="root", method="userpass")
    metrics.count("token.creation", method="approle")
    assert {each.key: each.value for each in metrics.all_counters()} == {
        Key("token.creation", (("method", "userpass"), ("namespace", "root"))): 3,
        Key("token.creation", (("method", "approle"),)): 1,
    }


def test_a_timing_sums_up_every_value(metrics):
    timing = metrics.timing("core.handle_request")
    for milliseconds in range(1, 1001):
        timing.observe(milliseconds / 1000)
    (found,) = metrics.all_timings()
    assert (found.count, round(found.total, 6)) == (1000, 500.5)
    summary = found.current
    assert (summary.low, summary.high, round(summary.mean, 6)) == (0.001, 1.0, 0.5005)
    assert metrics.timing("core.handle_request") is timing


def test_quantiles_are_of_recent_values():
    values = [float(each) for each in range(1, 101)]
    assert [quantile(values, share) for share in (0.5, 0.9, 0.99, 1.0)] == [50, 90, 99, 100]
    assert math.isnan(quantile([], 0.5))
    assert quantile([7.0], 0.01) == 7.0


def test_the_deviation_is_that_of_a_sample():
    recent = (2.0, 4.0, 4.0, 5.0, 9.0)
    assert Summary(5, 24.0, 2.0, 9.0, recent).deviation == pytest.approx(statistics.stdev(recent))
    assert Summary(1, 2.0, 2.0, 2.0, (2.0,)).deviation == 0.0


def test_an_interval_has_only_what_happened_in_it(metrics):
    timing, counter = metrics.timing("t"), metrics.counter("c")
    timing.observe(5.0)
    counter.add(3)
    metrics.turn(10.0)
    timing.observe(1.0)
    counter.add(1)
    assert (timing.last.count, timing.last.high, counter.last) == (1, 5.0, 3)
    assert (timing.current.count, timing.current.high, counter.current) == (1, 1.0, 1)
    metrics.turn(20.0)
    assert (timing.last.count, timing.last.low, counter.last) == (1, 1.0, 1)
    metrics.turn(30.0)
    assert (timing.last, counter.last) == (Summary(), 0)
    assert (timing.count, counter.value) == (2, 4)  # since the start


def test_quantiles_forget_what_is_two_intervals_old(metrics):
    timing = metrics.timing("t")
    timing.observe(5.0)
    metrics.turn(10.0)
    assert timing.lately == (5.0,)
    metrics.turn(20.0)
    assert timing.lately == ()


def test_gauges_are_asked_when_somebody_asks(metrics):
    mounts = ["a"]
    metrics.gauge("mounts", lambda: len(mounts), type="auth")
    mounts.append("b")
    assert list(metrics.all_gauges()) == [value("mounts", 2, type="auth")]
    metrics.gauge("mounts", lambda: 7.0, type="auth")
    assert [each.value for each in metrics.all_gauges()] == [7.0]


def test_counters_kept_elsewhere_are_read_when_somebody_asks(metrics):
    hits = {"n": 5}
    metrics.counts("cache", lambda: [value("cache.hit", hits["n"])])
    metrics.turn(10.0)
    hits["n"] = 7
    (counter,) = metrics.all_counters()
    assert (counter.value, counter.last, counter.current) == (7, 5, 2)


def test_what_is_dropped_is_not_asked_any_more(metrics):
    metrics.gauges("leases", lambda: [value("expire.num_leases", 1)])
    metrics.drop("leases")
    metrics.drop("never there")
    assert metrics.all_gauges() == []


def test_what_is_observed_is_put_together_at_last(metrics):
    timing = metrics.timing("barrier.put")
    timing.observe(1.0)
    timing.observe_equal(2.0, 3)
    metrics.fold()
    assert (timing.count, timing.total) == (4, 7.0)


def test_a_counter_that_begins_anew_never_goes_back(metrics):
    hits = {"n": 5}
    metrics.counts("cache", lambda: [value("cache.hit", hits["n"])])
    metrics.turn(10.0)
    hits["n"] = 2
    (counter,) = metrics.all_counters()
    assert counter.current == 2
    metrics.turn(20.0)
    assert counter.last == 2


def test_what_was_the_same_many_times_is_noted_at_once(metrics):
    timing = metrics.timing("audit.file-.log_request")
    timing.observe_equal(0.5, 100)
    timing.observe_equal(2.0, 0)
    assert (timing.current.count, timing.current.total, timing.current.high) == (100, 50.0, 0.5)
