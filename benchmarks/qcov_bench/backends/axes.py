"""Scales of plots: where a number stands, and which numbers are written beside an axis. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """Maps numbers to places on the page.

    Args:
        low: The least number.
        high: The largest one, above `low`.
        start: Where the least one stands.
        end: Where the largest one does.
        logarithmic: Whether equal ratios, not differences, have equal distances.
    """

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """Where a number stands; what lies outside stands at the end."""
        low, high, value = self.low, self.high, min(max(value, self.low), self.high)
        if self.logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self, most: int = 6) -> list[float]:
        """Round numbers within the axis, at most about so many."""
        numbers = _decades(self.low, self.high) if self.logarithmic else []
        steps = ((1, 2, 5), (1, 3), (1,))
        for digits in steps if self.logarithmic else ():
            found = [digit * power for power in numbers for digit in digits]
            inside = [value for value in found if self.low * 0.999 <= value <= self.high * 1.001]
            if 2 <= len(inside) <= most or digits == (1,):
                return inside[:: max(1, math.ceil(len(inside) / most))]
        return _even(self.low, self.high, most)


def _decades(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return [10.0**power for power in range(first, last + 1)]


def _even(low: float, high: float, most: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten.

    >>> _even(0.0, 1.0, 6)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    rough = (high - low) / max(1, most - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * digit for digit in (1, 2, 5, 10) if power * digit >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def logarithmic(values: Sequence[float], start: float, end: float) -> Axis:
    """An axis with some room around positive numbers.

    >>> axis = logarithmic([1.0, 100.0], 0.0, 10.0)
    >>> axis.ticks()
    [1.0, 10.0, 100.0]
    """
    low, high = min(values), max(values)
    room = max((high / low) ** 0.08, 1.15)
    return Axis(low=low / room, high=high * room, start=start, end=end, logarithmic=True)


def linear(values: Sequence[float], start: float, end: float, *, room: float = 0.08) -> Axis:
    """An axis with some room around numbers."""
    low, high = min(values), max(values)
    space = (high - low) * room or max(abs(high) * room, 1e-9)
    return Axis(low=low - space, high=high + space, start=start, end=end)
