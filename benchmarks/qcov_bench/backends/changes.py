"""What has changed between two comparisons, and what only seems to. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeVar

import numpy as np

from qcov_bench.backends import machine, statistics, summary
from qcov_bench.backends.journal import Line
from qcov_bench.backends.statistics import Estimate

RATE = 0.05  #: of findings that are there by chance, at most
_LEAST = {"fidelity": 0.01, "deviation": 1e-6}  #: what counts as another value

Key = tuple[str, str, str]  #: subject, case, measure


class Verdict(StrEnum):
    """What became of a measurement."""

    SLOWER = "slower"
    WORSE = "worse values"
    DEARER = "more circuits"
    FAILS = "fails now"
    MACHINE = "slower, as the bare device"
    PERHAPS_SLOWER = "perhaps slower"
    PERHAPS_WORSE = "perhaps worse values"
    FASTER = "faster"
    BETTER = "better values"
    CHEAPER = "fewer circuits"
    WORKS = "works now"
    PERHAPS_FASTER = "perhaps faster"
    PERHAPS_BETTER = "perhaps better values"
    NOISE = "inside the noise"
    TOO_FEW = "too few samples to tell"
    GONE = "not measured any more"
    NEW = "not measured before"


REGRESSIONS = frozenset({Verdict.SLOWER, Verdict.WORSE, Verdict.DEARER, Verdict.FAILS})

#: What is a finding by itself, and not among as many comparisons as there are.
PERHAPS = {
    Verdict.SLOWER: Verdict.PERHAPS_SLOWER,
    Verdict.FASTER: Verdict.PERHAPS_FASTER,
    Verdict.WORSE: Verdict.PERHAPS_WORSE,
    Verdict.BETTER: Verdict.PERHAPS_BETTER,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One measurement, before and after.

    Args:
        subject: The backend.
        role: "executor" or "peer".
        case: The circuit.
        measure: What was measured: a call, a batch, a gradient, or a quality of a call's value.
        verdict: What became of it.
        before: The median before: seconds for a circuit, a fidelity, or a deviation.
        after: The same after.
        ratio: After over before, of times.
        bare: The same of the bare device.
        chance: How probable such a difference is if nothing has changed.
    """

    subject: str
    role: str
    case: str
    measure: str
    verdict: Verdict
    before: float | None = None
    after: float | None = None
    ratio: Estimate | None = None
    bare: Estimate | None = None
    chance: float | None = None

    @property
    def is_regression(self) -> bool:
        """Whether it is an executor's, and for the worse; peers' are not ours."""
        return self.role == "executor" and self.verdict in REGRESSIONS


def changes(
    before: Sequence[Line], after: Sequence[Line], *, threshold: float = 0.05
) -> list[Change]:
    """Every measurement of both, with a verdict.

    A time has changed if a Mann-Whitney test says so, with at most 5 % of such findings by chance
    over all measurements (Benjamini-Hochberg, executors and peers apart), if its bootstrap
    interval is clear of 1, and if the medians differ by more than `threshold`. What would be a
    finding if it were the only comparison has perhaps changed. An executor that has become slower
    by as much as its bare device has met another machine, or the same one in another mood.

    Args:
        before: Lines of the earlier comparison.
        after: Lines of the later one.
        threshold: The share of a time that does not count.
    """
    one, other = summary.by_cell(before), summary.by_cell(after)
    both = [key for key in one if key in other]
    found = _times(both, one, other, threshold) + _qualities(both, one, other)
    found += _counts(both, one, other)
    return found + _unpaired(before, after, one, other)


# -- times -------------------------------------------------------------------------------------


def _times(
    keys: Sequence[Key], one: summary.Cells, other: summary.Cells, threshold: float
) -> list[Change]:
    plain = {key: _timed(key, one[key], other[key]) for key in keys}
    clear = _clear(plain)
    told = {
        key: replace(change, verdict=_verdict(change, threshold, clear=key in clear))
        for key, change in plain.items()
    }
    told = {key: _weighed(change, one[key], other[key]) for key, change in told.items()}
    return [_beside_bare(told[key], told, other[key][0], threshold) for key in keys]


def _timed(key: Key, before: Sequence[Line], after: Sequence[Line]) -> Change:
    old, new = _each(before), _each(after)
    plain = _plain(key, after[0], statistics.differ(old, new), old, new)
    return replace(plain, ratio=statistics.ratio(new, old))


_At = TypeVar("_At")


def _clear(told: Mapping[_At, Change]) -> set[_At]:
    """Which differences are findings, among those of executors or among those of peers."""
    found: set[_At] = set()
    for role in {change.role for change in told.values()}:
        chances = {
            at: 1.0 if change.chance is None else change.chance
            for at, change in told.items()
            if change.role == role
        }
        found |= statistics.discoveries(chances, rate=RATE)
    return found


def _each(cell: Sequence[Line]) -> list[float]:
    return [line["seconds"] / max(1, line["circuits"]) for line in cell]


def _plain(
    key: Key, line: Line, chance: float, old: Sequence[float], new: Sequence[float]
) -> Change:
    subject, case, measure = key
    return Change(
        subject=subject,
        role=str(line.get("role", "executor")),
        case=case,
        measure=measure,
        verdict=Verdict.NOISE,
        before=float(np.median(old)),
        after=float(np.median(new)),
        chance=chance,
    )


