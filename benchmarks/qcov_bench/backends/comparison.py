"""`compare`: backends beside each other, from Python."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qcov.errors import CannotMeasure
from qcov.qexecutors.base import BaseQExecutor
from qcov_bench.backends import devices, families, plan, summary
from qcov_bench.backends.caps import Caps
from qcov_bench.backends.devices import DeviceSubject, Missing
from qcov_bench.backends.executors import executor_of, label_of
from qcov_bench.backends.journal import Journal, Line
from qcov_bench.backends.ours import ExecutorSubject
from qcov_bench.backends.procedure import Procedure
from qcov_bench.backends.session import Session, Tell
from qcov_bench.backends.subject import Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What was measured."""

    lines: tuple[Line, ...]

    @property
    def rows(self) -> list[summary.Row]:
        """A row for each backend and circuit."""
        return summary.rows(self.lines)

    def write_html(self, path: str | Path) -> None:
        """Write the report, one file that needs no other.

        Raises:
            CannotMeasure: The file cannot be written.
        """
        from qcov_bench.backends.report import html

        write(Path(path), html(self.lines))

    def write_plots(self, folder: str | Path) -> None:
        """Write each plot as a file of its own, in SVG; the folder is made if it is not there.

        Raises:
            CannotMeasure: The folder cannot be made, or a file cannot be written.
        """
        from qcov_bench.backends.plots import all_plots
        from qcov_bench.backends.report import standalone

        for name, drawn in all_plots(self.rows).items():
            write(Path(folder) / f"{name}.svg", standalone(drawn))

    def __str__(self) -> str:
        from qcov_bench.backends.terminal import text

        return text(self.lines)


def write(path: Path, content: str) -> None:
    """Write a file; `CannotMeasure` if that cannot be done."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    except OSError as error:
        raise _unwritable(path, str(error.strerror)) from error


def check_place(path: Path, *, folder: bool = False) -> None:
    """Say before hours of measuring that a report cannot be written there: `CannotMeasure`."""
    if path.exists() and path.is_dir() is not folder:
        raise _unwritable(path, "it is a file" if folder else "it is a folder")
    parent = path if folder else path.parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, str(error.strerror)) from error
    if not os.access(parent, os.W_OK):
        raise _unwritable(path, "nothing may be written there")


def _unwritable(path: Path, reason: str) -> CannotMeasure:
    return CannotMeasure(what=f"a report at {path}", reason=reason, advice="Give another path.")


def compare(
    executors: Sequence[BaseQExecutor | str],
    *,
    circuits: Sequence[str] = ("ghz", "qft", "qaoa", "vqe"),
    qubits: Sequence[int] = (4,),
    depths: Sequence[int | None] = (None,),
    shots: Sequence[int | None] = (None,),
    peers: Sequence[str] | None = None,
    procedure: Procedure | None = None,
    max_seconds: float | None = None,
    max_usd: float | None = None,
    unknown_price: bool = False,
    path: str | Path | None = None,
    tell: Tell | None = None,
) -> Comparison:
    """Measure executors and peers on the same circuits, in turns.

    Args:
        executors: Executors, or what `executors.executor_of` makes them of.
        circuits: Families of circuits; see `families.find`.
        qubits: Their sizes.
        depths: Their depths; None is what is usual in a family.
        shots: Their shots; None is analytic.
        peers: Names of PennyLane devices to measure besides, as `devices.peer` takes them. None
            takes the bare devices of the executors, and the devices of Qiskit and Braket.
        procedure: How it is measured.
        max_seconds: After so many seconds nothing new begins.
        max_usd: How much executors that cost something may cost together, in this run and in
            earlier ones with the same file.
        unknown_price: Whether executors run that do not know what they cost.
        path: A file of JSON lines: results are appended to it, and what stands there already is
            not measured again.
        tell: Is called with what is measured, and with how many more steps are done.

    Raises:
        CannotMeasure: Something that was asked for does not exist or cannot be; a ValueError.

    Example:
        >>> import qcov as ct
        >>> from qcov_bench.backends import Procedure, compare
        >>> found = compare(
        ...     [ct.executor.Simulator()], circuits=["ghz"], peers=[],
        ...     procedure=Procedure(repetitions=2, batch=3),
        ... )
        >>> [(row.family, row.wires, row.call.count) for row in found.rows]
        [('ghz', 4, 2)]
    """
    grid = plan.Grid(families=families.find(circuits), qubits=qubits, depths=depths, shots=shots)
    cases = plan.cases(grid)
    subjects, missing = subjects_of(executors, peers)
    caps = Caps(
        clock=time.monotonic, max_seconds=max_seconds, max_usd=max_usd, unknown_price=unknown_price
    )
    journal = Journal.open(None if path is None else Path(path))
    try:
        session = Session(
            cases=cases,
            subjects=subjects,
            missing=missing,
            procedure=procedure or Procedure(),
            caps=caps,
            journal=journal,
            **({} if tell is None else {"tell": tell}),
        )
        session.measure()
        return Comparison(lines=tuple(journal))
    finally:
        journal.close()


def subjects_of(
    executors: Sequence[BaseQExecutor | str], peers: Sequence[str] | None
) -> tuple[list[Subject], list[Missing]]:
    """Who is measured, and who cannot be: executors, their bare devices, peers."""
    made = [executor_of(one) if isinstance(one, str) else one for one in executors]
    if not made:
        advice = "Give at least one executor."
        raise CannotMeasure(what="a comparison", reason="there is no executor", advice=advice)
    bare = [_bare(executor) for executor in made]
    usual = [name for name in bare if name is not None] + list(devices.USUAL)
    found = [devices.peer(name) for name in dict.fromkeys(usual if peers is None else peers)]
    beside = {one.label for one in found if isinstance(one, DeviceSubject)}
    ours = [
        ExecutorSubject(executor=executor, label=label, bare=_beside(beside, name))
        for executor, label, name in zip(made, _labels(made, executors), bare, strict=True)
    ]
    others = [one for one in found if isinstance(one, DeviceSubject)]
    return [*ours, *others], [one for one in found if isinstance(one, Missing)]


def _beside(labels: set[str], name: str | None) -> str | None:
    label = devices.label_of(name or "")
    return label if label in labels else None


def _bare(executor: Any) -> str | None:
    names = [getattr(executor, name, None) for name in ("device", "backend")]
    device, backend = (name if isinstance(name, str) else None for name in names)
    return devices.bare_of(executor.name, device, backend)


def _labels(executors: Sequence[BaseQExecutor], given: Sequence[BaseQExecutor | str]) -> list[str]:
    """What people call executors: as they wrote them, or by class and device; each differently."""
    plain = [
        label_of(one, executor) if isinstance(one, str) else _label(executor)
        for executor, one in zip(executors, given, strict=True)
    ]
    return [
        label if plain.count(label) == 1 else f"{label} ({plain[: place + 1].count(label)})"
        for place, label in enumerate(plain)
    ]


def _label(executor: Any) -> str:
    names: Iterable[Any] = (getattr(executor, name, None) for name in ("device", "backend"))
    parts = [executor.name, *(name for name in names if isinstance(name, str) and name)]
    return ":".join(parts)
