"""The tables of the report. Pure: from rows to HTML, with everything escaped."""

from __future__ import annotations

from collections.abc import Sequence

from qcov_bench.backends import charts, figures, phases
from qcov_bench.backends.statistics import Estimate
from qcov_bench.backends.summary import Row
from qcov_bench.backends.svg import element, safe
from qcov_bench.backends.terminal import quality


def table(names: Sequence[str], rows: Sequence[Sequence[str]], *, words: int = 2) -> str:
    """A table of cells that are HTML already; the first `words` columns are left-aligned."""
    head = "".join(
        element("th", safe(name) or "&nbsp;", scope="col", class_=_class(place, words))
        for place, name in enumerate(names)
    )
    body = "".join(element("tr", *_cells(row, words)) for row in rows)
    inside = element("thead", element("tr", head)) + element("tbody", body)
    return element("div", element("table", inside), class_="wide")


def _cells(row: Sequence[str], words: int) -> list[str]:
    return [element("td", cell, class_=_class(at, words)) for at, cell in enumerate(row)]


def _class(place: int, words: int) -> str | None:
    return "words" if place < words else None


def everything(rows: Sequence[Row]) -> str:
    """All numbers."""
    names = ("circuit", "backend", "one call", "over bare", "circuits/s", "over bare", "quality")
    paid = any(row.usd for row in rows)
    return table(
        (*names, "USD") if paid else names,
        [
            (
                safe(row.case),
                safe(row.subject),
                _with_bounds(row.call) or ("failed" if row.errors else ""),
                _ratio(row.overhead),
                "" if row.throughput is None else safe(figures.rate(row.throughput.value)),
                _ratio(row.overhead_in_batch),
                safe(quality(row)),
                *([safe(figures.money(row.usd))] if paid else []),
            )
            for row in rows
        ],
    )


def _with_bounds(one: Estimate | None) -> str:
    if one is None:
        return ""
    bounds = f"{figures.time(one.low)} to {figures.time(one.high)}"
    tip = f"{bounds}, {100 * one.confidence:.0f} %, {one.count} samples"
    spread = element("small", safe(figures.spread(one)))
    return element("span", safe(figures.time(one.value)), " ", spread, title=tip)


def _ratio(one: Estimate | None) -> str:
    if one is None:
        return ""
    bounds = element("small", safe(f"{one.low:.2f}-{one.high:.2f}"))
    return f"{safe(f'{one.value:.2f}x')} {bounds}"


def where_time_goes(rows: Sequence[Row]) -> str:
    """The phases of one call on each executor; empty where none is known."""
    known = [row for row in rows if row.call is not None and any(row.phases.values())]
    if not known:
        return ""
    names = ("circuit", "backend", "", *phases.PHASES, "rest")
    return table(names, [_phases(row) for row in known])


def _phases(row: Row) -> list[str]:
    total = row.call.value if row.call is not None else 0.0
    seconds = {name: row.phases.get(name) for name in phases.PHASES}
    rest = max(0.0, total - sum(value or 0.0 for value in seconds.values()))
    whole = total if rest else sum(value or 0.0 for value in seconds.values())
    parts = [
        (f"p-{name}", value / whole, f"{name} {figures.time(value)}")
        for name, value in seconds.items()
        if value
    ]
    bar = charts.stack([*parts, ("p-rest", rest / whole, f"rest {figures.time(rest)}")])
    cells = [
        _unknown() if value is None else safe(figures.time(value)) for value in seconds.values()
    ]
    return [safe(row.case), safe(row.subject), bar, *cells, safe(figures.time(rest))]


def _unknown() -> str:
    return element("span", "unknown", class_="unknown")


def phase_legend() -> str:
    """What the colours of the bars mean."""
    told = [*phases.MEANING.items(), ("rest", "what is in none of these")]
    items = "".join(
        element(
            "li", element("i", "", class_=f"key p-{name}") or "", f"<b>{name}</b> {safe(meaning)}"
        )
        for name, meaning in told
    )
    return element("ul", items, class_="legend")


def gradients(rows: Sequence[Row]) -> str:
    """What derivatives cost; empty where none was measured."""
    told = [row for row in rows if row.gradient is not None]
    if not told:
        return ""
    names = ("circuit", "backend", "parameters", "circuits", "time", "per parameter", "per circuit")
    return table(names, [_gradient(row) for row in told])


def _gradient(row: Row) -> list[str]:
    one, circuits = row.gradient, row.gradient_circuits or 0
    seconds = 0.0 if one is None else one.value
    return [
        safe(row.case),
        safe(row.subject),
        f"{row.parameters}",
        f"{circuits}",
        _with_bounds(one),
        safe(figures.time(seconds / max(1, row.parameters))),
        safe(figures.time(seconds / max(1, circuits))),
    ]
