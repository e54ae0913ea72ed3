"""Circuits as programs of Amazon Braket, and the way back from what came of them.

With shots, everything is measured in the computational basis after rotations, and PennyLane makes
values of the bits; so whatever PennyLane can sample works on every device. Without shots, which
only simulators take, results are asked for by Braket's pragmas, and the state where there is none.

Part of the adapter around PennyLane; see `qcov.qexecutors.pennylane_adapter`.
"""

# pyright: basic

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import pennylane
from pennylane.devices import qubit, qubit_mixed
from pennylane.devices.preprocess import validate_device_wires
from pennylane.measurements import (
    ClassicalShadowMP,
    ExpectationMP,
    ProbabilityMP,
    ShadowExpvalMP,
    StateMeasurement,
    VarianceMP,
)
from pennylane.tape import QuantumScript
from pennylane.transforms import (
    broadcast_expand,
    defer_measurements,
    split_non_commuting,
)
from pennylane.transforms.core import CompilePipeline
from pennylane.wires import Wires

from qcov.errors import CircuitError, CircuitRejected
from qcov.qexecutors.base import CircuitBatch
from qcov.qexecutors.braket_facts import DeviceFacts
from qcov.qexecutors.braket_openqasm import (
    decomposed,
    gate_line,
    observable_text,
    source_of,
    touching_lines,
)
from qcov.qexecutors.braket_results import Bits, Values
from qcov.qexecutors.pennylane_sampling import in_one_basis, values_of
from qcov.qexecutors.provider import Program, Translation

qml: Any = pennylane

