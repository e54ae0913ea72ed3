"""`qcov bench compare A B`: what became slower or worse."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from qcov.errors import CannotMeasure
from qcov.inert import inert
from qcov_bench.backends import figures, journal
from qcov_bench.backends.changes import PERHAPS, Change, Verdict, changes, circumstances
from qcov_bench.backends.journal import Content

_WIDTH = 150
_QUIET = (Verdict.NOISE, Verdict.TOO_FEW, Verdict.GONE, Verdict.NEW)
_GOOD = (Verdict.FASTER, Verdict.BETTER, Verdict.WORKS, Verdict.CHEAPER)


def main(arguments: Sequence[str], *, prog: str) -> None:
    """Print what has changed.

    Exits with 1 if an executor became slower or worse, with 2 if the files cannot be compared.
    """
    wanted = _parser(prog).parse_args(arguments)
    try:
        before, after = (_read(Path(path)) for path in (wanted.before, wanted.after))
    except CannotMeasure as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    found = changes(before.lines, after.lines, threshold=wanted.threshold / 100)
    if wanted.json:
        print(json.dumps([asdict(change) for change in found], indent=2))
    else:
        _show(found, circumstances(before.lines, after.lines), everything=wanted.all)
    sys.exit(any(change.is_regression for change in found))


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Say what became slower or worse between two results of `bench backends`.",
    )
    parser.add_argument("before", metavar="A", help="JSON lines of the earlier comparison")
    parser.add_argument("after", metavar="B", help="JSON lines of the later one")
    parser.add_argument(
        "--threshold", type=_percent, default=5.0, metavar="PERCENT",
        help="by which a time may change without being told (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--all", action="store_true", help="tell what has not changed, too")
    parser.add_argument("--json", action="store_true", help="print JSON for programs")
    return parser


def _percent(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of per cent, 0 or more")
    return value


def _read(path: Path) -> Content:
    content = journal.read(path)
    if content.damaged:
        lines = ", ".join(map(str, content.damaged[:5]))
        print(f"warning: {path}: left out, as damaged: line {lines}", file=sys.stderr)
    if not content.of_kind("sample"):
        advice = "Give what `bench backends --out` has written."
        raise CannotMeasure(what=f"the file {path}", reason="it has no results", advice=advice)
    return content


def _show(found: Sequence[Change], differences: Sequence[str], *, everything: bool) -> None:
    console = Console(width=max(Console().width, _WIDTH))
    if differences:
        console.print(Text(inert(f"measured otherwise: {'; '.join(differences)}")))
    shown = [change for change in found if everything or change.verdict not in _QUIET]
    if shown:
        console.print(_table(sorted(shown, key=lambda change: list(Verdict).index(change.verdict))))
    for line in _totals(found):
        console.print(Text(line))


def _table(found: Iterable[Change]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("", "backend", "circuit", "measure"):
        table.add_column(name)
    for name in ("before", "after", "ratio", "bare device", "chance"):
        table.add_column(name, justify="right", no_wrap=True)
    for change in found:
        color = "red" if change.is_regression else "green" if change.verdict in _GOOD else ""
        words = (change.subject, change.case, change.measure)
        table.add_row(
            Text(change.verdict, style=color),
            *(Text(inert(one)) for one in words),
            *_numbers(change),
        )
    return table


def _numbers(change: Change) -> list[str]:
    return [
        _value(change, change.before),
        _value(change, change.after),
        "" if change.ratio is None else figures.times(change.ratio),
        "" if change.bare is None else figures.times(change.bare),
        "" if change.chance is None else f"{change.chance:.2g}",
    ]


def _value(change: Change, value: float | None) -> str:
    if value is None:
        return ""
    if change.measure == "fidelity":
        return figures.share(value)
    if change.measure == "deviation":
        return figures.deviation(value)
    return f"{value:g}" if change.measure.startswith("circuits") else figures.time(value)


def _totals(found: Sequence[Change]) -> list[str]:
    counts = {verdict: sum(change.verdict is verdict for change in found) for verdict in Verdict}
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    worse = sum(change.is_regression for change in found)
    lines = [f"{len(found)} measurements: {told}."]
    if any(change.verdict in PERHAPS.values() for change in found):
        lines.append(
            "Perhaps: too few samples for so many comparisons; more repetitions will tell."
        )
    return [
        *lines,
        f"{worse} for the worse." if worse else "Nothing surely became slower or worse.",
    ]
