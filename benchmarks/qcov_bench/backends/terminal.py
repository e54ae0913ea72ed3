"""Tables for the terminal, and progress while it is measured."""

from __future__ import annotations

import io
import sys
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from qcov.inert import inert
from qcov_bench.backends import figures, summary
from qcov_bench.backends.journal import Line
from qcov_bench.backends.session import Tell
from qcov_bench.backends.statistics import CONFIDENCE
from qcov_bench.backends.summary import Row

_WIDTH = 150  #: a terminal that is narrower breaks the lines, rather than the words in a column
_COLUMNS = (
    "backend",
    "one call",
    "",
    "x bare",
    "in a batch",
    "x bare",
    "quality",
    "gradient",
    "USD",
)
_LONGEST = 160  #: characters of an error


def show(lines: Sequence[Line], console: Console | None = None) -> None:
    """Print what was measured, a table for each circuit, and what was not."""
    console = console or Console(width=max(Console().width, _WIDTH))
    rows = summary.rows(lines)
    for case in dict.fromkeys(row.case for row in rows):
        console.print(_table(case, [row for row in rows if row.case == case]))
    for line in notes(lines, rows):
        console.print(Text(inert(line)))


def text(lines: Sequence[Line]) -> str:
    """The same as plain text."""
    written = io.StringIO()
    show(lines, Console(file=written, width=_WIDTH))
    return written.getvalue()


def _table(case: str, rows: Iterable[Row]) -> Table:
    table = Table(title=Text(inert(case)), title_justify="left", title_style="bold", box=None)
    for place, name in enumerate(_COLUMNS):
        table.add_column(name, justify="right" if place else "left", no_wrap=place > 0)
    for row in rows:
        table.add_row(
            Text(inert(row.subject), style="" if row.role == "executor" else "dim"), *_cells(row)
        )
    return table


def _cells(row: Row) -> list[str]:
    call, each, gradient = row.call, row.throughput, row.gradient
    return [
        "failed" if call is None else figures.time(call.value),
        "" if call is None else figures.spread(call),
        "" if row.overhead is None else figures.times(row.overhead),
        "" if each is None else figures.rate(each.value),
        "" if row.overhead_in_batch is None else figures.times(row.overhead_in_batch),
        quality(row),
        ""
        if gradient is None
        else f"{figures.time(gradient.value)}, {row.gradient_circuits} circuits",
        figures.money(row.usd),
    ]


def quality(row: Row) -> str:
    """How good the values are: a fidelity, with that of a perfect device, or a deviation."""
    if row.fidelity is not None:
        limit = "" if row.limit in (None, 1.0) else f" of {figures.share(row.limit)}"
        return f"F {figures.share(row.fidelity.value)}{limit}"
    return "" if row.deviation is None else f"off by {figures.deviation(row.deviation.value)}"


def notes(lines: Sequence[Line], rows: Sequence[Row]) -> list[str]:
    """What the table does not say."""
    told: list[str] = []
    for subject, error, cases in summary.failures(rows):
        told.append(f"failed: {subject}, {summary.where(cases)}: {error:.{_LONGEST}}")
    for subject, reason, cases in summary.skipped(lines):
        of = summary.where(cases)
        told.append(f"not measured: {subject}{', ' if of else ''}{of}: {reason}")
    counts = [row.call for row in rows if row.call is not None]
    if counts and min(one.confidence for one in counts) < CONFIDENCE:
        least = min(counts, key=lambda one: one.confidence)
        told.append(
            f"Some intervals hold with {100 * least.confidence:.0f} % confidence only (samples: "
            f"{least.count}); 6 samples make it more than {100 * CONFIDENCE:.0f} %."
        )
    return told


@contextmanager
def progress() -> Generator[Tell]:
    """What tells how far it is, on standard error: a bar, or a line for each new thing."""
    if sys.stderr.isatty():
        with _bar() as bar:
            task = bar.add_task("", total=None)

            def tell(about: str, done: int, steps: int) -> None:
                bar.update(task, description=inert(about), completed=done, total=steps)

            yield tell
    else:
        yield _line_for_each()


def _bar() -> Progress:
    columns = (
        BarColumn(bar_width=24),
        TextColumn("{task.completed:.0f}/{task.total}"),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _line_for_each() -> Tell:
    seen: set[str] = set()

    def tell(about: str, done: int, steps: int) -> None:
        what = about.rpartition(": ")[0]  # the circuit
        if what not in seen:
            seen.add(what)
            print(f"measuring ({done}/{steps}): {inert(what)}", file=sys.stderr)

    return tell
