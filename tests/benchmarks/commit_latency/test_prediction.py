"""The formula, on parts of which the answer is known."""

from __future__ import annotations

import random

import pytest
from caveau.benchmarks.commit_latency.prediction import Order, Parts, predict, quantile


def always(*parts: float) -> list[list[float]]:
    return [[part] for part in parts]


def only(values: list[float]) -> float:
    assert max(values) - min(values) < 1e-12
    return values[0]


def test_alone_a_commit_is_the_write():
    predicted = predict(Parts(always(0.003), []), Order.TOGETHER, 10)
    assert (only(predicted.total), only(predicted.network), only(predicted.disk)) == (0.003, 0.0, 0.003)


def test_a_majority_of_three_waits_for_the_faster_follower():
    parts = Parts(always(0.001, 0.002, 0.002), always(0.010, 0.020))
    together = predict(parts, Order.TOGETHER, 10)
    assert only(together.total) == pytest.approx(0.012)
    assert (only(together.network), only(together.disk)) == (0.010, 0.002)
    first = predict(parts, Order.DISK_FIRST, 10)
    assert only(first.total) == pytest.approx(0.013)
    assert (only(first.network), only(first.disk)) == (0.010, pytest.approx(0.003))


def test_a_majority_of_five_waits_for_the_second_follower():
    parts = Parts(always(*[0.001] * 5), always(0.040, 0.010, 0.030, 0.020))
    assert only(predict(parts, Order.TOGETHER, 10).total) == pytest.approx(0.021)


def test_a_follower_is_fast_only_with_both_its_link_and_its_disk():
    parts = Parts(always(0.001, 0.050, 0.002), always(0.001, 0.020))
    predicted = predict(parts, Order.TOGETHER, 10)
    assert (only(predicted.network), only(predicted.disk)) == (0.020, 0.002)


def test_everybody_waits_for_a_leader_with_a_slow_disk():
    parts = Parts(always(0.050, 0.001, 0.001), always(0.010, 0.010))
    predicted = predict(parts, Order.TOGETHER, 10)
    assert (only(predicted.total), only(predicted.network), only(predicted.disk)) == (0.050, 0.0, 0.050)
    assert only(predict(parts, Order.DISK_FIRST, 10).total) == pytest.approx(0.061)


@pytest.mark.parametrize(("nodes", "median"), [(3, 0.2929), (5, 0.3857), (7, 0.4214)])
def test_the_fastest_of_several_are_faster_than_one(nodes, median):
    """Medians of order statistics of uniform distributions: those of Beta(1, 2), Beta(2, 3) and Beta(3, 4)."""
    even = [n / 1000 for n in range(1001)]
    parts = Parts(always(*[0.0] * nodes), [even] * (nodes - 1))
    assert quantile(predict(parts, Order.TOGETHER, 20_000).total, 0.5) == pytest.approx(median, abs=0.01)


def test_the_same_parts_give_the_same_prediction():
    chance = random.Random(3)
    drawn = [[chance.random() for _ in range(50)] for _ in range(5)]
    parts = Parts(drawn[:3], drawn[3:])
    assert predict(parts, Order.DISK_FIRST, 100) == predict(parts, Order.DISK_FIRST, 100)


def test_what_was_measured_twice_counts_twice():
    both = Parts(always(1.0, 2.0), always(3.0)) + Parts(always(4.0, 5.0), always(6.0))
    assert both == Parts([[1.0, 4.0], [2.0, 5.0]], [[3.0, 6.0]])


@pytest.mark.parametrize("parts", [((), ()), (always(1.0, 1.0), ()), (([],), ()), (always(1.0, 1.0), ([],))])
def test_parts_that_are_not_all_there(parts):
    with pytest.raises(ValueError, match="every follower's"):
        Parts(*parts)


def test_quantiles():
    assert [quantile([4.0, 1.0, 3.0, 2.0], q) for q in (0, 0.5, 1)] == [1.0, 2.5, 4.0]
    assert quantile([7.0], 0.99) == 7.0
    with pytest.raises(ValueError, match="nothing"):
        quantile([], 0.5)
