"""Which executors of circuits are left alone just now, as the workers say."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from qcov.classical.engine.channel import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenBreaker:
    """A circuit breaker that is open in a worker."""

    executor: str
    device: str | None
    until: float  #: seconds since the epoch; then the executor is tried again
    reason: str


class Breakers:
    """The open circuit breakers of an engine's workers; one that is over closes by itself.

    Args:
        clock: The time in seconds since the epoch.

    >>> breakers = Breakers(lambda: 10.0)
    >>> about = {"executor": "IBMQExecutor", "device": "ibm_torino", "reason": "no answer"}
    >>> breakers.note(1, {**about, "pause": 30.0})
    >>> [breaker.until for breaker in breakers.open()]
    [40.0]
    >>> breakers.note(1, {**about, "pause": None})
    >>> breakers.open()
    []
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._open: dict[tuple[int | None, str, str | None], OpenBreaker] = {}

    def note(self, worker: int | None, told: Message) -> None:
        """A worker has told of one of its breakers."""
        now, pause = self._clock(), told["pause"]
        key = (worker, told["executor"], told["device"])
        left = {at: one for at, one in self._open.items() if one.until > now and at != key}
        if pause is not None:
            left[key] = OpenBreaker(
                executor=told["executor"], device=told["device"], until=now + pause,
                reason=str(told["reason"]),
            )  # fmt: skip
        self._open = left

    def open(self) -> list[OpenBreaker]:
        """Those that are open, the one that stays so for longest first; any thread may ask."""
        now = self._clock()
        left = [one for one in self._open.values() if one.until > now]
        return sorted(left, key=lambda one: -one.until)
