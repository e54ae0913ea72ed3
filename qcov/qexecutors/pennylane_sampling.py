"""Circuits for machines that only give shots, and PennyLane's measurements made of these.

Part of the adapter around PennyLane; see `qcov.qexecutors.pennylane_adapter`.
"""

# pyright: basic

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pennylane
from pennylane import transforms
from pennylane.devices import preprocess
from pennylane.measurements import (
    CountsMP,
    ExpectationMP,
    ProbabilityMP,
    SampleMP,
    VarianceMP,
)
from pennylane.tape.tape import rotations_and_diagonal_measurements

from qcov.errors import CircuitRejected
from qcov.qexecutors.base import Circuit, CircuitBatch

qml: Any = pennylane
_of_tapes: Any = transforms
_of_devices: Any = preprocess

_SUMS = (qml.ops.Sum, qml.ops.LinearCombination)
_FROM_SHOTS = (ExpectationMP, VarianceMP, ProbabilityMP, SampleMP, CountsMP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A gate on qubits that are numbered from 0."""

    name: str
    qubits: tuple[int, ...]
    parameters: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """A circuit after which all qubits are measured.

    Args:
        qubits: How many.
        gates: In order.
        shots: How often.
        read: Makes the circuit's value of an array of bits, with a row for each shot and a column
            for each qubit.
    """

    qubits: int
    gates: Sequence[Gate]
    shots: int
    read: Callable[[np.ndarray], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Samplings:
    """What is run for one circuit, and how its value is made of theirs."""

    circuits: Sequence[Sampled]
    finish: Callable[[Sequence[Any]], Any]


def sampled(
    circuit: Circuit, batch: CircuitBatch, known: Collection[str], executor: str
) -> Samplings:
    """What a machine with the gates `known` runs for a circuit of `batch`.

    Raises:
        CircuitRejected: Shots cannot give what it measures, or a gate cannot be made of known ones.
    """
    _check(circuit, executor)
    check_numbers(circuit, executor)
    try:
        return _sampled(circuit, batch, known, executor)
    except CircuitRejected:
        raise
    except Exception as error:  # PennyLane refuses in many ways
        raise CircuitRejected(str(error) or repr(error), executor=executor) from error


def check_numbers(circuit: Any, executor: str) -> None:
    """Raise `CircuitRejected` for a parameter that is not a finite number."""
    for operation in circuit.operations:
        for value in operation.data:
            if not np.all(np.isfinite(np.asarray(value))):
                reason = f"a parameter of {operation.name} is {value}, not a finite number"
                raise CircuitRejected(reason, executor=executor)


def _check(circuit: Any, executor: str) -> None:
    if not circuit.shots:
        reason = "it has no shots: give the executor shots=1024, or the QNode qml.set_shots"
        raise CircuitRejected(reason, executor=executor)
    for measurement in circuit.measurements:
        if not isinstance(measurement, _FROM_SHOTS):
            kind = type(measurement).__name__.removesuffix("MP")
            reason = f"it measures {kind}, which does not follow from shots; a Simulator can"
            raise CircuitRejected(reason, executor=executor)
        if isinstance(measurement, VarianceMP) and isinstance(measurement.obs, _SUMS):
            reason = "it measures the variance of a sum, whose terms are measured one by one"
            raise CircuitRejected(reason, executor=executor)


def _sampled(circuit: Any, batch: CircuitBatch, known: Collection[str], executor: str) -> Samplings:
    circuit = with_all_wires(circuit, batch)
    (circuit,), _ = _of_tapes.convert_to_numpy_parameters(circuit)
    (circuit,), _ = _of_tapes.defer_measurements(circuit, allow_postselect=False)
    tapes, together = _of_tapes.broadcast_expand(circuit)
    parts, finishes = [], []
    for tape in tapes:
        some, finish = _of_tapes.split_non_commuting(tape)
        parts.append([_one(part, known, executor) for part in some])
        finishes.append(finish)

    def finish_all(values: Sequence[Any]) -> Any:
        rest = iter(values)
        whole = [
            finish(tuple(next(rest) for _ in part))
            for part, finish in zip(parts, finishes, strict=True)
        ]
        return _as_scalars(together(tuple(whole)))

    return Samplings(circuits=[one for part in parts for one in part], finish=finish_all)


def _one(tape: Any, known: Collection[str], executor: str) -> Sampled:
    rotations, measurements = in_one_basis(tape)
    tape = tape.copy(operations=[*tape.operations, *rotations], measurements=measurements)
    (tape,), _ = _of_devices.decompose(
        tape,
        stopping_condition=lambda one: one.name in known,
        target_gates=set(known),
        skip_initial_state_prep=False,
        name=executor,
    )
    number = {wire: at for at, wire in enumerate(tape.wires)}
    gates = [
        Gate(
            name=one.name,
            qubits=tuple(number[wire] for wire in one.wires),
            parameters=tuple(float(value) for value in one.data),
        )
        for one in tape.operations
        if one.name not in ("Identity", "Barrier", "GlobalPhase")
    ]

    def read(bits: np.ndarray) -> Any:
        if not tape.shots.has_partitioned_shots:
            return values_of(measurements, bits, tape.wires)
        bins = tape.shots.bins()
        return tuple(values_of(measurements, bits[low:high], tape.wires) for low, high in bins)

    return Sampled(qubits=len(tape.wires), gates=gates, shots=tape.shots.total_shots, read=read)


def _as_scalars(value: Any) -> Any:
    """Numbers as PennyLane's simulators give them, where transforms have made arrays of them."""
    if isinstance(value, tuple | list):
        return type(value)(map(_as_scalars, value))
    return value[()] if isinstance(value, np.ndarray) and value.ndim == 0 else value


def with_all_wires(circuit: Any, batch: CircuitBatch) -> Any:
    """The circuit with wires for measurements that name none."""
    wires = batch.wires
    labels = range(wires) if isinstance(wires, int) else wires
    (named,), _ = _of_devices.validate_device_wires(
        circuit, None if labels is None else qml.wires.Wires(labels)
    )
    if not all(
        one.wires or one.obs is not None or one.mv is not None for one in named.measurements
    ):
        (named,), _ = _of_devices.validate_device_wires(named, named.wires)
    if not any(isinstance(wire, tuple) for wire in named.wires):
        return named
    # PennyLane's own transforms take a label that is a tuple for several wires.
    (numbered,), _ = qml.map_wires(named, {wire: at for at, wire in enumerate(named.wires)})
    return numbered


def in_one_basis(tape: Any) -> tuple[list[Any], Sequence[Any]]:
    """Gates that turn all observables to where they can be read, and what is measured then."""
    with qml.queuing.QueuingManager.stop_recording():
        rotations, measurements = rotations_and_diagonal_measurements(tape)
        rotations = list(rotations)
        for before, one in zip(tape.measurements, measurements, strict=True):
            if isinstance(one, CountsMP):
                one.all_outcomes = before.all_outcomes
            observable: Any = one.obs
            if observable is not None:
                rotations += observable.diagonalizing_gates()
    return rotations, measurements


def values_of(measurements: Sequence[Any], bits: np.ndarray, wires: Any) -> Any:
    """What measurements in the basis of the bits are worth; one value, or a tuple of several."""
    values = [_value(one, bits, wires) for one in measurements]
    return values[0] if len(values) == 1 else tuple(values)


def _value(measurement: Any, bits: np.ndarray, wires: Any) -> Any:
    signs = _signs(measurement, bits, wires)
    if signs is not None:
        return np.mean(signs) if isinstance(measurement, ExpectationMP) else np.var(signs)
    value = measurement.process_samples(bits, wire_order=wires)
    if isinstance(measurement, CountsMP | SampleMP):
        return value
    return np.asarray(value, dtype=float)[()]


def _signs(measurement: Any, bits: np.ndarray, wires: Any) -> np.ndarray | None:
    """What a product of Pauli operators gives in each shot; None for other observables.

    PennyLane lists all eigenvalues of the product, two to the power of its wires.
    """
    observable = measurement.obs
    if observable is None or not isinstance(measurement, ExpectationMP | VarianceMP):
        return None
    words = observable.pauli_rep
    if words is None or len(words) != 1:
        return None
    ((word, coefficient),) = words.items()
    columns = [wires.index(wire) for wire in word]
    return np.real(coefficient) * (1 - 2.0 * (bits[:, columns].sum(axis=1) % 2))
