"""The device of a fake provider: it computes what circuits give, with the noise of the hour."""

# pyright: basic

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pennylane

from qcov.qexecutors.fakeqpu.conditions import Conditions

qml: Any = pennylane

#: Gates that it has, by PennyLane's names.
GATES = frozenset(
    {
        "Hadamard", "PauliX", "PauliY", "PauliZ", "S", "T", "SX", "RX", "RY", "RZ", "PhaseShift",
        "CNOT", "CZ", "SWAP", "IsingXX", "IsingYY", "IsingZZ", "ControlledPhaseShift",
    }
)  # fmt: skip


class RefusedProgram(Exception):
    """A program that the device does not run."""


def check(program: Mapping[str, Any], conditions: Conditions) -> None:
    """Raise `RefusedProgram` for a program that cannot run."""
    try:
        qubits, shots = int(program["qubits"]), int(program["shots"])
        gates: Sequence[Any] = program["gates"]
        used = {qubit for _, own, _ in gates for qubit in own}
        unknown = sorted({name for name, _, _ in gates} - GATES)
    except (KeyError, TypeError, ValueError) as error:
        raise RefusedProgram(f"a program that is none: {error!r}") from error
    if unknown:
        raise RefusedProgram(f"there is no gate {unknown[0]}")
    if qubits > conditions.qubits or not used <= set(range(qubits)):
        raise RefusedProgram(f"the device has {conditions.qubits} qubits")
    if not 1 <= shots <= conditions.max_shots:
        raise RefusedProgram(f"a program has 1 to {conditions.max_shots} shots")


def run(
    program: Mapping[str, Any], conditions: Conditions, now: float, draw: np.random.Generator
) -> str:
    """The shots of a program: packed bits, a row for each shot, in base64."""
    qubits, shots = int(program["qubits"]), int(program["shots"])
    with qml.queuing.QueuingManager.stop_recording():
        gates = [getattr(qml, name)(*values, wires=own) for name, own, values in program["gates"]]
        tape = qml.tape.QuantumScript(gates, [qml.probs(wires=range(qubits))])
    (chances,) = qml.device("default.qubit").execute([tape])
    chances = np.clip(np.asarray(chances, dtype=float), 0, None)
    outcomes = draw.choice(len(chances), size=shots, p=chances / chances.sum())
    bits = (outcomes[:, None] >> np.arange(qubits)[::-1]) & 1
    bits = _with_noise(bits.astype(np.uint8), gates, conditions, now, draw)
    return base64.b64encode(np.packbits(bits, axis=1).tobytes()).decode()


def bits_of(packed: str, qubits: int, shots: int) -> np.ndarray:
    """The bits that `run` has packed; `ValueError` if they are not those of so many shots."""
    rows = np.frombuffer(base64.b64decode(packed), dtype=np.uint8)
    bits = np.unpackbits(rows.reshape(shots, -1), axis=1)
    if bits.shape[1] - qubits not in range(8):
        raise ValueError(f"{bits.shape[1]} bits instead of {qubits}")
    return bits[:, :qubits].astype(np.int64)


def calibration(conditions: Conditions, now: float) -> dict[str, float]:
    """The errors of the hour."""
    swing = 1 + conditions.drift * math.sin(2 * math.pi * now / conditions.drift_time)
    return {
        "readout_error": min(0.5, conditions.readout_error * swing),
        "gate_error": min(1.0, conditions.gate_error * swing),
    }


def _with_noise(
    bits: np.ndarray,
    gates: Sequence[Any],
    conditions: Conditions,
    now: float,
    draw: np.random.Generator,
) -> np.ndarray:
    errors = calibration(conditions, now)
    pairs = sum(len(gate.wires) == 2 for gate in gates)
    lost = draw.random(len(bits)) < 1 - (1 - errors["gate_error"]) ** pairs
    bits[lost] = draw.integers(0, 2, size=bits[lost].shape, dtype=np.uint8)
    misread = draw.random(bits.shape) < errors["readout_error"]
    return np.where(misread, 1 - bits, bits).astype(np.uint8)
