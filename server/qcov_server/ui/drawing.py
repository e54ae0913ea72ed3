"""A circuit as SVG, from what is stored of it.

Colours and fonts are the style sheet's, by class, so that the drawing fits both colour schemes.
Wires run from left to right. Measurements in the middle lead down to a double line of their own,
and what depends on their outcomes stands on it: a filled dot for 1, a ring for 0, a square where it
is not as simple.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from qcov.diagrams import Measurement, Operation, Placed, Structure, placed, shown
from qcov.inert import inert

#: Operations that are drawn; a picture of more could not be read, and would be megabytes.
MOST = 1500

_ROW, _CLASSICAL_ROW = 46, 30  # between wires
_BOX = 30  # height of a gate
_LETTER = 7.3  # width of one, in the labels' size
_GAP = 14  # between columns
_TOP = 28
_SWAPS = ("SWAP", "CSWAP")
_LONGEST = 22  # letters of a label


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A circuit's picture.

    Args:
        svg: The element.
        left_out: How many operations it does not show.
    """

    svg: Markup
    left_out: int


def draw(structure: Structure, parameters: Sequence[Any]) -> Drawing | None:
    """Draw a circuit; None if it has no wires."""
    if not structure.wires:
        return None
    left_out = max(0, len(structure.operations) - MOST)
    return Drawing(svg=_Canvas(structure, parameters).svg(), left_out=left_out)


