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
        inside = _round(self.low, self.high, most) if self.logarithmic else []
        return inside if len(inside) > 1 else _even(self.low, self.high, most)


def _round(low: float, high: float, most: int) -> list[float]:
    """Powers of ten within an axis, with some numbers between them if there is room.

    >>> _round(0.9, 110.0, 6)
    [1.0, 3.0, 10.0, 30.0, 100.0]
    """
    inside: list[float] = []
    for digits in ((1, 2, 5), (1, 3), (1,)):
        numbers = [digit * power for power in _decades(low, high) for digit in digits]
        inside = [number for number in numbers if low * 0.999 <= number <= high * 1.001]
        if len(inside) <= most:
            return inside
    return inside[:: math.ceil(len(inside) / most)]


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

    >>> logarithmic([1.0, 100.0], 0.0, 10.0)(10.0)
    5.0
    """
    low, high = min(values), max(values)
    room = max((high / low) ** 0.08, 1.15)
    return Axis(low=low / room, high=high * room, start=start, end=end, logarithmic=True)


def linear(values: Sequence[float], start: float, end: float, *, room: float = 0.08) -> Axis:
    """An axis with some room around numbers."""
    low, high = min(values), max(values)
    space = (high - low) * room or max(abs(high) * room, 1e-9)
    return Axis(low=low - space, high=high + space, start=start, end=end)
