"""PennyLane's circuits as Qiskit's: gates, wires, parameters and conditions.

A circuit is taken apart into *steps*, which are plain values, and numbers. Circuits with the same
steps share one parametrised Qiskit circuit, which is built, and transpiled, once.

Part of the adapter around PennyLane; see `qcov.qexecutors.pennylane_adapter`.
"""

# pyright: basic

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
import pennylane
from qiskit.circuit import ClassicalRegister, ParameterVector, QuantumCircuit, QuantumRegister
from qiskit.circuit.classical import expr

qml: Any = pennylane

#: What Qiskit has too: the method of `QuantumCircuit`, and how many numbers it takes.
_METHODS: Mapping[str, tuple[Callable[..., Any], int]] = {
    "PauliX": (QuantumCircuit.x, 0),
    "PauliY": (QuantumCircuit.y, 0),
    "PauliZ": (QuantumCircuit.z, 0),
    "Hadamard": (QuantumCircuit.h, 0),
    "S": (QuantumCircuit.s, 0),
    "T": (QuantumCircuit.t, 0),
    "SX": (QuantumCircuit.sx, 0),
    "Adjoint(S)": (QuantumCircuit.sdg, 0),
    "Adjoint(T)": (QuantumCircuit.tdg, 0),
    "Adjoint(SX)": (QuantumCircuit.sxdg, 0),
    "RX": (QuantumCircuit.rx, 1),
    "RY": (QuantumCircuit.ry, 1),
    "RZ": (QuantumCircuit.rz, 1),
    "PhaseShift": (QuantumCircuit.p, 1),
    "U1": (QuantumCircuit.p, 1),
    "U3": (QuantumCircuit.u, 3),
    "CNOT": (QuantumCircuit.cx, 0),
    "CY": (QuantumCircuit.cy, 0),
    "CZ": (QuantumCircuit.cz, 0),
    "CH": (QuantumCircuit.ch, 0),
    "SWAP": (QuantumCircuit.swap, 0),
    "ISWAP": (QuantumCircuit.iswap, 0),
    "ECR": (QuantumCircuit.ecr, 0),
    "CRX": (QuantumCircuit.crx, 1),
    "CRY": (QuantumCircuit.cry, 1),
    "CRZ": (QuantumCircuit.crz, 1),
    "ControlledPhaseShift": (QuantumCircuit.cp, 1),
    "IsingXX": (QuantumCircuit.rxx, 1),
    "IsingYY": (QuantumCircuit.ryy, 1),
    "IsingZZ": (QuantumCircuit.rzz, 1),
    "Toffoli": (QuantumCircuit.ccx, 0),
    "CCZ": (QuantumCircuit.ccz, 0),
    "CSWAP": (QuantumCircuit.cswap, 0),
}
#: What changes nothing that can be measured.
_SILENT = frozenset({"Identity", "GlobalPhase", "Adjoint(GlobalPhase)"})
_ARRAYS = frozenset({"QubitUnitary", "StatePrep"})
KNOWN = frozenset(_METHODS) | _SILENT | _ARRAYS | {"Barrier"}


@dataclass(frozen=True, slots=True)
class Array:
    """An array that is part of a circuit's structure: a state or a matrix."""

    shape: tuple[int, ...]
    content: bytes

    @classmethod
    def of(cls, values: Any) -> Array:
        """Keep the values of a PennyLane operation."""
        array = np.asarray(values, dtype=complex)
        return cls(array.shape, array.tobytes())

    @property
    def values(self) -> np.ndarray:
        """The array again."""
        return np.frombuffer(self.content, dtype=complex).reshape(self.shape)


@dataclass(frozen=True, slots=True)
class Gate:
    """A gate without its numbers."""

    name: str
    qubits: tuple[int, ...]
    array: Array | None = None


@dataclass(frozen=True, slots=True)
class Measure:
    """A measurement in the midst of a circuit."""

    qubit: int
    bit: int
    reset: bool


@dataclass(frozen=True, slots=True)
class If:
    """Gates that are applied for some outcomes of measurements.

    Args:
        bits: Of the measurements.
        outcomes: Those that it is applied for, a value for each bit.
        then: The gates.
    """

    bits: tuple[int, ...]
    outcomes: tuple[tuple[int, ...], ...]
    then: tuple[Gate, ...]


@dataclass(frozen=True, slots=True)
class Structure:
    """A circuit without its numbers.

    Args:
        qubits: How many there are.
        steps: What happens to them.
        measured: The qubits that are measured at the end, in order.
        bits: How many bits measurements in its midst have.
    """

    qubits: int
    steps: tuple[Gate | Measure | If, ...]
    measured: tuple[int, ...]
    bits: int = 0

    def circuit(self, values: Iterable[Any] | None = None) -> QuantumCircuit:
        """The Qiskit circuit, with `values` or with parameters in their place."""
        built = QuantumCircuit(QuantumRegister(self.qubits, "q"))
        if self.bits:
            built.add_register(ClassicalRegister(self.bits, "mid"))
        if self.measured:
            built.add_register(ClassicalRegister(len(self.measured), "meas"))
        numbers = iter(ParameterVector("p", self.numbers) if values is None else values)
        for step in self.steps:
            _apply(built, step, numbers)
        first = self.bits
        for bit, qubit in enumerate(self.measured, first):
            built.measure(qubit, bit)
        return built

    @property
    def numbers(self) -> int:
        """How many numbers its gates take."""
        return sum(_METHODS[step.name][1] for step in _gates(self.steps) if step.array is None)


