"""What is said of numbers that vary is as true as it says."""

from __future__ import annotations

import math

import numpy as np
import pytest

from qcov_bench.backends.statistics import differ, discoveries, median, ratio


@pytest.mark.parametrize("count", [6, 9, 20])
def test_the_median_is_within_the_bounds_as_often_as_they_say(count: int) -> None:
    rng = np.random.default_rng(count)
    runs = 2000
    found = [median(list(sample)) for sample in rng.exponential(size=(runs, count))]

    share = np.mean([one.low <= math.log(2) <= one.high for one in found])

    assert found[0].confidence >= 0.95
    assert share == pytest.approx(found[0].confidence, abs=0.015)  # three standard deviations


@pytest.mark.parametrize(
    ("count", "confidence", "low", "high"),
    [(1, 0.0, 0, 0), (2, 0.5, 0, 1), (5, 0.9375, 0, 4), (6, 0.96875, 0, 5), (9, 0.9609375, 1, 7)],
)
def test_few_samples_say_with_which_confidence_their_bounds_hold(
    count: int, confidence: float, low: int, high: int
) -> None:
    found = median(list(map(float, range(count))))

    assert (found.low, found.high, found.count) == (low, high, count)
    assert found.confidence == pytest.approx(confidence)


def test_one_wild_sample_changes_neither_the_median_nor_its_bounds() -> None:
    calm, wild = [1.0, 2, 3, 4, 5, 6, 7, 8, 9], [1.0, 2, 3, 4, 5, 6, 7, 8, 1e9]

    assert median(calm) == median(wild)


def test_the_bounds_of_a_ratio_hold_it() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        one, other = rng.exponential(size=15) * 2, rng.exponential(size=15)
        found = ratio(list(one), list(other))
        assert found is not None
        held += found.low <= 2 <= found.high

    assert held >= 184  # 92 %: the bootstrap of so few samples is known to be a little narrow


def test_a_ratio_of_one_sample_says_that_nothing_is_known() -> None:
    found = ratio([2.0], [1.0])

    assert found is not None
    assert (found.value, found.low, found.high) == (2.0, 0.0, math.inf)
    assert ratio([], [1.0]) is None
    assert ratio([1.0], [0.0, 0.0]) is None


def test_the_same_samples_do_not_differ_and_others_do() -> None:
    assert differ([1, 2, 3, 4, 5], [1, 2, 3, 4, 5]) > 0.9
    assert differ([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]) == pytest.approx(2 / math.comb(10, 5))
    assert differ([], [1.0]) == 1.0


def test_of_many_comparisons_of_a_thing_with_itself_hardly_any_is_a_finding() -> None:
    rng = np.random.default_rng(1)
    wrong = sum(
        bool(
            discoveries({at: differ(list(rng.random(9)), list(rng.random(9))) for at in range(20)})
        )
        for _ in range(100)
    )

    assert wrong <= 12  # 5 of 100 are expected; without correction it would be 64


def test_discoveries_are_those_of_benjamini_and_hochberg() -> None:
    # The example of their paper (1995), section 3.2: 4 of 15 hypotheses are rejected.
    values = [
        0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344,
        0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000,
    ]  # fmt: skip

    assert discoveries(dict(enumerate(values))) == {0, 1, 2, 3}
    assert discoveries({}) == set()
