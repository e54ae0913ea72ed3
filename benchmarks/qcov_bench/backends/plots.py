"""Which plots there are of a comparison. Pure: from rows to pictures by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from qcov_bench.backends import charts, figures
from qcov_bench.backends.charts import Dot, Point, Series
from qcov_bench.backends.statistics import Estimate
from qcov_bench.backends.summary import Row

Places = Mapping[str, int]  #: of each backend, which decides about its colour

_AXIS = "qubits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """Something that every row may have."""

    name: str
    of: Callable[[Row], Estimate | None]
    show: Callable[[float], str]
    tick: Callable[[float], str]  #: the same for round numbers


def _rounded(per_second: float) -> str:
    return f"{per_second:,g}/s"


CALL = Quantity(name="call", of=lambda row: row.call, show=figures.time, tick=figures.tick)
BATCH = Quantity(name="batch", of=lambda row: row.throughput, show=figures.rate, tick=_rounded)
GRADIENT = Quantity(
    name="gradient", of=lambda row: row.gradient, show=figures.time, tick=figures.tick
)


def places(rows: Sequence[Row]) -> Places:
    """The backends, numbered in order."""
    names = dict.fromkeys(
        row.subject for row in sorted(rows, key=lambda row: row.role != "executor")
    )
    return {name: place for place, name in enumerate(names)}


def all_plots(rows: Sequence[Row]) -> dict[str, str]:
    """Every plot by a name that a file may have."""
    drawn: dict[str, str] = {}
    for quantity in (CALL, BATCH, GRADIENT):
        drawn |= by_circuit(rows, quantity)
    quality = fidelity(rows)
    return drawn | overhead(rows) | ({"quality": quality} if quality else {})


def by_circuit(rows: Sequence[Row], quantity: Quantity) -> dict[str, str]:
    """A plot for each kind of circuit: curves over qubits, or dots where there is one size."""
    where = places(rows)
    drawn: dict[str, str] = {}
    for title, group in _groups(rows).items():
        told = [(row, estimate) for row in group if (estimate := quantity.of(row)) is not None]
        if not told:
            continue
        several = len({row.wires for row, _ in told}) > 1
        draw = _curves if several else _dots
        drawn[f"{quantity.name}-{_file_name(title)}"] = draw(title, told, quantity, where)
    return drawn


def _groups(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows that differ in their size only; depths that go with the size are no difference."""
    depths: dict[tuple[str, int], set[int | None]] = {}
    for row in rows:
        depths.setdefault((row.family, row.wires), set()).add(row.depth)
    several = {family for (family, _), found in depths.items() if len(found) > 1}
    groups: dict[str, list[Row]] = {}
    for row in rows:
        depth = f", depth {row.depth}" if row.family in several else ""
        groups.setdefault(f"{row.family}{depth}, {shots(row)}", []).append(row)
    return groups


def shots(row: Row) -> str:
    """The shots of a row in words."""
    return "analytic" if row.shots is None else f"{row.shots:,} shots"


def _file_name(title: str) -> str:
    return re.sub(r"[^\w.-]+", "-", title).strip("-.")


_Told = Sequence[tuple[Row, Estimate]]


def _curves(title: str, told: _Told, quantity: Quantity, where: Places) -> str:
    series: list[Series] = []
    for name in sorted({row.subject for row, _ in told}, key=lambda name: where[name]):
        own = sorted(
            ((row, one) for row, one in told if row.subject == name), key=lambda item: item[0].wires
        )
        points = [
            Point(x=row.wires, y=one, tip=f"{row.wires} qubits: {_words(one, quantity)}")
            for row, one in own
        ]
        dashed = own[0][0].role != "executor"
        series.append(Series(name=name, place=where[name], dashed=dashed, points=points))
    return charts.curves(title, series, show=quantity.tick, x_name=_AXIS)


def _dots(title: str, told: _Told, quantity: Quantity, where: Places) -> str:
    wires = told[0][0].wires
    dots = [
        Dot(
            name=row.subject,
            place=where[row.subject],
            value=one,
            text=quantity.show(one.value),
            tip=f"{row.subject}: {_words(one, quantity)}",
        )
        for row, one in told
    ]
    return charts.dots(f"{title}, {wires} qubits", dots, show=quantity.tick)


def _words(one: Estimate, quantity: Quantity) -> str:
    bounds = f"{quantity.show(one.low)} to {quantity.show(one.high)}"
    return f"{quantity.show(one.value)} ({bounds}, {one.count} samples)"


def overhead(rows: Sequence[Row]) -> dict[str, str]:
    """Times over those of the bare device, of calls and of batches; none where no row has one."""
    ways: Mapping[str, tuple[str, Callable[[Row], Estimate | None]]] = {
        "overhead-call": ("One call", lambda row: row.overhead),
        "overhead-batch": ("A circuit of a batch", lambda row: row.overhead_in_batch),
    }
    drawn: dict[str, str] = {}
    for name, (title, of) in ways.items():
        told = [(row, one) for row in rows if (one := of(row)) is not None]
        if told:
            drawn[name] = _overhead(f"{title}, over that of the bare device", told, places(rows))
    return drawn


def _overhead(title: str, told: _Told, where: Places) -> str:
    dots = [
        Dot(
            name=row.case,
            place=where[row.subject],
            value=one,
            text=figures.times(one),
            tip=f"{row.subject}, {row.case}: {figures.times(one)}",
        )
        for row, one in sorted(told, key=lambda item: where[item[0].subject])
    ]
    return charts.dots(title, dots, show=_ratio, columns=charts.MIDDLE, at=1.0)


def _ratio(value: float) -> str:
    return f"{value:g}x"


def fidelity(rows: Sequence[Row]) -> str:
    """What misses a fidelity of 1, with a mark where a perfect device is; empty without shots."""
    where = places(rows)
    told = [row for row in rows if row.fidelity is not None and row.shots is not None]
    dots = [
        Dot(
            name=row.case,
            place=where[row.subject],
            value=row.fidelity,
            text=figures.share(row.fidelity.value),
            target=row.limit,
            tip=f"{row.subject}, {row.case}: {figures.share(row.fidelity.value)}",
        )
        for row in told
        if row.fidelity is not None
    ]
    title = "Hellinger fidelity; the mark is what a perfect device reaches with as many shots"
    if not dots:
        return ""
    return charts.dots(title, dots, show=_plain, columns=charts.WIDE, log=False)


def _plain(value: float) -> str:
    return f"{value:g}"
