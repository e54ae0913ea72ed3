"""The reference's circuits as PennyLane's.

Part of the adapter around PennyLane; see `qcov.qexecutors.pennylane_adapter`.
"""

# pyright: basic

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pennylane

from qcov.conformance.reference import Case, ansatz
from qcov.qexecutors.base import BaseQExecutor, Circuit
from qcov.quantum.qelectron import QElectron, qelectron

qml: Any = pennylane


def script_of(case: Case, shots: int | Sequence[int] | None) -> Circuit:
    """A circuit as executors get it."""
    with qml.queuing.AnnotatedQueue() as queue:
        _apply(case)
        _measure(case)
    return qml.tape.QuantumScript.from_queue(queue, shots=shots)


def together_script(cases: Sequence[Case], shots: int | None) -> Circuit:
    """A circuit that measures what each of the cases does; their gates are the same."""
    with qml.queuing.AnnotatedQueue() as queue:
        _apply(cases[0])
        for case in cases:
            _measure(case)
    return qml.tape.QuantumScript.from_queue(queue, shots=shots)


def labelled_script(case: Case, labels: Sequence[str], shots: int | None) -> Circuit:
    """A circuit on wires with names."""
    circuit: Any = script_of(case, shots)
    (named,), _ = qml.map_wires(circuit, dict(enumerate(labels)))
    return named


def midway_script(angle: float, shots: int | None) -> Circuit:
    """A wire that is measured in the midst of the circuit, and turns another one over."""
    with qml.queuing.AnnotatedQueue() as queue:
        qml.RX(angle, wires=0)
        qml.cond(qml.measure(0), qml.PauliX)(wires=1)
        qml.expval(qml.Z(1))
    return qml.tape.QuantumScript.from_queue(queue, shots=shots)


def broadcast_script(angles: Sequence[float], shots: int | None) -> Circuit:
    """The ansatz for several angles at once."""
    with qml.queuing.AnnotatedQueue() as queue:
        _turn(np.array(angles))
        qml.expval(qml.Z(1))
    return qml.tape.QuantumScript.from_queue(queue, shots=shots)


class NoSuchGate(qml.operation.Operation):
    """A gate without matrix and decomposition: nobody can run it."""

    num_wires = 1
    num_params = 0


def impossible_script(shots: int | None) -> Circuit:
    """A circuit that no executor can run."""
    return qml.tape.QuantumScript([NoSuchGate(wires=0)], [qml.expval(qml.Z(0))], shots=shots)


def electron_of(executor: BaseQExecutor, shots: int | None) -> QElectron:
    """The ansatz as a qelectron of its angle."""
    return _electron(executor, shots, _turn)


def impossible_electron(executor: BaseQExecutor, shots: int | None) -> QElectron:
    """The same, with a gate that nobody can run where the angle is above 10."""

    def gates(angle: Any) -> None:
        _turn(angle)
        if angle > 10:
            NoSuchGate(wires=0)

    return _electron(executor, shots, gates)


def slope(electron: QElectron, angle: float) -> float:
    """The derivative of a qelectron."""
    return float(qml.grad(electron)(qml.numpy.array(angle, requires_grad=True)))


def _electron(executor: BaseQExecutor, shots: int | None, gates: Any) -> QElectron:
    def circuit(angle: Any) -> Any:
        gates(angle)
        return qml.expval(qml.Z(1))

    device = qml.device("default.qubit", wires=2)
    qnode = qml.QNode(circuit, device, diff_method="parameter-shift", shots=shots)
    made: Any = qelectron(qnode, executors=executor, name="conformance")
    return made


def _turn(angle: Any) -> None:
    first, *others = ansatz(0.0).gates
    qml.RX(angle, wires=first.wires)
    _apply(Case("the rest", 2, tuple(others)))


def _apply(case: Case) -> None:
    for gate in case.gates:
        angles = () if gate.angle is None else (gate.angle,)
        getattr(qml, gate.name)(*angles, wires=gate.wires)


def _measure(case: Case) -> None:
    if case.kind == "probs":
        qml.probs(wires=case.of)
    elif case.kind in ("counts", "sample"):
        getattr(qml, case.kind)(wires=range(case.wires))
    else:
        getattr(qml, case.kind)(_observable(case.word))


def _observable(word: str) -> Any:
    factors = [getattr(qml, letter)(wire) for wire, letter in enumerate(word) if letter != "I"]
    return factors[0] if len(factors) == 1 else qml.prod(*factors)