def _verdict(change: Change, threshold: float, *, clear: bool) -> Verdict:
    ratio = change.ratio
    if ratio is None or (change.chance or 0.0) > RATE:
        return Verdict.NOISE
    if ratio.low > 1 and ratio.value > 1 + threshold:
        verdict = Verdict.SLOWER
    elif ratio.high < 1 and ratio.value < 1 / (1 + threshold):
        verdict = Verdict.FASTER
    else:
        return Verdict.NOISE
    return verdict if clear else PERHAPS[verdict]


def _weighed(change: Change, before: Sequence[Line], after: Sequence[Line]) -> Change:
    """The change; if samples are too few for any finding, it says that, not that there is none."""
    old, new = len(before), len(after)
    least = 2 / math.comb(old + new, old)  # the chance that all of one side are above the other
    no_finding = change.verdict is Verdict.NOISE and (change.chance or 0.0) > 0
    return replace(change, verdict=Verdict.TOO_FEW) if no_finding and least > RATE else change


def _beside_bare(
    change: Change, told: Mapping[Key, Change], line: Line, threshold: float
) -> Change:
    bare = told.get((str(line.get("bare")), change.case, change.measure))
    if bare is None or bare.ratio is None or change.ratio is None:
        return change
    change = replace(change, bare=bare.ratio)
    as_well = bare.verdict is change.verdict is Verdict.SLOWER
    if as_well and change.ratio.value / bare.ratio.value <= 1 + threshold:
        return replace(change, verdict=Verdict.MACHINE)
    return change


# -- values ------------------------------------------------------------------------------------


def _qualities(keys: Sequence[Key], one: summary.Cells, other: summary.Cells) -> list[Change]:
    told: dict[tuple[Key, str], Change] = {}
    for key in keys:
        for name in _LEAST:
            old, new = summary.numbers(one[key], name), summary.numbers(other[key], name)
            if old and new:
                line = other[key][0]  # without shots there is no chance in a value
                chance = statistics.differ(old, new) if line.get("shots") else 0.0
                told[key, name] = replace(_plain(key, line, chance, old, new), measure=name)
    clear = _clear(told)
    return [
        _weighed(_judged(change, clear=at in clear), one[at[0]], other[at[0]])
        for at, change in told.items()
    ]


def _judged(change: Change, *, clear: bool) -> Change:
    before, after = change.before or 0.0, change.after or 0.0
    differs = (change.chance or 0.0) <= RATE
    if not differs or abs(after - before) < _LEAST[change.measure]:
        return change
    up_is_good = change.measure == "fidelity"
    verdict = Verdict.BETTER if (after > before) == up_is_good else Verdict.WORSE
    return replace(change, verdict=verdict if clear else PERHAPS[verdict])


def _counts(keys: Sequence[Key], one: summary.Cells, other: summary.Cells) -> list[Change]:
    """Gradients that take another number of circuits: that is no matter of chance."""
    found: list[Change] = []
    for key in keys:
        old, new = one[key][-1]["circuits"], other[key][-1]["circuits"]
        if key[2] == "gradient" and old != new:
            plain = _plain(key, other[key][0], 0.0, [old], [new])
            verdict = Verdict.DEARER if new > old else Verdict.CHEAPER
            found.append(replace(plain, measure="circuits of a gradient", verdict=verdict))
    return found


# -- what is on one side only ------------------------------------------------------------------


def _unpaired(
    before: Sequence[Line], after: Sequence[Line], one: summary.Cells, other: summary.Cells
) -> list[Change]:
    was, now = _failures(before), _failures(after)
    fails = {key: line for key, line in now.items() if key in one and key not in other}
    works = {key: line for key, line in was.items() if key in other and key not in one}
    found = [_one_sided(key, line, Verdict.FAILS) for key, line in fails.items()]
    found += [_one_sided(key, line, Verdict.WORKS) for key, line in works.items()]
    for cells, others, known, verdict in (
        (one, other, now, Verdict.GONE),
        (other, one, was, Verdict.NEW),
    ):
        found += [
            _one_sided(key, cell[0], verdict)
            for key, cell in cells.items()
            if key not in others and key not in known
        ]
    return found


def _failures(lines: Sequence[Line]) -> dict[Key, Line]:
    return {
        (line["subject"], line["case"], line["measure"]): line
        for line in lines
        if line["kind"] == "failure"
    }


def _one_sided(key: Key, line: Line, verdict: Verdict) -> Change:
    subject, case, measure = key
    role = str(line.get("role", "executor"))
    return Change(subject=subject, role=role, case=case, measure=measure, verdict=verdict)


def circumstances(before: Sequence[Line], after: Sequence[Line]) -> list[str]:
    """How the machines and versions of two comparisons differ, in words."""
    one, other = (
        next((line for line in reversed(lines) if line["kind"] == "run"), None)
        for lines in (before, after)
    )
    if one is None or other is None:
        return []
    return [
        difference
        for name in ("machine", "versions", "procedure")
        for difference in machine.changed(one.get(name) or {}, other.get(name) or {})
    ]
