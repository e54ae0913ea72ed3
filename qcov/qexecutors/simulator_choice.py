"""Where a batch of circuits runs fastest: here, in threads, or in processes.

What a circuit costs is measured, not guessed: the first circuits of a kind run here, and what each
way took is remembered. Only a way that was never tried is estimated. Pure: no clock, no processes.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Literal

Way = Literal["here", "threads", "processes"]

_SENDING = 1e-4  # seconds for each circuit that goes to another process, as numbers
_SHARE_IN_PROCESSES = 0.75  #: of a worker that is gained
_SHARE_IN_THREADS = 0.3
_SLOWER = 0.1  #: weight of a measurement that is slower: mostly the machine was busy with others
#: A way that was not taken for long may have become faster, so that it is tried again.
_FORGET = 0.99
_MAX_KINDS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What there is to choose from.

    Args:
        workers: How many threads or processes.
        threads: Whether threads can help.
        processes: Whether processes can.
        start: Seconds until processes are ready; 0 once they have started.
    """

    workers: int
    threads: bool
    processes: bool
    start: float


@dataclass(slots=True)
class _Measured:
    """What a circuit costs by one way."""

    seconds: float
    unused: int = 0  #: batches since then that went another way

    @property
    def hoped(self) -> float:
        """What it may cost now."""
        return self.seconds * _FORGET**self.unused


class Costs:
    """What circuits cost, by kind and by way."""

    def __init__(self) -> None:
        self._measured: dict[Hashable, dict[Way, _Measured]] = {}
        self._missed = 0.0  #: seconds that warm processes would have saved

    def known(self, kind: Hashable) -> bool:
        """Whether circuits of this kind have run before."""
        return kind in self._measured

    def note(self, kind: Hashable, way: Way, seconds: float) -> None:
        """Remember how long each of some circuits took."""
        if len(self._measured) >= _MAX_KINDS:
            self._measured.clear()
        ways = self._measured.setdefault(kind, {})
        for measured in ways.values():
            measured.unused += 1
        before = ways[way].seconds if way in ways else seconds
        ways[way] = _Measured(min(seconds, before + _SLOWER * (seconds - before)))

    def choose(self, kind: Hashable, count: int, options: Options) -> Way:
        """The way that `count` circuits of a known kind should go."""
        totals = self._estimate(kind, count, options)
        if options.processes:
            totals["processes"] += options.start
        return min(totals, key=lambda way: totals[way])

    def should_start(self, kind: Hashable, count: int, options: Options) -> bool:
        """Whether processes should start for circuits to come; asked once for each batch.

        As those who rent skis should buy: once what was missed is as much as the price.
        """
        if not options.processes or not options.start:
            return False
        totals = self._estimate(kind, count, options)
        others = min(total for way, total in totals.items() if way != "processes")
        self._missed += max(0.0, others - totals["processes"])
        if self._missed < options.start:
            return False
        self._missed = 0.0
        return True

    def _estimate(self, kind: Hashable, count: int, options: Options) -> dict[Way, float]:
        """Seconds for all circuits by each way, if processes were warm."""
        measured = self._measured[kind]
        one = measured.get("here") or min(measured.values(), key=lambda way: way.seconds)
        busy = min(options.workers, count)
        guesses: dict[Way, float] = {"here": one.seconds}
        if options.threads:
            guesses["threads"] = one.seconds / (1 + _SHARE_IN_THREADS * (busy - 1))
        if options.processes:
            guesses["processes"] = one.seconds / max(1.0, _SHARE_IN_PROCESSES * busy) + _SENDING
        return {
            way: count * (measured[way].hoped if way in measured else guess)
            for way, guess in guesses.items()
        }