#: Up to here a simulator's state is small enough to travel.
_MOST_STATE_WIRES = 16
_COMPOSITES = (qml.ops.Prod, qml.ops.Sum, qml.ops.SProd, qml.ops.LinearCombination)
_Terms: TypeAlias = list[tuple[float, str]]
_STATES = {"state_vector": (qubit.measure, 1), "density_matrix": (qubit_mixed.measure, 2)}
_SHADOWS = (
    "classical shadows measure every shot in another basis, which would be a task for each of them"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BraketProgram:
    """What is submitted for one program.

    Args:
        source: OpenQASM.
        qubits: How many it has.
        gates: How many it has.
        measured: The qubits whose bits it gives, in order; none for programs without shots.
        asked: What it asks for without shots.
    """

    source: str
    qubits: int
    gates: int
    measured: tuple[int, ...] = ()
    asked: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class _Part:
    """A program of a circuit, and what its raw result becomes."""

    program: Program
    read: Callable[[Any], Any]


@dataclass(slots=True, kw_only=True)
class _Circuit:
    """A circuit as programs."""

    parts: list[_Part] = field(default_factory=list)
    finish: Callable[[Sequence[Any]], Any]


def translate(batch: CircuitBatch, device: DeviceFacts, executor: str) -> Translation:
    """The programs of a batch on a device.

    Raises:
        CircuitRejected: No circuit of the batch can run; one that cannot beside others that can
            fails by itself.
    """
    circuits: list[_Circuit | CircuitRejected] = [
        _translated(circuit, batch, device, executor) for circuit in batch.circuits
    ]
    refused = [circuit for circuit in circuits if isinstance(circuit, CircuitRejected)]
    if circuits and len(refused) == len(circuits):
        raise refused[0]
    programs: list[Program] = []
    owners: list[int] = []
    for number, circuit in enumerate(circuits):
        if isinstance(circuit, _Circuit):
            programs += [part.program for part in circuit.parts]
            owners += [number] * len(circuit.parts)

    def read(raws: Sequence[Any]) -> list[Any]:
        left = iter(raws)
        return [
            circuit if isinstance(circuit, CircuitRejected) else _read(circuit, left)
            for circuit in circuits
        ]

    return Translation(programs=_kept_apart(programs), read=read, owners=owners)


def _kept_apart(programs: Sequence[Program]) -> list[Program]:
    """Braket shares the shots of a program set evenly: who has others than most goes alone."""
    usual = {shots for shots, _ in Counter(one.shots for one in programs).most_common(1)}
    return [one if one.shots in usual else replace(one, alone=True) for one in programs]


def _read(circuit: _Circuit, raws: Any) -> Any:
    mine = [next(raws) for _ in circuit.parts]
    failed = next((raw for raw in mine if isinstance(raw, BaseException)), None)
    if failed is not None:
        return failed
    try:
        pairs = zip(circuit.parts, mine, strict=True)
        return circuit.finish([part.read(raw) for part, raw in pairs])
    except Exception as error:  # noqa: BLE001  # it is this circuit's
        return error


def _translated(
    circuit: Any, batch: CircuitBatch, device: DeviceFacts, executor: str
) -> _Circuit | CircuitRejected:
    try:
        refusal = _refusal(circuit, batch, device)
        if refusal:
            return CircuitRejected(executor=executor, reason=refusal)
        tapes, finish = _pipeline(batch, device, bool(circuit.shots))((circuit,))
        parts = [_part(tape, device, batch.wires) for tape in tapes if tape.measurements]
        empty = [not tape.measurements for tape in tapes]  # identities need no program
        return _Circuit(parts=parts, finish=lambda values: finish(_filled(values, empty))[0])
    except Exception as error:  # noqa: BLE001  # PennyLane refuses in many ways
        rejected = CircuitRejected(executor=executor, reason=error)
        rejected.__cause__ = error
        return rejected


def _filled(values: Sequence[Any], empty: Sequence[bool]) -> tuple[Any, ...]:
    """The values of tapes, some of which measure nothing."""
    left = iter(values)
    return tuple(() if nothing else next(left) for nothing in empty)


def _refusal(circuit: Any, batch: CircuitBatch, device: DeviceFacts) -> str | None:
    """What is known to be wrong with a circuit before it is looked at closely."""
    shots = circuit.shots.total_shots
    if batch.mcm_method not in (None, "device", "deferred"):
        return f"it measures in mid-circuit by 'deferred', not {batch.mcm_method!r}"
    if (shots or 0) < device.least_shots:
        return f"{device.arn} needs shots, at least {device.least_shots}"
    if shots is not None and device.most_shots is not None and shots > device.most_shots:
        return f"{device.arn} takes {device.most_shots} shots at most, not {shots}"
    if any(isinstance(one, ClassicalShadowMP | ShadowExpvalMP) for one in circuit.measurements):
        return _SHADOWS
    return None


def _pipeline(batch: CircuitBatch, device: DeviceFacts, sampled: bool) -> Any:
    pipeline: Any = CompilePipeline()
    pipeline.add_transform(defer_measurements, allow_postselect=False)
    pipeline.add_transform(decomposed, device=device)
    if batch.wires is not None:
        wires = Wires(range(batch.wires) if isinstance(batch.wires, int) else batch.wires)
        pipeline.add_transform(validate_device_wires, wires, name=device.arn)
    pipeline.add_transform(broadcast_expand)
    if sampled:
        pipeline.add_transform(split_non_commuting, grouping_strategy="qwc")
    return pipeline


def _part(tape: QuantumScript, device: DeviceFacts, wires: Any) -> _Part:
    if tape.shots:
        return _sampling(tape, device, wires)
    return _exact(tape, device, wires)


def _numbered(tape: QuantumScript, wires: Any) -> dict[Any, int]:
    """Qubits for the wires in use, in the device's order."""
    if isinstance(wires, tuple):
        return {wire: qubit for qubit, wire in enumerate(w for w in wires if w in tape.wires)}
    order = sorted(tape.wires) if isinstance(wires, int) else tape.wires
    return {wire: qubit for qubit, wire in enumerate(order)}


def _check_size(qubits: int, device: DeviceFacts) -> None:
    if device.qubits is not None and qubits > device.qubits:
        raise ValueError(f"{device.arn} has {device.qubits} qubits, not {qubits}")


# -- with shots --------------------------------------------------------------------------------


def _sampling(tape: QuantumScript, device: DeviceFacts, wires: Any) -> _Part:
    rotations, measurements = in_one_basis(tape)
    (rotated,), _ = decomposed(QuantumScript([*tape.operations, *rotations]), device)
    numbers = _numbered(tape, wires)
    _check_size(len(numbers), device)
    seen: Any = Wires.all_wires([one.wires or tape.wires for one in measurements])
    asked = numbers if device.measures_all else seen
    measured = tuple(sorted(numbers[wire] for wire in asked))
    lines = [gate_line(gate, numbers, device) for gate in rotated.operations]
    touched = {numbers[wire] for gate in rotated.operations for wire in gate.wires}
    lines += touching_lines(set(measured) - touched, device)
    lines += [f"b[{place}] = measure q[{qubit}];" for place, qubit in enumerate(measured)]
    head = [f"bit[{len(measured)}] b;", f"qubit[{len(numbers)}] q;"]
    wire_of = {qubit: wire for wire, qubit in numbers.items()}
    order = Wires([wire_of[qubit] for qubit in measured])
    program = BraketProgram(
        source=source_of([*head, *lines]),
        qubits=len(numbers),
        gates=len(rotated.operations),
        measured=measured,
    )

    def read(bits: Bits) -> Any:
        return _of_bits(measurements, tape.shots, bits.array, order)

    return _Part(program=_program(program, tape.shots.total_shots), read=read)


def _of_bits(measurements: Sequence[Any], shots: Any, bits: Any, order: Wires) -> Any:
    if not shots.has_partitioned_shots:
        return values_of(measurements, bits, order)
    if len(bits) != shots.total_shots:
        reason = f"only {len(bits)} of {shots.total_shots} shots of its shot vector have succeeded"
        raise CircuitError(reason)
    return tuple(values_of(measurements, bits[low:high], order) for low, high in shots.bins())


def _together(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else tuple(values)


# -- without shots -----------------------------------------------------------------------------


def _exact(tape: QuantumScript, device: DeviceFacts, wires: Any) -> _Part:
    for measurement in tape.measurements:
        if not isinstance(measurement, StateMeasurement):
            raise ValueError(f"{measurement} needs shots")
    numbers = _numbered(tape, wires)
    _check_size(len(numbers), device)
    asked = [_terms(one, numbers, device) for one in tape.measurements]
    pragmas = list(dict.fromkeys(pragma for terms in asked for _, pragma in terms))
    lines = [gate_line(gate, numbers, device) for gate in tape.operations]
    touched = {numbers[wire] for gate in tape.operations for wire in gate.wires}
    lines += touching_lines(set(numbers.values()) - touched, device)
    lines += [f"#pragma braket result {pragma}" for pragma in pragmas]
    program = BraketProgram(
        source=source_of([f"qubit[{len(numbers)}] q;", *lines]),
        qubits=len(numbers),
        gates=len(tape.operations),
        asked=tuple(pragma.partition(" ")[0] for pragma in pragmas),
    )

    def read(values: Values) -> Any:
        by_pragma = dict(zip(pragmas, values.values, strict=True))
        pairs = zip(tape.measurements, asked, strict=True)
        return _together([_of_terms(one, terms, by_pragma, numbers) for one, terms in pairs])

    return _Part(program=_program(program, None), read=read)


def _of_terms(
    measurement: Any, terms: _Terms, values: dict[str, Any], numbers: dict[Any, int]
) -> Any:
    pragma = terms[0][1]
    if pragma in _STATES:
        measure, dimensions = _STATES[pragma]
        state = np.reshape(values[pragma], [2] * (len(numbers) * dimensions))
        return measure(measurement.map_wires(numbers), state)
    if isinstance(measurement, ProbabilityMP):
        return np.asarray(values[pragma])
    return np.float64(sum(coefficient * values[pragma] for coefficient, pragma in terms))


def _terms(measurement: Any, numbers: dict[Any, int], device: DeviceFacts) -> _Terms:
    """What to ask a simulator for, each with its weight."""
    if isinstance(measurement, ProbabilityMP) and measurement.obs is None:
        if measurement._eigvals is None and "Probability" in device.results:
            qubits = [f"q[{numbers[wire]}]" for wire in measurement.wires or numbers]
            return [(1.0, "probability " + ", ".join(qubits))]
    elif isinstance(measurement, ExpectationMP | VarianceMP) and measurement.obs is not None:
        kind = "Expectation" if isinstance(measurement, ExpectationMP) else "Variance"
        parts = _parts_of(measurement.obs) if kind == "Expectation" else [(1.0, measurement.obs)]
        texts = [observable_text(part, numbers) for _, part in parts]
        if kind in device.results and None not in texts:
            weights = [float(np.real(weight)) for weight, _ in parts]
            asked = [f"{kind.lower()} {text}" for text in texts]
            return list(zip(weights, asked, strict=True))
    return [(1.0, _state(measurement, numbers, device))]


def _parts_of(observable: Any) -> list[tuple[Any, Any]]:
    """An observable as a sum of others, with their weights."""
    if isinstance(observable, _COMPOSITES):
        return list(zip(*observable.terms(), strict=True))
    return [(1.0, observable)]


def _state(measurement: Any, numbers: dict[Any, int], device: DeviceFacts) -> str:
    if len(numbers) > _MOST_STATE_WIRES:
        raise ValueError(
            f"{measurement} needs the state, and that of {len(numbers)} wires is too large to "
            f"travel: up to {_MOST_STATE_WIRES} are sent"
        )
    if "StateVector" in device.results:
        return "state_vector"
    if "DensityMatrix" in device.results:
        return "density_matrix"
    raise ValueError(f"{device.arn} cannot measure {measurement} without shots")


def _program(program: BraketProgram, shots: int | None) -> Program:
    key = hashlib.sha256(f"{shots}\n{program.source}".encode()).hexdigest()
    # Programs without shots cannot be together in a program set.
    return Program(
        payload=program, key=key, shots=shots, size=len(program.source), alone=shots is None
    )