class _Canvas:
    """Where everything of one circuit stands."""

    def __init__(self, structure: Structure, parameters: Sequence[Any]) -> None:
        self._structure = structure
        self._placed = placed(structure, parameters, classical=True)[:MOST]
        self._names = [_cut(inert(str(wire))) for wire in structure.wires]
        used = {name for each in self._placed for name in each.operation.depends}
        measured = [each.operation.outcome for each in self._placed]
        self._outcomes = [name for name in measured if name is not None and name in used]
        self._left = 16 + _LETTER * max(map(len, (*self._names, *self._outcomes)))
        self._columns = self._spread()
        self._classical_top = _TOP + (len(self._names) - 1) * _ROW + 44
        self._begins: dict[str, float] = {}

    def svg(self) -> Markup:
        """The whole picture."""
        gates = list(self._gates())
        ends, width = self._ends()
        height = self._classical_top + max(0, len(self._outcomes) * _CLASSICAL_ROW - 10)
        wires = list(self._wires(width))
        parts = Markup("").join([*wires, *gates, *ends])
        return Markup(
            '<svg class="circuit" role="img" aria-label="{}" width="{}" height="{}" '
            'viewBox="0 0 {} {}">{}</svg>'
        ).format(self._described(), round(width), round(height), round(width), round(height), parts)

    def _described(self) -> str:
        gates, wires = len(self._structure.operations), len(self._names)
        return (
            f"Circuit of {gates} operation{'' if gates == 1 else 's'} on {wires} "
            f"wire{'' if wires == 1 else 's'}; the text below tells the same"
        )

    def _spread(self) -> list[float]:
        """The middle of every column, and the right end."""
        widths: dict[int, float] = {}
        for each in self._placed:
            widths[each.column] = max(widths.get(each.column, 0.0), _width(each))
        middles, x = list[float](), self._left + _GAP
        for column in range(len(widths)):
            width = widths.get(column, 0.0)
            middles.append(x + width / 2)
            x += width + _GAP
        return [*middles, x]

    def _y(self, row: int) -> float:
        return _TOP + row * _ROW

    def _classical_y(self, name: str) -> float:
        return self._classical_top + self._outcomes.index(name) * _CLASSICAL_ROW

    # -- lines

    def _wires(self, width: float) -> Iterator[Markup]:
        for row, name in enumerate(self._names):
            y = self._y(row)
            yield _text(self._left - 8, y, name, "wire-name")
            yield _line(self._left, y, width, y, "wire")
        for name in self._outcomes:
            y, begin = self._classical_y(name), self._begins.get(name, self._left)
            yield _text(self._left - 8, y, name, "wire-name")
            yield _double(begin, y, width, y)

    def _down(self, x: float, row: int, name: str) -> Markup:
        return _double(x, self._y(row), x, self._classical_y(name))

    # -- gates

    def _gates(self) -> Iterator[Markup]:
        for each in self._placed:
            yield Markup('<g class="gate"><title>{}</title>{}</g>').format(
                _title(each), Markup("").join(self._gate(each))
            )

    def _gate(self, each: Placed) -> Iterator[Markup]:
        x, operation = self._columns[each.column], each.operation
        if operation.outcome is not None:
            yield from self._midway(x, each)
        elif operation.base == "Barrier":
            y, end = self._y(min(each.rows)) - 20, self._y(max(each.rows)) + 20
            yield _line(x, y, x, end, "barrier")
        else:
            yield from self._condition(x, each)
            yield from self._unitary(x, each)

    def _unitary(self, x: float, each: Placed) -> Iterator[Markup]:
        operation = each.operation
        controls, targets = _split(each)
        if controls:
            y, end = self._y(min(each.rows)), self._y(max(each.rows))
            yield _line(x, y, x, end, "control")
        for row, value in controls:
            yield _dot(x, self._y(row), "on" if value else "off")
        if _is_not(operation):
            for row in targets:
                yield from _plus(x, self._y(row))
        elif operation.target in _SWAPS and len(targets) == 2:
            yield _line(x, self._y(min(targets)), x, self._y(max(targets)), "control")
            for row in targets:
                yield from _cross(x, self._y(row))
        elif targets:
            label = _cut(operation.target)
            yield from self._box(x, targets, label, _cut(shown(each.parameters)))

    def _box(self, x: float, rows: Sequence[int], label: str, below: str = "") -> Iterator[Markup]:
        first, last = min(rows), max(rows)
        indexed = len(rows) > 1 and (list(rows) != list(range(first, last + 1)))
        width = _box_width(label, below, indexed=indexed)
        top, bottom = self._y(first) - _BOX / 2, self._y(last) + _BOX / 2
        yield _rectangle(x - width / 2, top, width, bottom - top, "box")
        for row in set(range(first, last + 1)) - set(rows):  # wires that only pass by
            yield _line(x - width / 2, self._y(row), x + width / 2, self._y(row), "passing")
        if indexed:
            for index, row in enumerate(rows):
                yield _text(x - width / 2 + 9, self._y(row), str(index), "index")
        # between wires that pass, or it could not be read
        middle = (top + bottom) / 2 + (12 if indexed and (first + last) % 2 == 0 else 0)
        shift = 4 if indexed else 0
        yield _text(x + shift, middle - (6 if below else 0), label, "label")
        if below:
            yield _text(x + shift, middle + 7, below, "parameters")

    # -- measurements, and what depends on them

    def _midway(self, x: float, each: Placed) -> Iterator[Markup]:
        operation, row = each.operation, each.rows[0]
        y = self._y(row)
        if operation.outcome in self._outcomes:
            name = str(operation.outcome)
            self._begins[name] = x
            yield self._down(x, row, name)
        more = _measured(operation)
        width = 34 + (len(more) * _LETTER + 4 if more else 0)
        yield _rectangle(x - width / 2, y - _BOX / 2, width, _BOX, "box measurement")
        yield from _meter(x - width / 2 + 17, y)
        if more:
            yield _text(x + 15, y, more, "label")

    def _condition(self, x: float, each: Placed) -> Iterator[Markup]:
        known = [name for name in each.operation.depends if name in self._outcomes]
        if not known:
            return
        last = max(known, key=self._classical_y)
        yield self._down(x, max(each.rows), last)
        exact = each.operation.when[0] if len(each.operation.when) == 1 else ""
        for index, name in enumerate(each.operation.depends):
            if name in self._outcomes:
                kind = {"1": "on", "0": "off"}.get(exact[index : index + 1], "either")
                yield _dot(x, self._classical_y(name), kind)

    def _ends(self) -> tuple[list[Markup], float]:
        """The measurements at the end, one after the other, and how wide all is then."""
        x, found = self._columns[-1], list[Markup]()
        rows = {wire: row for row, wire in enumerate(self._structure.wires)}
        for measurement in self._structure.measurements:
            label = _end_label(measurement)
            width = _box_width(label, "", indexed=False) + 22
            touched = [rows[wire] for wire in measurement.wires] or list(rows.values())
            for row in touched:
                y = self._y(row)
                found.append(_rectangle(x, y - _BOX / 2, width, _BOX, "box measurement"))
                found.extend(_meter(x + 17, y))
                found.append(_text(x + 15 + width / 2, y, label, "label"))
            x += width + _GAP
        return found, x


# -- what is said ------------------------------------------------------------------------------


