"""What an executor says it can run."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qcov.qexecutors.base import Circuit


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What an executor says it can run; None where it does not say.

    Args:
        wires: How many wires a circuit may have.
        gates: PennyLane's names of the operations that it knows.
        shots: How many shots it takes at most; 0 if it is analytic only.
        analytic: Whether it runs circuits without shots.

    Example:
        >>> import pennylane as qml
        >>> circuit = qml.tape.QuantumScript([qml.CNOT([0, 1])], [qml.expval(qml.Z(1))])
        >>> Capabilities(wires=5, gates={"RX", "CZ"}).refusal(circuit)
        'does not know the gate CNOT'
        >>> Capabilities(analytic=False).refusal(circuit)
        'needs shots'
    """

    wires: int | None = None
    gates: Collection[str] | None = None
    shots: int | None = None
    analytic: bool | None = None

    def refusal(self, circuit: Circuit) -> str | None:
        """Why a circuit cannot run; None if it may."""
        return self._size_refusal(circuit) or self._gate_refusal(circuit)

    def _size_refusal(self, circuit: Circuit) -> str | None:
        wires, shots = len(circuit.wires), circuit.shots.total_shots
        if self.wires is not None and wires > self.wires:
            return f"has {self.wires} wires, not {wires}"
        if shots is None:
            return "needs shots" if self.analytic is False else None
        if self.shots == 0:
            return "is analytic only"
        if self.shots is not None and shots > self.shots:
            return f"takes {self.shots} shots, not {shots}"
        return None

    def _gate_refusal(self, circuit: Circuit) -> str | None:
        if self.gates is None:
            return None
        unknown = (gate.name for gate in circuit.operations if gate.name not in self.gates)
        name = next(unknown, None)
        return None if name is None else f"does not know the gate {name}"
