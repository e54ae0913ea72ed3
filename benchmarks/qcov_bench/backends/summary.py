"""From lines to rows: what was measured of each backend on each circuit. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from qcov_bench.backends import phases, statistics
from qcov_bench.backends.journal import Line
from qcov_bench.backends.statistics import Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One backend on one case.

    Args:
        subject: The backend.
        role: "executor" or "peer".
        case: The case's key.
        family: The kind of circuit.
        wires: Its qubits.
        depth: Its depth; None where the family has none.
        shots: Its shots; None if analytic.
        call: Seconds of one call.
        circuit: Seconds for each circuit of a batch.
        overhead: The call's time over that of the bare device.
        overhead_in_batch: The same in a batch.
        phases: Where a call's time goes.
        fidelity: Of the distribution of a call; None for expectation values.
        limit: The fidelity of a perfect device with as many shots.
        deviation: How far the expectation value is from the exact one.
        gradient: Seconds of one gradient.
        gradient_circuits: How many circuits it takes.
        parameters: With respect to how many numbers.
        usd: What all samples cost together; None if nobody says.
        errors: Why something failed, or was not measured.
    """

    subject: str
    role: str
    case: str
    family: str
    wires: int
    depth: int | None
    shots: int | None
    call: Estimate | None = None
    circuit: Estimate | None = None
    overhead: Estimate | None = None
    overhead_in_batch: Estimate | None = None
    phases: phases.Phases = field(default_factory=dict)
    fidelity: Estimate | None = None
    limit: float | None = None
    deviation: Estimate | None = None
    gradient: Estimate | None = None
    gradient_circuits: int | None = None
    parameters: int = 0
    usd: float | None = None
    errors: tuple[str, ...] = ()

    @property
    def throughput(self) -> Estimate | None:
        """Circuits in a second, of those in a batch."""
        each = self.circuit
        if each is None or each.low <= 0:
            return None
        return Estimate(
            value=1 / each.value,
            low=1 / each.high,
            high=1 / each.low,
            confidence=each.confidence,
            count=each.count,
        )


Cells = Mapping[tuple[str, str, str], Sequence[Line]]  #: by subject, case and measure


def rows(lines: Iterable[Line]) -> list[Row]:
    """A row for each case and backend, in the order in which they were asked for."""
    lines = list(lines)
    asked = _standing(line for line in lines if line["kind"] in ("sample", "failure"))
    cells = by_cell(asked)
    groups: dict[tuple[str, str], list[Line]] = {}
    for line in asked:
        groups.setdefault((line["case"], line["subject"]), []).append(line)
    places = {case: place for place, case in enumerate(dict.fromkeys(case for case, _ in groups))}
    who = {subject: place for place, subject in enumerate(subjects(lines))}
    ordered = sorted(groups, key=lambda key: (places[key[0]], who.get(key[1], len(who))))
    return [_row(groups[key], cells) for key in ordered]


def subjects(lines: Iterable[Line]) -> list[str]:
    """The backends of all runs, in the order in which they were asked for."""
    runs = [line for line in lines if line["kind"] == "run"]
    return list(dict.fromkeys(one["subject"] for run in runs for one in run.get("subjects", ())))


def _standing(lines: Iterable[Line]) -> list[Line]:
    """The lines without failures of what has succeeded later."""
    kept: list[Line] = []
    better: set[str] = set()
    for line in reversed(list(lines)):
        if line["kind"] == "sample":
            better.add(line["cell"])
        elif line["cell"] in better:
            continue
        kept.append(line)
    return kept[::-1]


def by_cell(lines: Iterable[Line]) -> Cells:
    """Samples by subject, case and measure."""
    cells: dict[tuple[str, str, str], list[Line]] = {}
    for line in lines:
        if line["kind"] == "sample":
            key = (line["subject"], line["case"], line["measure"])
            cells.setdefault(key, []).append(line)
    return cells