def _gates(steps: Iterable[Any]) -> Iterator[Gate]:
    for step in steps:
        if isinstance(step, If):
            yield from _gates(step.then)
        elif isinstance(step, Gate) and step.name in _METHODS:
            yield step


class Parts:
    """Takes a circuit apart.

    Args:
        wires: All of them, in the order of the qubits.
    """

    def __init__(self, wires: Sequence[Any]) -> None:
        self._qubit_of = {wire: qubit for qubit, wire in enumerate(wires)}
        self._bit_of: dict[Any, int] = {}  #: by id of the measurement
        self.steps: list[Gate | Measure | If] = []
        self.values: list[float] = []
        self.postselected: dict[int, int] = {}  #: the value that a bit must have

    def add(self, operations: Iterable[Any]) -> None:
        """Take in operations, all of which are `KNOWN`, measurements or conditionals."""
        add, qubit_of, values = self.steps.append, self._qubit_of, self.values
        for operation in operations:
            name = operation.name
            if name in _METHODS:
                qubits = tuple([qubit_of[wire] for wire in operation.wires.labels])
                add(Gate(name, qubits))
                values.extend(map(float, operation.data))
            elif name not in _SILENT:
                self._add_other(operation)

    def bit_of(self, measurement: Any) -> int:
        """The bit that a measurement in the midst of the circuit has."""
        return self._bit_of[measurement.meas_uid]

    @property
    def bits(self) -> int:
        """How many measurements there are in the midst."""
        return len(self._bit_of)

    def structure(self, measured: Iterable[Any]) -> Structure:
        """All of it, with the wires that are measured at the end."""
        qubits = tuple(self._qubit_of[wire] for wire in measured)
        return Structure(len(self._qubit_of), tuple(self.steps), qubits, self.bits)

    def _add_other(self, operation: Any) -> None:
        if isinstance(operation, qml.ops.MidMeasure):
            bit = self._bit_of.setdefault(operation.meas_uid, len(self._bit_of))
            if operation.postselect is not None:
                self.postselected[bit] = int(operation.postselect)
            qubit = self._qubit_of[operation.wires[0]]
            self.steps.append(Measure(qubit, bit, bool(operation.reset)))
        elif isinstance(operation, qml.ops.Conditional):
            self._add_conditional(operation)
        else:
            self.steps.append(self._of_array(operation))

    def _of_array(self, operation: Any) -> Gate:
        qubits = tuple([self._qubit_of[wire] for wire in operation.wires])
        if operation.name == "Barrier":
            return Gate("Barrier", qubits)
        # The first wire is the most significant one here, and the least there.
        return Gate(operation.name, qubits[::-1], Array.of(operation.data[0]))

    def _add_conditional(self, operation: Any) -> None:
        condition = operation.meas_val
        bits = tuple(map(self.bit_of, condition.measurements))
        outcomes = tuple(branch for branch, value in condition.items() if value)
        inner = Parts(())
        inner._qubit_of = self._qubit_of
        inner.add([operation.base])
        then = tuple(step for step in inner.steps if isinstance(step, Gate))
        if outcomes and then:  # without them there is no gate that would take the numbers
            self.steps.append(If(bits, outcomes, then))
            self.values.extend(inner.values)


def _apply(built: QuantumCircuit, step: Gate | Measure | If, numbers: Iterator[Any]) -> None:
    if isinstance(step, Gate):
        known = _METHODS.get(step.name)
        if known is None:
            _apply_other(built, step)
            return
        method, count = known
        method(built, *[next(numbers) for _ in repeat(None, count)], *step.qubits)
    elif isinstance(step, Measure):
        built.measure(step.qubit, step.bit)
        if step.reset:
            built.reset(step.qubit)
    else:
        with built.if_test(_test(built, step)):
            for gate in step.then:
                _apply(built, gate, numbers)


def _apply_other(built: QuantumCircuit, gate: Gate) -> None:
    if gate.array is None:
        built.barrier(gate.qubits)
    elif gate.name == "StatePrep":
        state = gate.array.values.tolist()
        built.prepare_state(state, list(gate.qubits), normalize=True)
    else:
        built.unitary(gate.array.values, list(gate.qubits))


def _test(built: QuantumCircuit, step: If) -> Any:
    """The condition as Qiskit has it: simple where it asks for one bit."""
    if len(step.bits) == 1 and len(step.outcomes) == 1:
        return (built.clbits[step.bits[0]], step.outcomes[0][0])
    tests = [
        _all_of(
            built.clbits[bit] if value else expr.bit_not(built.clbits[bit])
            for bit, value in zip(step.bits, outcome, strict=True)
        )
        for outcome in step.outcomes
    ]
    test = tests[0]
    for other in tests[1:]:
        test = expr.logic_or(test, other)
    return test


def _all_of(tests: Iterable[Any]) -> Any:
    first, *others = tests
    test = expr.lift(first)
    for other in others:
        test = expr.logic_and(test, other)
    return test
