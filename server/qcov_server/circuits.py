"""All that is known of one circuit, as pages and programs are told."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from qcov import diagrams
from qcov.records import CircuitRecord
from qcov_server.engine import Row, Store

_KNOWN = 4096  #: structures whose size is remembered
_MOST_BARS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large a circuit is."""

    depth: int
    operations: int


def sizes(store: Store, rows: Iterable[Row]) -> dict[str, Size]:
    """The sizes of the structures that circuits have, by key."""
    keys = {str(row["structure"]) for row in rows if row["structure"] is not None}
    found = {key: _sizes[key] for key in keys if key in _sizes}
    for key, text in store.get_structures(keys - found.keys()).items():
        found[key] = _remember(key, size_of(text))
    return found


def size_of(text: str) -> Size:
    """The size of the circuit with this structure."""
    told = diagrams.specs(diagrams.parse(text), [])
    return Size(depth=told["depth"], operations=sum(told["gates"].values()))


#: A key is a hash of the structure, so what it says never changes.
_sizes: dict[str, Size] = {}


def _remember(key: str, size: Size) -> Size:
    if len(_sizes) >= _KNOWN:
        _sizes.clear()
    _sizes[key] = size
    return size


def views(row: Row) -> dict[str, Any]:
    """The drawing, OpenQASM and specs of a circuit; each is None where there is none."""
    record = CircuitRecord.from_dict(row)
    return {"drawing": record.drawing, "openqasm": record.openqasm, "specs": record.specs}


# -- results -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One outcome of a measurement."""

    label: str
    value: float
    share: float  #: of the largest one, from 0 to 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What one measurement gave.

    Args:
        name: The measurement.
        value: Its value as text, if it is no histogram.
        bars: Outcomes, by their order or, if there are too many, the largest.
        left_out: How many outcomes are not shown.
        unit: What the bars count.
    """

    name: str
    value: str | None = None
    bars: Sequence[Bar] = ()
    left_out: int = 0
    unit: str = ""


def results(row: Row) -> list[Shown]:
    """What came back of a circuit, measurement by measurement."""
    value, text = row["result"], row["structure_data"]
    if value is None:
        return []
    names = [measurement.name for measurement in diagrams.parse(text).measurements] if text else []
    if len(names) > 1 and isinstance(value, list) and len(cast("list[Any]", value)) == len(names):
        return [_shown(*pair) for pair in zip(names, cast("list[Any]", value), strict=True)]
    return [_shown(names[0] if len(names) == 1 else "result", value)]


def _shown(name: str, value: Any) -> Shown:
    if name == "counts" and isinstance(value, Mapping) and "first" not in value:
        return _histogram(name, _items(cast("Mapping[str, Any]", value)), "shots")
    numbers = _flat(value)
    if name == "probs" and numbers is not None and _power(len(numbers)):
        width = len(numbers).bit_length() - 1
        named = [(f"{index:0{width}b}" if width else "", p) for index, p in enumerate(numbers)]
        return _histogram(name, named, "probability")
    if name == "sample":
        samples = _samples(value)
        if samples is not None:
            return _histogram(name, samples, "shots")
    return Shown(name=name, value=_text(value))


def _items(counts: Mapping[str, Any]) -> list[tuple[str, float]]:
    return [
        (str(key), float(value)) for key, value in counts.items() if isinstance(value, int | float)
    ]


def _samples(value: Any) -> list[tuple[str, float]] | None:
    """How often each outcome is among samples: one per row, or one per number."""
    if not isinstance(value, list) or not value:
        return None
    counted: dict[str, float] = {}
    for one in cast("list[Any]", value):
        bits = cast("list[Any]", one) if isinstance(one, list) else [one]
        if not all(isinstance(bit, int | float) for bit in bits):
            return None
        label = "".join(map(str, bits)) if isinstance(one, list) else f"{one:g}"
        counted[label] = counted.get(label, 0) + 1
    return sorted(counted.items())


def _histogram(name: str, items: Sequence[tuple[str, float]], unit: str) -> Shown:
    largest = max((value for _, value in items), default=0.0) or 1.0
    kept = list(items)
    if len(items) > _MOST_BARS:
        best = sorted(range(len(items)), key=lambda index: -items[index][1])[:_MOST_BARS]
        kept = [items[index] for index in sorted(best)]
    bars = [Bar(label=key, value=value, share=max(0.0, value / largest)) for key, value in kept]
    return Shown(name=name, bars=bars, left_out=len(items) - len(kept), unit=unit)


def _flat(value: Any) -> list[float] | None:
    if not isinstance(value, list):
        return None
    items = cast("list[Any]", value)
    plain = all(isinstance(item, int | float) and math.isfinite(item) for item in items)
    return [float(item) for item in items] if plain else None


def _power(count: int) -> bool:
    return count > 0 and count & (count - 1) == 0


def _text(value: Any) -> str:
    """A value as Python would write it; what was too long says how long it was."""
    if isinstance(value, dict) and {"shape", "dtype", "first"} <= value.keys():
        cut = cast("dict[str, Any]", value)
        first = ", ".join(map(_text, cut["first"][:32]))
        return f"[{first}, ...]  ({cut['dtype']}, shape {tuple(cut['shape'])})"
    if isinstance(value, dict) and value.keys() == {"re", "im"}:
        part = cast("dict[str, float]", value)
        return str(complex(part["re"] or 0, part["im"] or 0))
    if isinstance(value, list):
        return f"[{', '.join(map(_text, cast('list[Any]', value)))}]"
    return repr(value)
