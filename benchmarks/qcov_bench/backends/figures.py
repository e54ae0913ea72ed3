"""Numbers as people read them."""

from __future__ import annotations

from qcov_bench.backends.statistics import Estimate


def time(seconds: float) -> str:
    """Seconds in the unit that fits.

    >>> [time(value) for value in (2.5e-6, 0.00123, 0.5, 12.34, 150.0)]
    ['2.50 µs', '1.23 ms', '500 ms', '12.3 s', '150 s']
    """
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if seconds * factor >= 1 or unit == "µs":
            return f"{_three(seconds * factor)} {unit}"
    raise AssertionError


def _three(value: float) -> str:
    """Three digits, without an exponent.

    >>> [_three(value) for value in (1.0, 12.345, 1234.5)]
    ['1.00', '12.3', '1,234']
    """
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{digits}f}"


def tick(seconds: float) -> str:
    """A round number of seconds beside an axis.

    >>> [tick(value) for value in (1e-3, 0.02, 3.0)]
    ['1 ms', '20 ms', '3 s']
    """
    number, _, unit = time(seconds).partition(" ")
    return f"{float(number.replace(',', '')):,g} {unit}"


def spread(estimate: Estimate) -> str:
    """How far the bounds are from the value, in per cent of it.

    >>> spread(Estimate(value=2.0, low=1.9, high=2.2, confidence=0.96, count=9))
    '-5 +10 %'
    """
    if estimate.value <= 0 or estimate.count < 2:
        return "once" if estimate.count == 1 else ""
    low = 100 * (1 - estimate.low / estimate.value)
    high = 100 * (estimate.high / estimate.value - 1)
    return f"-{low:.0f} +{high:.0f} %"


def rate(per_second: float) -> str:
    """Things in a second.

    >>> rate(12345.6)
    '12,346/s'
    """
    return f"{per_second:,.0f}/s" if per_second >= 100 else f"{_three(per_second)}/s"


def times(ratio: Estimate) -> str:
    """A ratio with its bounds.

    >>> times(Estimate(value=0.5, low=0.45, high=0.62, confidence=0.95, count=9))
    '0.50x (0.45-0.62)'
    """
    return f"{ratio.value:.2f}x ({ratio.low:.2f}-{ratio.high:.2f})"


def share(value: float) -> str:
    """A fidelity.

    >>> share(0.99987)
    '0.9999'
    """
    return f"{value:.4f}"


def deviation(value: float) -> str:
    """How far a value is from the exact one; rounding errors are none.

    >>> [deviation(value) for value in (3e-16, 0.0123)]
    ['0', '0.012']
    """
    return "0" if value < 1e-9 else f"{value:.2g}"


def money(usd: float | None) -> str:
    """US dollars.

    >>> [money(value) for value in (None, 0.0, 0.305)]
    ['', '0', '0.305']
    """
    return "" if usd is None else f"{usd:.4g}"
