"""How much time and money may be spent: what is next is asked for before it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

_UNKNOWN = "nobody knows what it costs: allow that (unknown_price), or write its price down"


@dataclass(slots=True, kw_only=True)
class Caps:
    """Limits of a whole comparison, and what is spent of them.

    Args:
        clock: Seconds since some moment.
        max_seconds: After so many nothing new begins; None for no limit.
        max_usd: What executors say that they will cost may add up to so much; None allows none
            that cost something.
        unknown_price: Whether what has a price that nobody knows may run. It counts as nothing
            until somebody says what it has cost.
        usd: What is spent.
    """

    clock: Callable[[], float]
    max_seconds: float | None = None
    max_usd: float | None = None
    unknown_price: bool = False
    usd: float = 0.0
    _since: float = field(init=False)

    def __post_init__(self) -> None:
        self._since = self.clock()

    @property
    def time_is_up(self) -> bool:
        """Whether nothing new may begin."""
        return self.max_seconds is not None and self.clock() - self._since >= self.max_seconds

    def refusal(self, estimate: float | None) -> str | None:
        """Why something that is expected to cost so much may not run; None if it may.

        >>> Caps(clock=lambda: 0.0, max_usd=1.0, usd=0.9).refusal(0.25)
        'it may cost 0.25 USD, and 0.10 of 1.00 are left'
        >>> Caps(clock=lambda: 0.0).refusal(0.25)
        'it may cost 0.25 USD: say how much may be spent (max_usd)'
        """
        if estimate == 0:
            return None
        if estimate is None:
            return None if self.unknown_price else _UNKNOWN
        if self.max_usd is None:
            return f"it may cost {estimate:.2f} USD: say how much may be spent (max_usd)"
        left = self.max_usd - self.usd
        if estimate <= left:
            return None
        return f"it may cost {estimate:.2f} USD, and {left:.2f} of {self.max_usd:.2f} are left"

    def spend(self, actual: float | None, estimate: float | None) -> float:
        """Count what has run: what it cost, or what it was expected to where nobody says."""
        usd = (estimate or 0.0) if actual is None else actual
        self.usd += usd
        return usd
