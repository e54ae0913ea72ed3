"""The report: one HTML file that needs no other, for screens by day and night, and for paper."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from qcov.version import __version__
from qcov_bench.backends import charts, plots, summary, tables
from qcov_bench.backends.families import STANDARD
from qcov_bench.backends.findings import findings
from qcov_bench.backends.journal import Line
from qcov_bench.backends.statistics import CONFIDENCE
from qcov_bench.backends.summary import Row
from qcov_bench.backends.svg import element, picture, safe

_TITLE = "Quantum backends beside each other"
_FOLDER = Path(__file__).parent
_METHOD = """\
Each measurement was taken {repetitions} times at most, after {warm_up} that are not counted. All \
backends take turns, in an order that is drawn anew for each turn (seed {seed}), so that a slow \
moment of the machine meets all of them. Batches have {batch} circuits.

Times are medians with intervals from order statistics, which hold with at least {confidence} \
where there are 6 samples or more (Hahn and Meeker, Statistical Intervals, 1991). Ratios are of \
medians, with percentile bootstrap intervals (Efron and Tibshirani, An Introduction to the \
Bootstrap, 1993).

The Hellinger fidelity is (sum sqrt(p q))^2 of the distribution that was found and the exact one; \
deviations are of expectation values. What a perfect device reaches with as many shots is found by \
drawing from the exact distribution."""


def html(lines: Sequence[Line]) -> str:
    """The whole page."""
    rows = summary.rows(lines)
    style = "".join(_style(name) for name in ("plot.css", "report.css"))
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{_TITLE}</title><style>{style}</style>"
    )
    body = "".join(_sections(lines, rows))
    page = element("head", head) + element("body", element("main", body))
    return f"<!DOCTYPE html>\n{element('html', page, lang='en')}\n"


def standalone(drawn: str) -> str:
    """A plot as a file of its own."""
    return drawn.replace(">", f"><style>{_style('plot.css')}</style>", 1)


def _style(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _sections(lines: Sequence[Line], rows: Sequence[Row]) -> Iterable[str]:
    yield _header(lines, rows)
    yield _section(
        "In short", element("ul", *(element("li", safe(one)) for one in findings(lines, rows)))
    )
    if rows:
        yield _legend(rows)
    yield _figures(
        "One call", rows, plots.CALL, "Seconds until the caller has the value; less is better."
    )
    yield _figures(
        "Many at once", rows, plots.BATCH, "Circuits that are handed over together; more is better."
    )
    yield _section("Over the bare device", _overhead(rows))
    yield _section("Where a call's time goes", _where(rows))
    yield _section("How good the values are", plots.fidelity(rows) and _fidelity(rows))
    yield _section("Gradients", tables.gradients(rows) and _gradients(rows))
    yield _section("All numbers", tables.everything(rows) if rows else "")
    yield _section("What was not measured", _not_measured(lines, rows))
    yield _section("How it was measured", _method(lines, rows))


def _section(title: str, content: str) -> str:
    return element("section", element("h2", safe(title)), content) if content else ""


def _header(lines: Sequence[Line], rows: Sequence[Row]) -> str:
    runs = [line for line in lines if line["kind"] == "run"]
    machine: Mapping[str, Any] = runs[-1]["machine"] if runs else {}
    when = " to ".join(dict.fromkeys(_days(runs)))
    samples = sum(line["kind"] == "sample" for line in lines)
    facts = (
        f"{len({row.subject for row in rows})} backends",
        f"{len({row.case for row in rows})} circuits",
        f"{samples:,} samples",
        f"{machine.get('processor', '')}, {machine.get('cores', '?')} cores",
        when,
    )
    words = " · ".join(safe(fact) for fact in facts if fact)
    return element("header", element("h1", _TITLE), element("p", words, class_="facts"))


def _days(runs: Iterable[Line]) -> list[str]:
    moments = sorted(run["started"] for run in runs if isinstance(run.get("started"), int | float))
    ends = [*moments[:1], *moments[-1:]]
    return [datetime.fromtimestamp(one, UTC).strftime("%Y-%m-%d") for one in ends]


def _legend(rows: Sequence[Row]) -> str:
    roles = {row.subject: row.role for row in rows}
    items = [
        element("li", _key(place), safe(name), " ", element("small", _role(roles[name])))
        for name, place in plots.places(rows).items()
    ]
    return element("ul", *items, class_="legend backends")


def _key(place: int) -> str:
    return picture(16.0, 14.0, "", charts.marker(place, 8.0, 7.0, ""))


def _role(role: str) -> str:
    return "" if role == "executor" else "without qcov"


def _figures(title: str, rows: Sequence[Row], quantity: plots.Quantity, about: str) -> str:
    drawn = plots.by_circuit(rows, quantity)
    if not drawn:
        return ""
    return _section(title, element("p", safe(about)) + _side_by_side(drawn))


def _overhead(rows: Sequence[Row]) -> str:
    drawn = plots.overhead(rows)
    about = (
        "The line is the bare PennyLane device: left of it, an executor is faster. Whiskers that "
        "cross the line are no difference."
    )
    return element("p", safe(about)) + _side_by_side(drawn) if drawn else ""


def _side_by_side(drawn: Mapping[str, str]) -> str:
    return element("div", *(element("figure", one) for one in drawn.values()), class_="figures")


def _where(rows: Sequence[Row]) -> str:
    told = tables.where_time_goes(rows)
    return tables.phase_legend() + told if told else ""


def _fidelity(rows: Sequence[Row]) -> str:
    return element("figure", plots.fidelity(rows))


def _gradients(rows: Sequence[Row]) -> str:
    about = (
        "By parameter shifts. Circuits are those that PennyLane hands over; a backend that has to "
        "split one runs more."
    )
    return element("p", safe(about)) + tables.gradients(rows)


def _not_measured(lines: Sequence[Line], rows: Sequence[Row]) -> str:
    told = [*summary.failures(rows), *summary.skipped(lines)]
    cells = [
        (safe(subject), safe(summary.where(cases)), safe(f"{reason:.400}"))
        for subject, reason, cases in told
    ]
    return tables.table(("backend", "what", "why"), cells, words=3) if cells else ""


def _method(lines: Sequence[Line], rows: Sequence[Row]) -> str:
    run = next((line for line in reversed(lines) if line["kind"] == "run"), None)
    if run is None:
        return ""
    procedure = run.get("procedure") or {}
    paragraphs = _METHOD.format(
        repetitions=run.get("repetitions"),
        warm_up=run.get("warm_up"),
        seed=procedure.get("seed"),
        batch=procedure.get("batch"),
        confidence=f"{100 * CONFIDENCE:.0f} %",
    ).split("\n\n")
    about = "".join(element("p", safe(words)) for words in paragraphs)
    return about + _facts(run) + _sources(rows)


def _facts(run: Line) -> str:
    threads = run["machine"].get("threads") or {}
    facts = {**run["machine"], "threads": "", **threads, **run["versions"]}
    cells = [
        (safe(name), safe(value)) for name, value in facts.items() if value not in (None, {}, "")
    ]
    made = element("p", safe(f"Written by qcov {__version__}."))
    return tables.table(("machine and versions", ""), cells) + made


def _sources(rows: Sequence[Row]) -> str:
    used = {row.family for row in rows}
    items = [
        element(
            "li",
            element("b", safe(family.name)),
            " ",
            safe(" ".join((family.build.__doc__ or "").split())),
        )
        for family in STANDARD
        if family.name in used
    ]
    return element("h3", "The circuits") + element("ul", *items) if items else ""
