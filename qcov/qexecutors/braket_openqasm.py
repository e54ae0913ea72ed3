"""Gates and observables in Braket's OpenQASM.

Part of the adapter around PennyLane; see `qcov.qexecutors.pennylane_adapter`.
"""

# pyright: basic

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pennylane
from pennylane.devices.preprocess import decompose
from pennylane.tape import QuantumScript

from qcov.qexecutors.braket_facts import DeviceFacts
from qcov.qexecutors.braket_gates import angles_of, gate_of

qml: Any = pennylane

_PAULIS = {"Identity": "i", "PauliX": "x", "PauliY": "y", "PauliZ": "z", "Hadamard": "h"}


def source_of(lines: Sequence[str]) -> str:
    """A program of these lines."""
    return "\n".join(["OPENQASM 3.0;", *(line for line in lines if line)])


@qml.transform
def decomposed(tape: QuantumScript, device: DeviceFacts) -> Any:
    """The circuit in gates that the device has."""
    return decompose(
        tape,
        stopping_condition=lambda operation: _knows(device, operation),
        skip_initial_state_prep=False,
        name=device.arn,
    )


def _knows(device: DeviceFacts, operation: Any) -> bool:
    if operation.name == "GlobalPhase" or gate_of(operation) in device.operations:
        return True
    only_a_matrix = operation.has_matrix and not operation.has_decomposition
    if only_a_matrix or operation.name == "QubitUnitary":
        return "braket_unitary_matrix" in device.pragmas
    if isinstance(operation, qml.operation.Channel):
        return "braket_noise_kraus" in device.pragmas and len(operation.wires) <= 2
    return False


def gate_line(gate: Any, numbers: dict[Any, int], device: DeviceFacts) -> str:
    """A gate on the qubits that its wires have; empty if it need not be said."""
    qubits = ", ".join(f"q[{numbers[wire]}]" for wire in gate.wires)
    name = gate_of(gate)
    if name is not None:
        angles = ", ".join(repr(_finite(angle, gate)) for angle in angles_of(gate))
        return f"{name}({angles}) {qubits};" if angles else f"{name} {qubits};"
    if gate.name == "GlobalPhase":  # which no device that samples can tell
        phase = -_finite(float(gate.data[0]), gate)
        return f"gphase({phase!r});" if "gphase" in device.operations else ""
    if isinstance(gate, qml.operation.Channel):
        matrices = ", ".join(_matrix(matrix) for matrix in gate.kraus_matrices())
        return f"#pragma braket noise kraus({matrices}) {qubits}"
    return f"#pragma braket unitary({_matrix(gate.matrix())}) {qubits}"


def touching_lines(qubits: Collection[int], device: DeviceFacts) -> list[str]:
    """Gates that make a program use qubits that nothing else does."""
    return [f"i q[{qubit}];" for qubit in sorted(qubits)] if "i" in device.operations else []


def _finite(angle: float, gate: Any) -> float:
    if not math.isfinite(angle):
        raise ValueError(f"{gate} has a parameter that is not a finite number")
    return angle


def _matrix(matrix: Any) -> str:
    rows = [", ".join(map(_complex, row)) for row in np.asarray(matrix, dtype=complex)]
    return "[" + ", ".join(f"[{row}]" for row in rows) + "]"


def _complex(number: complex) -> str:
    if not np.isfinite(number):
        raise ValueError("a matrix has an entry that is not a finite number")
    return f"{float(number.real)!r}{float(number.imag):+}im"


def observable_text(observable: Any, numbers: dict[Any, int]) -> str | None:
    """An observable in Braket's words; None if it has none."""
    name = observable.name
    if name in _PAULIS and len(observable.wires) == 1:
        return f"{_PAULIS[name]}(q[{numbers[observable.wires[0]]}])"
    if name in ("Hermitian", "Projector") and len(observable.wires) <= 2:
        qubits = ", ".join(f"q[{numbers[wire]}]" for wire in observable.wires)
        return f"hermitian({_matrix(observable.matrix())}) {qubits}"
    if name == "Prod" and not _overlap(observable.operands):
        factors = [observable_text(factor, numbers) for factor in observable.operands]
        return None if None in factors else " @ ".join(map(str, factors))
    return None


def _overlap(factors: Sequence[Any]) -> bool:
    wires = [wire for factor in factors for wire in factor.wires]
    return len(wires) != len(set(wires))
