"""Measuring: the one place here that runs circuits, looks at clocks and writes lines."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from qcov.errors import CannotMeasure
from qcov.records import error_text
from qcov_bench.backends import money, plan
from qcov_bench.backends.caps import Caps
from qcov_bench.backends.cells import Bench, Cell
from qcov_bench.backends.devices import Missing
from qcov_bench.backends.journal import Journal, Line
from qcov_bench.backends.ledger import Ledger
from qcov_bench.backends.machine import changed, machine, versions
from qcov_bench.backends.plan import Case, Measure
from qcov_bench.backends.procedure import Procedure
from qcov_bench.backends.subject import Run, Runner, Subject

Tell = Callable[[str, int, int], None]  #: what is measured now, steps that are done, of how many

_TIME_IS_UP = "the time is up (max_seconds)"


def _quiet(_text: str, _done: int, _steps: int) -> None:
    pass


@dataclass(kw_only=True)
class Session:
    """One run over all cases; what stands in the journal already is not measured again."""

    cases: Sequence[Case]
    subjects: Sequence[Subject]
    missing: Sequence[Missing]
    procedure: Procedure
    caps: Caps
    journal: Journal
    tell: Tell = _quiet
    _run: str = field(default_factory=lambda: secrets.token_hex(4))
    _ledger: Ledger = field(default_factory=Ledger)
    _done: int = 0  #: steps
    _steps: int = 0

    def measure(self) -> None:
        """Measure what is not measured yet.

        Raises:
            CannotMeasure: The journal has results that these may not be mixed with.
        """
        self._check_origin()
        self._ledger = Ledger.of(self.journal.content, retry=self.procedure.retry)
        before = money.spent(self.journal.content.lines)
        self.caps.usd += before
        self._begin()
        benches = list(self._benches())
        each = len(self.subjects) * self.procedure.repetitions
        self._steps = each * sum(len(bench.measures) for bench in benches)
        for bench in benches:
            with ExitStack() as opened:
                for measure in bench.measures:
                    self._measure_all(bench, measure, opened)
        usd = self.caps.usd - before
        self.journal.append("end", run=self._run, ended=time.time(), usd=usd)

    # -- what belongs to the whole run ---------------------------------------------------------

    def _check_origin(self) -> None:
        now = self._origin()
        for line in self.journal.content.of_kind("run"):
            differences = [
                difference
                for name, value in now.items()
                for difference in changed(line.get(name) or {}, value)
            ]
            differences += self._other_settings(line)
            if differences:
                raise CannotMeasure(
                    what="going on with this file",
                    reason=f"its results were measured otherwise: {'; '.join(differences[:3])}",
                    advice="Give another path for the results.",
                )

    def _other_settings(self, run: Line) -> list[str]:
        """Which subjects have other settings than in an earlier run."""
        before = {one["subject"]: one.get("identity") for one in run.get("subjects", ())}
        return [
            f"{one.label} has other settings now"
            for one in self.subjects
            if before.get(one.label, one.identity) != one.identity
        ]

    def _origin(self) -> dict[str, Mapping[str, object]]:
        """All that must be the same in runs that share a file; new subjects may come."""
        return {
            "machine": machine(),
            "versions": versions(),
            "procedure": {"batch": self.procedure.batch, "seed": self.procedure.seed},
        }

    def _begin(self) -> None:
        self.journal.append(
            "run",
            run=self._run,
            started=time.time(),
            **self._origin(),
            repetitions=self.procedure.repetitions,
            warm_up=self.procedure.warm_up,
            subjects=[
                {"subject": one.label, "role": one.role, "bare": one.bare, "identity": one.identity}
                for one in self.subjects
            ],
        )
        for missing in self.missing:
            self._skip(missing.label, missing.reason)

    def _skip(self, subject: str, reason: str, *, case: str | None = None) -> None:
        self.journal.append("skipped", run=self._run, subject=subject, reason=reason, case=case)

    def _benches(self) -> Iterator[Bench]:
        for case in self.cases:
            try:
                workload = case.family.build(case.wires, case.depth, self.procedure.seed)
            except CannotMeasure as error:
                self._skip("all", str(error), case=case.key)
            else:
                yield Bench(case=case, workload=workload, procedure=self.procedure)

    # -- one measure of one case ---------------------------------------------------------------

    def _measure_all(self, bench: Bench, measure: Measure, opened: ExitStack) -> None:
        """Take all turns, each subject once in a turn."""
        cells = {
            subject.label: Cell(bench=bench, measure=measure, subject=subject)
            for subject in self.subjects
        }
        runners: dict[str, Runner] = {}
        for label, cell in cells.items():
            runner = self._ready(cell, opened)
            if runner is not None:
                runners[label] = runner
        for turn in range(self.procedure.repetitions):
            for label in self._order(cells, bench.case, measure, turn):
                if label in runners and not self._take(cells[label], runners[label], turn):
                    del runners[label]
                self._step(cells[label].about)

    def _order(
        self, labels: Mapping[str, Cell], case: Case, measure: Measure, turn: int
    ) -> list[str]:
        seed = self.procedure.seed
        return plan.order(list(labels), case=case.key, measure=measure, turn=turn, seed=seed)

    def _step(self, about: str, steps: int = 1) -> None:
        self._done += steps
        self.tell(about, self._done, self._steps)

    def _ready(self, cell: Cell, opened: ExitStack) -> Runner | None:
        """What runs the cell's circuits, after its warm-up; None if nothing is left or possible."""
        if self._ledger.is_done(cell.key, self.procedure):
            return None
        try:
            if not self._may(cell):
                return None
            runner = cell.bench.runner(cell.subject, opened)
            for number in range(self.procedure.warm_up):
                if number and not self._may(cell):
                    return None
                self._step(f"{cell.about}, warm-up", 0)
                self._run_once(cell, runner)
        except Exception as error:  # noqa: BLE001  # whatever a backend raises is its result
            self._failed(cell, error)
            return None
        return runner

    def _may(self, cell: Cell) -> bool:
        """Whether the cell may run (once more); if not, a line says why."""
        refusal = cell.subject.refusal(cell.bench.case.shots)
        if refusal is None:
            up = self.caps.time_is_up
            refusal = _TIME_IS_UP if up else self.caps.refusal(cell.estimate)
        if refusal is not None:
            case = f"{cell.bench.case.key}: {cell.measure}"
            self._skip(cell.subject.label, refusal, case=case)
        return refusal is None

    def _take(self, cell: Cell, runner: Runner, turn: int) -> bool:
        """Take one turn of a cell; whether it may have more."""
        if self._ledger.is_done(cell.key, self.procedure):
            return False
        if self._ledger.has(cell.key, turn):
            return True
        try:
            if not self._may(cell):
                return False
            self._write(cell, self._run_once(cell, runner), turn)
        except Exception as error:  # noqa: BLE001  # whatever a backend raises is its result
            self._failed(cell, error)
            return False
        return True

    def _write(self, cell: Cell, run: Run, turn: int) -> None:
        judged = cell.judged(run)
        self.journal.append(
            "sample",
            run=self._run,
            **cell.asked,
            turn=turn,
            circuits=run.circuits,
            seconds=run.seconds,
            phases=run.phases,
            usd=run.usd,
            **judged,
        )
        self._ledger.add(cell.key, turn, run.seconds)

    def _run_once(self, cell: Cell, runner: Runner) -> Run:
        estimate = cell.estimate
        if estimate:
            self.journal.append("reserved", run=self._run, cell=cell.key, usd=estimate)
        try:
            run = cell.run(runner)
        except BaseException:
            self._spend(cell, None)  # it may have cost what it was expected to
            raise
        self._spend(cell, run.usd)
        return run

    def _spend(self, cell: Cell, actual: float | None) -> None:
        usd = self.caps.spend(actual, cell.estimate)
        if usd or cell.estimate:
            self.journal.append("spent", run=self._run, cell=cell.key, usd=usd)

    def _failed(self, cell: Cell, error: Exception) -> None:
        self.journal.append("failure", run=self._run, **cell.asked, error=error_text(error)[:2000])