def _title(each: Placed) -> str:
    operation = each.operation
    told = f"{operation.name} on {', '.join(map(str, operation.wires)) or 'all wires'}"
    if each.parameters:
        told += f", with {', '.join(_told(value) for value in each.parameters)}"
    if operation.when:
        names = ", ".join(operation.depends)
        told += f"; if {names} is {' or '.join(operation.when)}"
    elif operation.depends or operation.base != operation.name:
        told += "; if a measurement lets it"
    return inert(told)


def _told(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _measured(operation: Operation) -> str:
    selected = "" if operation.postselect is None else f"={operation.postselect}"
    return selected + ("→0" if operation.reset else "")


def _end_label(measurement: Measurement) -> str:
    observable = measurement.observable or ""
    if "mid-circuit" in observable:
        return f"{measurement.name}, mid-circuit"
    short = f"({observable})" if observable and len(observable) <= _LONGEST else ""
    return inert(measurement.name + (short or ("(H)" if observable else "")))


def _cut(text: str) -> str:
    text = inert(text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _is_not(operation: Operation) -> bool:
    return bool(operation.controls) and operation.target == "X"


def _split(each: Placed) -> tuple[list[tuple[int, bool]], list[int]]:
    """The rows that control, with the value that lets it happen, and the others, in order."""
    operation = each.operation
    row_of = dict(zip(operation.wires, each.rows, strict=False))
    controls = [
        (row_of[wire], bool(value))
        for wire, value in zip(operation.controls, operation.values, strict=False)
        if wire in row_of
    ]
    taken = {row for row, _ in controls}
    return controls, [row for row in each.rows if row not in taken]


# -- how wide ----------------------------------------------------------------------------------


def _width(each: Placed) -> float:
    operation = each.operation
    if operation.outcome is not None:
        more = _measured(operation)
        return 34 + (len(more) * _LETTER + 4 if more else 0)
    _, targets = _split(each)
    if _is_not(operation) or operation.target in _SWAPS or operation.base == "Barrier":
        return 24
    indexed = targets != list(range(min(targets, default=0), max(targets, default=0) + 1))
    return _box_width(_cut(operation.target), _cut(shown(each.parameters)), indexed=indexed)


def _box_width(label: str, below: str, *, indexed: bool) -> float:
    letters = max(len(label) * _LETTER, len(below) * (_LETTER - 1.1))
    return max(30.0, letters + 14) + (12 if indexed else 0)


# -- pieces ------------------------------------------------------------------------------------


def _line(x: float, y: float, to_x: float, to_y: float, kind: str) -> Markup:
    return Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(
        kind, x, y, to_x, to_y
    )


def _double(x: float, y: float, to_x: float, to_y: float) -> Markup:
    by_x, by_y = (0.0, 1.5) if y == to_y else (1.5, 0.0)
    one = _line(x - by_x, y - by_y, to_x - by_x, to_y - by_y, "classical")
    return one + _line(x + by_x, y + by_y, to_x + by_x, to_y + by_y, "classical")


def _rectangle(
    x: float, y: float, width: float, height: float, kind: str, *, round_by: int = 4
) -> Markup:
    return Markup(
        '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="{}"/>'
    ).format(kind, x, y, width, height, round_by)


def _text(x: float, y: float, text: str, kind: str) -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>').format(kind, x, y, text)


def _dot(x: float, y: float, kind: str) -> Markup:
    if kind == "either":
        return _rectangle(x - 4.5, y - 4.5, 9, 9, "dot on", round_by=0)
    return Markup('<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="4.5"/>').format(kind, x, y)


def _plus(x: float, y: float) -> Iterator[Markup]:
    yield Markup('<circle class="not" cx="{:.1f}" cy="{:.1f}" r="10"/>').format(x, y)
    yield _line(x - 10, y, x + 10, y, "control")
    yield _line(x, y - 10, x, y + 10, "control")


def _cross(x: float, y: float) -> Iterator[Markup]:
    yield _line(x - 6, y - 6, x + 6, y + 6, "control")
    yield _line(x - 6, y + 6, x + 6, y - 6, "control")


def _meter(x: float, y: float) -> Iterator[Markup]:
    yield Markup('<path class="meter" d="M{:.1f} {:.1f}a9 9 0 0 1 18 0"/>').format(x - 9, y + 5)
    yield _line(x, y + 5, x + 6, y - 7, "meter")
