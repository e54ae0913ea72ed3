"""The plots of the report, from plain numbers. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from qcov_bench.backends import axes
from qcov_bench.backends.axes import Axis
from qcov_bench.backends.statistics import Estimate
from qcov_bench.backends.svg import element, label, picture, safe

_MARKERS = 6
COLORS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A number with its bounds, over another one."""

    x: float
    y: Estimate
    tip: str  #: what is told to whoever points at it


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Points of one backend.

    Args:
        name: The backend's.
        place: Its place among all backends, which decides about colour and marker.
        dashed: Whether it is a peer.
        points: In order of `x`.
    """

    name: str
    place: int
    dashed: bool
    points: Sequence[Point]


Show = Callable[[float], str]

_WIDTH, _HEIGHT = 336.0, 232.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 58.0, 14.0, 30.0, 40.0


def curves(title: str, series: Sequence[Series], *, show: Show, x_name: str) -> str:
    """Curves over the number of qubits, on a logarithmic scale, with bounds as whiskers."""
    points = [point for one in series for point in one.points]
    sizes = sorted({point.x for point in points})
    across = axes.linear(sizes, _LEFT, _WIDTH - _RIGHT)
    bounds = [value for point in points for value in (point.y.low, point.y.high) if value > 0]
    up = axes.logarithmic(bounds, _HEIGHT - _BOTTOM, _TOP)
    grid = [_grid_line(up(tick), show(tick)) for tick in up.ticks()]
    below = [
        label(f"{size:g}", across(size), _HEIGHT - _BOTTOM + 16, "tick", text_anchor="middle")
        for size in _some(sizes)
    ]
    name = label(x_name, (_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 8, "tick", text_anchor="middle")
    drawn = [_curve(one, across, up) for one in series]
    head = label(title, _LEFT, 16, "head")
    return picture(_WIDTH, _HEIGHT, title, head, *grid, *below, name, *drawn)


def _some(sizes: Sequence[float], most: int = 9) -> Sequence[float]:
    return sizes[:: -(-len(sizes) // most)]


def _grid_line(y: float, text: str) -> str:
    line = element("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y, y2=y, class_="grid")
    return line + label(text, _LEFT - 6, y + 4, "tick", text_anchor="end")


def _curve(series: Series, across: Axis, up: Axis) -> str:
    places = [(across(point.x), up(point.y.value)) for point in series.points]
    path = "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    dash = " dashed" if series.dashed else ""
    color = f"s{series.place % COLORS}"
    parts = [element("path", d=path, class_=f"curve {color}{dash}")]
    for point, (x, y) in zip(series.points, places, strict=True):
        low, high = up(point.y.low), up(point.y.high)
        parts.append(element("line", x1=x, x2=x, y1=low, y2=high, class_=f"bound {color}"))
        parts.append(marker(series.place, x, y, f"{series.name}: {point.tip}"))
    return element("g", *parts)


def marker(place: int, x: float, y: float, tip: str) -> str:
    """The mark of a backend: its colour, and a shape for those who do not see colours."""
    radius = 4.0
    shapes = (
        element("circle", cx=x, cy=y, r=radius),
        element("rect", x=x - radius + 0.5, y=y - radius + 0.5, width=7.0, height=7.0),
        _polygon(x, y, ((0, -5), (4.7, 3.6), (-4.7, 3.6))),
        _polygon(x, y, ((0, -5.2), (5.2, 0), (0, 5.2), (-5.2, 0))),
        _polygon(x, y, ((0, 5), (4.7, -3.6), (-4.7, -3.6))),
        _polygon(x, y, ((-1.7, -5), (1.7, -5), (1.7, -1.7), (5, -1.7), (5, 1.7), (1.7, 1.7),
                        (1.7, 5), (-1.7, 5), (-1.7, 1.7), (-5, 1.7), (-5, -1.7), (-1.7, -1.7))),
    )  # fmt: skip
    shape = shapes[place % _MARKERS]
    return element("g", _tip(tip), shape, class_=f"mark s{place % COLORS}")


def _tip(words: str) -> str:
    return element("title", safe(words))


def _polygon(x: float, y: float, corners: Iterable[tuple[float, float]]) -> str:
    points = " ".join(f"{x + right:.1f},{y + down:.1f}" for right, down in corners)
    return element("polygon", points=points)


# -- one line for each thing -------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """A number with its bounds, in a line of its own."""

    name: str
    place: int
    value: Estimate
    text: str  #: the number in words
    tip: str  #: what is told to whoever points at it
    target: float | None = None  #: a number to be compared with


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """How wide the parts of such a plot are: names, the numbers' places, the numbers in words."""

    names: float
    places: float
    texts: float

    @property
    def width(self) -> float:
        """All together."""
        return self.names + self.places + self.texts


