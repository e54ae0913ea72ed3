"""What a benchmark says: our time beside a yardstick's, taken in turns in one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from qcov import records


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One comparison. Times are medians in seconds, where `unit` says nothing else."""

    name: str
    ours: float
    theirs: float | None  #: None where the goal is a limit
    yardstick: str = ""  #: what `theirs` is
    limit: float | None = None  #: the goal: `ours` at most this many seconds
    ratio: float | None = None  #: the goal: `ours / theirs` at most this; none without both
    count: int = 1  #: how many things one time is for
    unit: str = "s"

    @property
    def met(self) -> bool:
        """True if the goal is met, or there is none."""
        if self.limit is not None:
            return self.ours <= self.limit
        return self.ratio is None or (
            self.theirs is not None and self.ours / self.theirs <= self.ratio
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A comparison that could not be made here."""

    name: str
    reason: str


def interleaved(
    ours: Callable[[], object], theirs: Callable[[], object], *, repeats: int
) -> tuple[float, float]:
    """Median seconds of both, measured in turns so that a slow moment meets both."""
    taken = medians({"ours": ours, "theirs": theirs}, repeats=repeats)
    return taken["ours"], taken["theirs"]


def medians(functions: Mapping[str, Callable[[], object]], *, repeats: int) -> dict[str, float]:
    """Median seconds of each, measured in turns so that a slow moment meets all."""
    return in_turns(
        {name: partial(seconds, function) for name, function in functions.items()}, repeats=repeats
    )


def in_turns(measures: Mapping[str, Callable[[], float]], *, repeats: int) -> dict[str, float]:
    """Medians of what each says, asked in turns."""
    times: dict[str, list[float]] = {name: [] for name in measures}
    order = list(measures.items())
    for _ in range(repeats):
        for name, measure in order:
            times[name].append(measure())
        order.reverse()  # who comes after whom matters too
    return {name: statistics.median(taken) for name, taken in times.items()}


def recorded(
    ours: Callable[[], object], theirs: Callable[[], object], *, repeats: int
) -> tuple[float, float]:
    """Median seconds of both, warm, with every circuit recorded."""
    with records.collecting() as sink:
        for function in (ours, theirs):
            function()
        taken = interleaved(ours, theirs, repeats=repeats)
        sink.drain()
    return taken


def in_a_row(function: Callable[[], object], count: int) -> float:
    """Median seconds of several calls in a row: of what is warm because it was just done."""
    return statistics.median(seconds(function) for _ in range(count))


def seconds(function: Callable[[], object]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start