def seconds(cell: Sequence[Line]) -> list[float]:
    """The times of a cell's samples."""
    return [line["seconds"] for line in cell]


def _row(lines: Sequence[Line], cells: Cells) -> Row:
    first = lines[0]
    subject, case, bare = first["subject"], first["case"], first.get("bare")

    def samples(measure: str, of: str = subject) -> Sequence[Line]:
        return cells.get((of, case, measure), ())

    calls, batches, gradients = samples("call"), samples("batch"), samples("gradient")
    return Row(
        subject=subject,
        role=str(first.get("role", "executor")),
        case=case,
        family=str(first.get("family", case)),
        wires=int(first.get("wires", 0)),
        depth=first.get("depth"),
        shots=first.get("shots"),
        call=_median(seconds(calls)),
        circuit=_each(batches),
        overhead=_over(calls, samples("call", bare)) if bare else None,
        overhead_in_batch=_over(batches, samples("batch", bare)) if bare else None,
        phases=phases.medians([line["phases"] for line in calls if line.get("phases")]),
        fidelity=_median(numbers(calls, "fidelity")),
        limit=next(iter(numbers(calls, "limit")), None),
        deviation=_median(numbers(calls, "deviation")),
        gradient=_median(seconds(gradients)),
        gradient_circuits=gradients[0]["circuits"] if gradients else None,
        parameters=int(first.get("parameters", 0)),
        usd=_sum(numbers(lines, "usd")),
        errors=tuple(
            dict.fromkeys(
                f"{line['measure']}: {line['error']}" for line in lines if line["kind"] == "failure"
            )
        ),
    )


def numbers(lines: Iterable[Line], name: str) -> list[float]:
    """What lines say of something, where they say it."""
    return [line[name] for line in lines if isinstance(line.get(name), int | float)]


def _median(samples: Sequence[float]) -> Estimate | None:
    return statistics.median(samples) if samples else None


def _each(batches: Sequence[Line]) -> Estimate | None:
    return _median([line["seconds"] / max(1, line["circuits"]) for line in batches])


def _over(ours: Sequence[Line], bare: Sequence[Line]) -> Estimate | None:
    return statistics.ratio(seconds(ours), seconds(bare))


def _sum(numbers: Sequence[float]) -> float | None:
    return sum(numbers) if numbers else None


def skipped(lines: Iterable[Line]) -> list[tuple[str, str, list[str]]]:
    """What the last run did not measure: backend, reason, and of which circuits."""
    found = [line for line in lines if line["kind"] in ("run", "skipped")]
    last = next((line.get("run") for line in reversed(found) if line["kind"] == "run"), None)
    told: dict[tuple[str, str], list[str]] = {}
    for line in found:
        if line["kind"] == "skipped" and line.get("run") == last:
            of = told.setdefault((line["subject"], line["reason"]), [])
            if line.get("case"):
                of.append(line["case"])
    return [(subject, reason, of) for (subject, reason), of in told.items()]


def failures(rows: Iterable[Row]) -> list[tuple[str, str, list[str]]]:
    """What has failed: backend, error, and on which circuits.

    Errors that differ in numbers only are told once, as the first of them.
    """
    told: dict[tuple[str, str], tuple[str, list[str]]] = {}
    for row in rows:
        for error in row.errors:
            measure, _, said = error.partition(": ")
            kind = (row.subject, _NUMBERS.sub("0", said))
            told.setdefault(kind, (said, []))[1].append(f"{row.case}: {measure}")
    return [(subject, said, cases) for (subject, _), (said, cases) in told.items()]


_NUMBERS = re.compile(r"\d+(\.\d+)?")


def where(cases: Sequence[str]) -> str:
    """One circuit by its name, several by their number.

    >>> [where(cases) for cases in ([], ["ghz: call"], ["ghz: call", "ghz: batch"])]
    ['', 'ghz: call', '2 measurements']
    """
    return f"{len(cases)} measurements" if len(cases) > 1 else "".join(cases)
