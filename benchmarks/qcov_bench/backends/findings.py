"""What a comparison comes to, in sentences. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from qcov_bench.backends import figures, summary
from qcov_bench.backends.journal import Line
from qcov_bench.backends.statistics import Estimate
from qcov_bench.backends.summary import Row

_WORSE = 0.02  #: of a fidelity, below that of a perfect device, before it is told


def findings(lines: Sequence[Line], rows: Sequence[Row]) -> list[str]:
    """The sentences that stand at the head of a report."""
    told = [*_overheads(rows), *_fastest(rows), *_fidelities(rows), *_money(rows)]
    missing = sum(max(1, len(cases)) for _, _, cases in summary.skipped(lines))
    if missing:
        told.append(f"{missing} measurements were not taken; see below.")
    failed = {row.subject for row in rows if row.errors}
    if failed:
        told.append(f"Something has failed on {', '.join(sorted(failed))}; see below.")
    return told or ["Nothing was measured."]


def _overheads(rows: Sequence[Row]) -> Iterable[str]:
    for name in dict.fromkeys(row.subject for row in rows if row.role == "executor"):
        own = [row for row in rows if row.subject == name]
        calls = [row.overhead for row in own if row.overhead is not None]
        batches = [row.overhead_in_batch for row in own if row.overhead_in_batch is not None]
        if calls:
            batch = f", and {_middle(batches)} for a circuit of a batch" if batches else ""
            yield (
                f"{name} takes {_middle(calls)} the time of its bare device for one call{batch} "
                f"({_clear(calls)})."
            )


def _middle(ratios: Sequence[Estimate]) -> str:
    """Their geometric mean, and the least and the largest of them."""
    values = [one.value for one in ratios]
    mean = math.exp(math.fsum(map(math.log, values)) / len(values))
    between = f" (from {min(values):.2f} to {max(values):.2f})" if len(values) > 1 else ""
    return f"{mean:.2f} times{between}"


def _clear(ratios: Sequence[Estimate]) -> str:
    """On how many circuits it is surely more, and surely less."""
    more = sum(one.low > 1 for one in ratios)
    less = sum(one.high < 1 for one in ratios)
    rest = len(ratios) - more - less
    return f"surely faster on {less}, surely slower on {more}, within the noise on {rest}"


def _fastest(rows: Sequence[Row]) -> Iterable[str]:
    yield from _winner(rows, "one call", lambda row: row.call)
    yield from _winner(rows, "many circuits at once", lambda row: row.circuit)


def _winner(rows: Sequence[Row], what: str, of: Callable[[Row], Estimate | None]) -> Iterable[str]:
    won: dict[str, int] = {}
    cases = dict.fromkeys(row.case for row in rows)
    contested = 0
    for case in cases:
        taken = {row.subject: one.value for row in rows if row.case == case and (one := of(row))}
        if len(taken) > 1:
            contested += 1
            best = min(taken, key=lambda name: taken[name])
            won[best] = won.get(best, 0) + 1
    if contested:
        ranking = sorted(won.items(), key=lambda item: -item[1])
        told = ", ".join(f"{name} on {count}" for name, count in ranking)
        yield f"The shortest median for {what}, of {contested} circuits: {told}."


def _fidelities(rows: Sequence[Row]) -> Iterable[str]:
    for name in dict.fromkeys(row.subject for row in rows):
        low = [
            row
            for row in rows
            if row.subject == name
            and row.fidelity is not None
            and row.fidelity.value < (row.limit or 1.0) - _WORSE
        ]
        if low:
            worst = min(low, key=lambda row: row.fidelity.value if row.fidelity else 1.0)
            value = figures.share(worst.fidelity.value) if worst.fidelity else ""
            yield (
                f"{name} stays more than {_WORSE:g} below the fidelity of a perfect device on "
                f"{len(low)} circuits; the least is {value} ({worst.case})."
            )


def _money(rows: Sequence[Row]) -> Iterable[str]:
    paid: dict[str, float] = {}
    for row in rows:
        if row.usd:
            paid[row.subject] = paid.get(row.subject, 0.0) + row.usd
    for name, usd in paid.items():
        yield f"{name} has cost {figures.money(usd)} USD."
