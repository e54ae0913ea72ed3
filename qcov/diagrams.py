"""Circuits as data: what a record keeps of one, and the views derived from it.

A structure is JSON: `{"operations": [[name, wires, shapes, extra], ...], "measurements": [[name,
observable, wires], ...], "shots": [...]}`. `shapes` are those of an operation's parameters, which
are kept apart, flat and in order; `extra` holds what else tells it from its namesakes, such as
control wires and values. A mid-circuit measurement is called `meas_uid` there, and a conditional
operation tells by `meas_val` what it depends on: `{"of": ["m0", "m1"], "when": ["11"]}`. Nothing
here needs PennyLane, so the server can draw what workers ran.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

#: OpenQASM 2.0 names (qelib1.inc) of PennyLane's operations.
_QASM = {
    "Identity": "id", "PauliX": "x", "PauliY": "y", "PauliZ": "z", "Hadamard": "h", "S": "s",
    "T": "t", "SX": "sx", "Adjoint(S)": "sdg", "Adjoint(T)": "tdg", "RX": "rx", "RY": "ry",
    "RZ": "rz", "PhaseShift": "u1", "U1": "u1", "U2": "u2", "U3": "u3", "CNOT": "cx", "CY": "cy",
    "CZ": "cz", "CH": "ch", "SWAP": "swap", "CRX": "crx", "CRY": "cry", "CRZ": "crz",
    "ControlledPhaseShift": "cu1", "Toffoli": "ccx", "CSWAP": "cswap", "IsingXX": "rxx",
    "IsingZZ": "rzz",
}  # fmt: skip
#: How gates are drawn where that is not their name.
_LABELS = {"PauliX": "X", "PauliY": "Y", "PauliZ": "Z", "Hadamard": "H", "Identity": "I"}
_TARGETS = {
    "CNOT": "X", "CY": "Y", "CZ": "Z", "CH": "H", "CRX": "RX", "CRY": "RY", "CRZ": "RZ",
    "Toffoli": "X", "CSWAP": "SWAP", "ControlledPhaseShift": "Rϕ", "MultiControlledX": "X",
}  # fmt: skip
_LINE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation without its parameters."""

    name: str
    wires: tuple[int | str, ...]
    shapes: tuple[tuple[int, ...], ...] = ()
    controls: tuple[int | str, ...] = ()
    values: tuple[bool, ...] = ()
    outcome: str | None = None  #: what a mid-circuit measurement is called
    reset: bool = False  #: whether it resets its wire
    postselect: int | None = None  #: the outcome that it selects
    depends: tuple[str, ...] = ()  #: the measurements that it is conditional on
    when: tuple[str, ...] = ()  #: their outcomes with which it happens; empty if not known

    @property
    def base(self) -> str:
        """Its name without what it is conditional on."""
        conditional = self.name.startswith("Conditional(") and self.name.endswith(")")
        return self.name[len("Conditional(") : -1] if conditional else self.name

    @property
    def target(self) -> str:
        """What happens to the wires that do not control it, as a label."""
        name = self.base
        if self.controls:
            while name.startswith("C(") and name.endswith(")"):
                name = name[2:-1]
            name = _TARGETS.get(name, name)
        dagger = ""
        while name.startswith("Adjoint(") and name.endswith(")"):
            name, dagger = name[len("Adjoint(") : -1], "" if dagger else "†"
        return _LABELS.get(name, name) + dagger


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One measurement; no wires means all of them."""

    name: str
    observable: str | None
    wires: tuple[int | str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """A circuit without its parameters."""

    operations: tuple[Operation, ...]
    measurements: tuple[Measurement, ...]
    shots: tuple[Any, ...] = field(default=())

    @property
    def wires(self) -> list[int | str]:
        """The wires in use; numbers in order, then names in order of appearance."""
        used = dict.fromkeys(
            wire for part in (*self.operations, *self.measurements) for wire in part.wires
        )
        numbers = sorted(wire for wire in used if isinstance(wire, int))
        return [*numbers, *(wire for wire in used if not isinstance(wire, int))]


def parse(text: str) -> Structure:
    """Read the JSON text of a structure.

    >>> parse('{"operations": [["RX", [0], [[]], null]], "measurements": []}').wires
    [0]
    """
    data = cast("dict[str, Any]", json.loads(text))
    return Structure(
        operations=tuple(_operation(*row) for row in data["operations"]),
        measurements=tuple(
            Measurement(name=name, observable=observable, wires=tuple(wires))
            for name, observable, wires in data["measurements"]
        ),
        shots=tuple(data.get("shots") or ()),
    )


def _operation(
    name: str, wires: list[Any], shapes: list[list[int]], extra: dict[str, Any] | None
) -> Operation:
    told = extra or {}
    inner = told if "control_wires" in told else told.get("base") or {}
    controls = tuple(inner.get("control_wires", ()))
    condition = told.get("meas_val")
    known = cast("dict[str, Any]", condition) if isinstance(condition, dict) else {}
    return Operation(
        name=name,
        wires=tuple(wires),
        shapes=tuple(tuple(shape) for shape in shapes),
        controls=controls,
        values=tuple(inner.get("control_values", (True,) * len(controls))),
        outcome=told.get("meas_uid"),
        reset=bool(told.get("reset")),
        postselect=told.get("postselect"),
        depends=tuple(map(str, known.get("of", ()))),
        when=tuple(map(str, known.get("when", ()))),
    )


def _with_parameters(
    structure: Structure, parameters: Sequence[Any]
) -> Iterator[tuple[Operation, Sequence[Any]]]:
    position = 0
    for operation in structure.operations:
        end = position + len(operation.shapes)
        yield operation, parameters[position:end]
        position = end


# -- drawing -----------------------------------------------------------------------------------


def draw(structure: Structure, parameters: Sequence[Any]) -> str:
    """Draw the circuit as text, a line per wire.

    >>> bell = '{"operations": [["Hadamard", [0], [], null], ["CNOT", [0, 1], [],'
    >>> bell += ' {"control_wires": [0]}]], "measurements": [["probs", null, [0, 1]]]}'
    >>> print(draw(parse(bell), []))
    0: ──H─╭●─┤ ╭probs
    1: ────╰X─┤ ╰probs
    """
    wires = structure.wires
    rows = {wire: index for index, wire in enumerate(wires)}
    columns = _layers(structure, parameters, rows)
    ends = _ends(structure, rows)
    width = max((len(str(wire)) for wire in wires), default=0)
    blocks: list[str] = []
    line = [f"{wire!s:>{width}}: ─" for wire in wires]
    for column in columns:
        size = max(map(len, column))
        if len(line[0]) + size > _LINE and len(line[0]) > width + 3:
            blocks.append("\n".join(f"{text}···" for text in line))
            line = [f"{wire!s:>{width}}: ···" for wire in wires]
        line = [f"{text}─{cell:─<{size}}" for text, cell in zip(line, column, strict=True)]
    blocks.append("\n".join(f"{a}─┤ {b}".rstrip() for a, b in zip(line, ends, strict=True)))
    return "\n\n".join(blocks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Where an operation is drawn."""

    column: int
    rows: tuple[int, ...]  #: of its wires, in their order; all of them if it names none
    operation: Operation
    parameters: Sequence[Any]


