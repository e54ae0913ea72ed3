"""What may be said of times that vary: medians with intervals, ratios, and whether they differ.

Times are skewed and have outliers, so nothing here supposes a distribution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import scipy.stats

CONFIDENCE = 0.95
_RESAMPLES = 2_000

_Key = TypeVar("_Key")


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number, and between which bounds it lies with what confidence.

    Args:
        value: The median, or a ratio of two.
        low: The lower bound.
        high: The upper bound.
        confidence: How often bounds like these hold; less than 0.95 where samples are too few.
        count: Of how many samples.
    """

    value: float
    low: float
    high: float
    confidence: float
    count: int

    def scaled(self, factor: float) -> Estimate:
        """The same of numbers that are `factor` times as large."""
        return Estimate(
            value=self.value * factor,
            low=self.low * factor,
            high=self.high * factor,
            confidence=self.confidence,
            count=self.count,
        )


def median(samples: Sequence[float]) -> Estimate:
    """The median, with an interval between two of the samples.

    The interval is from order statistics, so its confidence is exact for any distribution: between
    the k-th smallest and the k-th largest of n samples lies the median with probability
    1 - 2 P(B < k), B binomial with n and 1/2. The narrowest of at least 95 % is taken; with fewer
    than 6 samples there is none, and all of them are given, with the confidence that they have.
    Hahn and Meeker, "Statistical intervals" (1991), section 5.2; Le Boudec, "Performance
    evaluation of computer and communication systems" (2010), theorem 2.1.

    >>> median([3.0, 1.0, 2.0])
    Estimate(value=2.0, low=1.0, high=3.0, confidence=0.75, count=3)
    """
    ordered = np.sort(np.asarray(samples, dtype=float))
    count = len(ordered)
    ranks = range(1, max(1, count // 2) + 1)
    covering = [rank for rank in ranks if _coverage(count, rank) >= CONFIDENCE]
    rank = max(covering, default=1)
    return Estimate(
        value=float(np.median(ordered)),
        low=float(ordered[rank - 1]),
        high=float(ordered[count - rank]),
        confidence=_coverage(count, rank),
        count=count,
    )


def _coverage(count: int, rank: int) -> float:
    return max(0.0, 1 - 2 * float(scipy.stats.binom.cdf(rank - 1, count, 0.5)))


def ratio(of: Sequence[float], to: Sequence[float], *, seed: int = 0) -> Estimate | None:
    """The ratio of two medians, with a percentile bootstrap interval; None if it has no meaning.

    Efron and Tibshirani, "An introduction to the bootstrap" (1993), chapter 13. Where a side has
    fewer than 2 samples, the bounds are those of no knowledge: 0 and infinity.
    """
    if not of or not to or np.median(to) <= 0:
        return None
    value = float(np.median(of) / np.median(to))
    count = min(len(of), len(to))
    if count < 2:
        return Estimate(value=value, low=0.0, high=float("inf"), confidence=CONFIDENCE, count=count)
    rng = np.random.default_rng(seed)
    above = np.median(_resampled(of, rng), axis=1)
    below = np.median(_resampled(to, rng), axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        quotients = above / below
    tail = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(quotients, [tail, 1 - tail])
    return Estimate(
        value=value, low=float(low), high=float(high), confidence=CONFIDENCE, count=count
    )


def _resampled(samples: Sequence[float], rng: np.random.Generator) -> np.ndarray:
    values = np.asarray(samples, dtype=float)
    return values[rng.integers(0, len(values), (_RESAMPLES, len(values)))]


def differ(one: Sequence[float], other: Sequence[float]) -> float:
    """How probable samples as different as these are if nothing has changed.

    The p-value of the two-sided Mann-Whitney U test (1947), exact where there are no ties.

    >>> differ([1, 2, 3], [1, 2, 3])
    1.0
    """
    if not one or not other:
        return 1.0
    return float(scipy.stats.mannwhitneyu(one, other, alternative="two-sided").pvalue)


def discoveries(probabilities: Mapping[_Key, float], *, rate: float = 0.05) -> set[_Key]:
    """Which of many comparisons show a difference, with at most a share of `rate` by chance.

    Benjamini and Hochberg, "Controlling the false discovery rate" (1995). Without it, one of
    twenty comparisons of a thing with itself would be a finding.

    >>> sorted(discoveries({"a": 0.001, "b": 0.04, "c": 0.9}))
    ['a']
    """
    ordered = sorted(probabilities.items(), key=lambda item: item[1])
    count = len(ordered)
    passing = [
        place for place, (_, value) in enumerate(ordered, 1) if value <= rate * place / count
    ]
    return {key for key, _ in ordered[: max(passing, default=0)]}
