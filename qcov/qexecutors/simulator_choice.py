"""Where a batch of circuits runs fastest: here, in threads, or in processes.

What a circuit costs is measured, not guessed: the first circuits of a kind run here, and what each
way took is remembered. Only a way that was never tried is estimated. Pure: no clock, no processes.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Literal

Way = Literal["here", "threads", "processes"]

#: What starting worker processes costs: PennyLane is imported once more.
START = 2.0  # seconds
_SENDING = 3e-4  # seconds for each circuit that goes to another process
_SHARE_IN_PROCESSES = 0.8  #: of a worker that is gained
_SHARE_IN_THREADS = 0.3
_NEWEST = 0.5  #: weight of the last measurement
#: What was measured long ago counts a little less each time, so that it is measured again.
_FORGET = 0.99
_MAX_KINDS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What there is to choose from.

    Args:
        workers: How many threads or processes.
        threads: Whether threads can help.
        processes: Whether processes can.
        warm: Whether processes have started.
    """

    workers: int
    threads: bool
    processes: bool
    warm: bool


class Costs:
    """What circuits cost, by kind and by way."""

    def __init__(self) -> None:
        self._seconds: dict[Hashable, dict[Way, float]] = {}
        self._missed = 0.0  #: seconds that warm processes would have saved

    def known(self, kind: Hashable) -> bool:
        """Whether circuits of this kind have run before."""
        return kind in self._seconds

    def note(self, kind: Hashable, way: Way, seconds: float) -> None:
        """Remember how long each of some circuits took."""
        if len(self._seconds) >= _MAX_KINDS:
            self._seconds.clear()
        ways = self._seconds.setdefault(kind, {})
        for other in ways:
            ways[other] *= _FORGET
        before = ways.get(way, seconds)
        ways[way] = before + _NEWEST * (seconds - before)

    def choose(self, kind: Hashable, count: int, options: Options) -> Way:
        """The way that `count` circuits of a known kind should go."""
        totals = self._estimate(self._seconds[kind], count, options)
        if options.processes and not options.warm:
            totals["processes"] += START
        return min(totals, key=lambda way: totals[way])

    def should_start(self, kind: Hashable, count: int, options: Options) -> bool:
        """Whether processes should start for circuits to come; asked once for each batch.

        As those who rent skis should buy: once what was missed is as much as the price.
        """
        totals = self._estimate(self._seconds[kind], count, options)
        if not options.processes or options.warm:
            return False
        others = min(total for way, total in totals.items() if way != "processes")
        self._missed += max(0.0, others - totals["processes"])
        if self._missed < START:
            return False
        self._missed = 0.0
        return True

    def _estimate(
        self, measured: Mapping[Way, float], count: int, options: Options
    ) -> dict[Way, float]:
        """Seconds for all circuits by each way, if processes were warm."""
        here = measured.get("here") or min(measured.values())
        busy = min(options.workers, count)
        guesses: dict[Way, float] = {"here": here}
        if options.threads:
            guesses["threads"] = here / (1 + _SHARE_IN_THREADS * (busy - 1))
        if options.processes:
            guesses["processes"] = here / max(1.0, _SHARE_IN_PROCESSES * busy) + _SENDING
        return {way: count * measured.get(way, guess) for way, guess in guesses.items()}