def placed(
    structure: Structure, parameters: Sequence[Any], *, classical: bool = False
) -> list[Placed]:
    """Every operation as far to the left as those before it let it stand.

    Args:
        structure: The circuit.
        parameters: Those of its operations.
        classical: Whether lines that lead from measurements to what depends on them, down to the
            last wire and back, need a place of their own.
    """
    rows = {wire: index for index, wire in enumerate(structure.wires)}
    depth = [0] * len(rows)
    used = {name for operation in structure.operations for name in operation.depends}
    found: list[Placed] = []
    for operation, values in _with_parameters(structure, parameters):
        touched = [rows[wire] for wire in operation.wires] or list(range(len(rows)))
        if not touched:
            continue
        leads = classical and (operation.depends or operation.outcome in used)
        span = range(min(touched), len(rows) if leads else max(touched) + 1)
        column = max(depth[row] for row in span)
        for row in span:
            depth[row] = column + 1
        found.append(
            Placed(column=column, rows=tuple(touched), operation=operation, parameters=values)
        )
    return found


def _layers(
    structure: Structure, parameters: Sequence[Any], rows: dict[int | str, int]
) -> list[list[str]]:
    columns: list[list[str]] = []
    for each in placed(structure, parameters):
        while each.column >= len(columns):
            columns.append([""] * len(rows))
        _place(columns[each.column], each.operation, each.parameters, list(each.rows), rows)
    return columns