NARROW = Columns(names=204, places=232, texts=80)
MIDDLE = Columns(names=214, places=164, texts=138)
WIDE = Columns(names=320, places=430, texts=150)

_LINE = 21.0


def dots(
    title: str,
    values: Sequence[Dot],
    *,
    show: Show,
    columns: Columns = NARROW,
    at: float | None = None,
    log: bool = True,
) -> str:
    """Numbers below each other, with bounds as whiskers; `at` is what all are compared with."""
    height = 48 + _LINE * len(values) + 24
    across, bottom = _across(values, at, log=log, columns=columns), height - 24
    parts = [label(title, 0, 16, "head")]
    for tick in across.ticks(4):
        parts.append(_upright(across(tick), bottom, "grid"))
        parts.append(label(show(tick), across(tick), bottom + 16, "tick", text_anchor="middle"))
    if at is not None:
        parts.append(_upright(across(at), bottom, "target"))
    for number, dot in enumerate(values):
        parts.append(_dot(dot, across, 48 + _LINE * number, columns))
    return picture(columns.width, height, title, *parts)


def _upright(x: float, bottom: float, class_: str) -> str:
    return element("line", x1=x, x2=x, y1=32.0, y2=bottom, class_=class_)


def _across(values: Sequence[Dot], at: float | None, *, log: bool, columns: Columns) -> Axis:
    estimates = [dot.value for dot in values]
    numbers = [bound for one in estimates for bound in (one.low, one.high, one.value)]
    numbers += [dot.target for dot in values if dot.target is not None]
    numbers += [] if at is None else [at]
    start, end = columns.names, columns.names + columns.places
    if not log:
        return axes.linear(numbers, start, end)
    finite = [number for number in numbers if 0 < number < float("inf")]
    return axes.logarithmic(finite, start, end)


def _dot(dot: Dot, across: Axis, y: float, columns: Columns) -> str:
    low, high = across(dot.value.low), across(dot.value.high)
    bound = f"bound s{dot.place % COLORS}"
    words = columns.names + columns.places + 12
    parts = [
        label(
            fitted(dot.name, columns.names), columns.names - 12, y + 4, "name", text_anchor="end"
        ),
        element("line", x1=low, x2=high, y1=y, y2=y, class_=bound),
        marker(dot.place, across(dot.value.value), y, dot.tip),
        label(dot.text, words, y + 4, "value"),
    ]
    if dot.target is not None:
        x = across(dot.target)
        parts.append(element("line", x1=x, x2=x, y1=y - 7, y2=y + 7, class_="target"))
    return element("g", *parts)


def fitted(name: str, width: float) -> str:
    """A name that is not wider than a column, without its middle if need be.

    >>> fitted("a_circuit_with_a_very_long_name.qasm", 120.0)
    'a_circuit…ame.qasm'
    """
    most = int((width - 12) / _LETTER)
    if len(name) <= most:
        return name
    half = (most - 1) // 2
    return f"{name[: most - 1 - half]}…{name[-half:]}"


_LETTER = 5.75  #: how wide one is, about


def stack(parts: Sequence[tuple[str, float, str]], *, width: float = 150.0) -> str:
    """One bar of parts, each a class, a share of the whole, and what is told of it."""
    x, drawn = 0.0, list[str]()
    for class_, share, tip in parts:
        length = max(0.0, share) * width
        drawn.append(
            element("rect", _tip(tip), x=x, y=1.0, width=length, height=12.0, class_=class_)
        )
        x += length
    return picture(width, 14.0, "; ".join(tip for _, _, tip in parts), *drawn)
