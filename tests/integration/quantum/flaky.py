"""Stands for the package `flaky`, which PennyLane's device suite imports to repeat failed tests.

All that it runs here is analytic: nothing may fail at times, so nothing is repeated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def flaky(*, max_runs: int) -> Callable[[T], T]:
    """A decorator that changes nothing."""
    return lambda tests: tests