def _place(
    column: list[str],
    operation: Operation,
    values: Sequence[Any],
    touched: list[int],
    rows: dict[int | str, int],
) -> None:
    controls = {
        rows[wire]: value
        for wire, value in zip(operation.controls, operation.values, strict=True)
        if wire in rows
    }
    label = _label(operation, values)
    for row in range(min(touched), max(touched) + 1):
        cell = ("●" if controls[row] else "○") if row in controls else label
        column[row] = _bracket(row, touched) + (cell if row in touched else "")


def _bracket(row: int, touched: Sequence[int]) -> str:
    first, last = min(touched), max(touched)
    if first == last:
        return ""
    if row == first:
        return "╭"
    if row == last:
        return "╰"
    return "├" if row in touched else "│"


def _label(operation: Operation, values: Sequence[Any]) -> str:
    if operation.outcome is not None:
        return f"M({operation.outcome})" + ("→0" if operation.reset else "")
    condition = f"if({','.join(operation.depends)})" if operation.depends else ""
    numbers = shown(values)
    return condition + operation.target + (f"({numbers})" if numbers else "")


def shown(values: Sequence[Any]) -> str:
    """The parameters of an operation, short; empty if there are none."""
    numbers = [value for value in values if isinstance(value, int | float)]
    if len(numbers) != len(values):
        return "..."
    return ",".join(f"{number:.2f}" for number in numbers)


def _ends(structure: Structure, rows: dict[int | str, int]) -> list[str]:
    ends = [""] * len(rows)
    for measurement in structure.measurements:
        touched = [rows[wire] for wire in measurement.wires] or list(range(len(rows)))
        if not touched:
            continue
        text = measurement.name
        if measurement.observable:
            text += f"({measurement.observable})" if len(measurement.observable) < 30 else "(H)"
        width = max(len(ends[row]) for row in range(min(touched), max(touched) + 1))
        for row in range(min(touched), max(touched) + 1):
            cell = _bracket(row, touched) + (text if row in touched else "")
            ends[row] = f"{ends[row]:<{width}}{' ' if width else ''}{cell}"
    return ends


# -- other views -------------------------------------------------------------------------------


def openqasm(structure: Structure, parameters: Sequence[Any]) -> str | None:
    """The circuit in OpenQASM 2.0, measured on all wires; None if a gate has no name there.

    The gate names are those of qelib1.inc (arXiv:1707.03429).
    """
    index = {wire: position for position, wire in enumerate(structure.wires)}
    lines: list[str] = []
    for operation, values in _with_parameters(structure, parameters):
        name = _QASM.get(operation.name)
        if name is None or any(not isinstance(value, int | float) for value in values):
            return None
        angles = f"({','.join(repr(float(value)) for value in values)})" if values else ""
        wires = ",".join(f"q[{index[wire]}]" for wire in operation.wires)
        lines.append(f"{name}{angles} {wires};")
    size = len(index)
    head = ["OPENQASM 2.0;", 'include "qelib1.inc";', f"qreg q[{size}];", f"creg c[{size}];"]
    return "\n".join([*head, *lines, "measure q -> c;", ""])


def specs(structure: Structure, _parameters: Sequence[Any]) -> dict[str, Any]:
    """Counts of gates by name and by size, depth, wires, parameters and measurements."""
    depth: Counter[int | str] = Counter()
    for operation in structure.operations:
        layer = 1 + max((depth[wire] for wire in operation.wires), default=0)
        depth.update({wire: layer - depth[wire] for wire in operation.wires})
    return {
        "gates": dict(Counter(operation.name for operation in structure.operations)),
        "gate_sizes": dict(Counter(len(operation.wires) for operation in structure.operations)),
        "depth": max(depth.values(), default=0),
        "wires": len(structure.wires),
        "parameters": sum(
            math.prod(shape) for operation in structure.operations for shape in operation.shapes
        ),
        "measurements": [measurement.name for measurement in structure.measurements],
    }
