"""Gates that Qiskit knows, and measurements in the midst of a circuit.

Part of the adapter around PennyLane; see `qcov.qexecutors.pennylane_adapter`.
"""

# pyright: basic

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pennylane
from pennylane.devices import preprocess
from pennylane.measurements import CountsMP
from pennylane.ops import Conditional, MeasurementValue, MidMeasure, PauliMeasure
from pennylane.tape import QuantumScript

from qcov.errors import CircuitRejected
from qcov.qexecutors.qiskit_circuits import KNOWN

qml: Any = pennylane
_decompose: Any = preprocess.decompose


def decomposed(circuit: Any, executor: str) -> Any:
    """A circuit of gates that Qiskit knows, measurements and conditionals."""
    (tape,), _ = _decompose(
        circuit,
        stopping_condition=_is_known,
        target_gates=KNOWN,
        skip_initial_state_prep=False,
        name=executor,
    )
    return tape


def known_gates(operation: Any) -> Sequence[Any]:
    """An operation as gates that Qiskit knows."""
    if operation.name in KNOWN:
        return [operation]
    return decomposed(QuantumScript([operation]), "Qiskit").operations


def _is_known(operation: Any) -> bool:
    if isinstance(operation, Conditional):
        return operation.base.name in KNOWN
    return operation.name in KNOWN or isinstance(operation, MidMeasure)


@dataclass(frozen=True, slots=True)
class Bit:
    """The label of a wire that stands for what a measurement in the midst has given."""

    number: int


def with_virtual_wires(circuit: Any) -> Any:
    """The circuit with conditionals of known gates, and measured bits as if they were wires."""
    operations: list[Any] = []
    bit_of: dict[Any, Bit] = {}
    for operation in circuit.operations:
        if isinstance(operation, PauliMeasure):
            raise CircuitRejected("it measures Pauli words in its midst", executor="Qiskit")
        if isinstance(operation, MidMeasure):
            bit_of[operation.meas_uid] = Bit(len(bit_of))
        if isinstance(operation, Conditional):
            operations += [
                Conditional(operation.meas_val, one) for one in known_gates(operation.base)
            ]
        else:
            operations.append(operation)
    measurements = [_of_bits(one, bit_of) for one in circuit.measurements]
    return QuantumScript(operations, measurements, shots=circuit.shots)


def _of_bits(measurement: Any, bit_of: Mapping[Any, Bit]) -> Any:
    """A measurement of values from the midst as one of wires that stand for them."""
    values = measurement.mv
    if values is None:
        return measurement
    alone = isinstance(values, MeasurementValue)
    ones = [one for value in ([values] if alone else values) for one in value.measurements]
    settings: dict[str, Any] = {"wires": qml.wires.Wires([bit_of[one.meas_uid] for one in ones])}
    if alone:
        settings["eigvals"] = measurement.eigvals()
    if isinstance(measurement, CountsMP):
        settings["all_outcomes"] = measurement.all_outcomes
    return type(measurement)(**settings)
