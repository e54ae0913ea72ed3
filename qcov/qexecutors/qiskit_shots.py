"""Programs of a sampler, and how their shots become what PennyLane measures.

Part of the adapter around PennyLane; see `qcov.qexecutors.pennylane_adapter`.
"""

# pyright: basic

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pennylane
from pennylane.measurements import CountsMP, SampleMP

from qcov.errors import CircuitRejected
from qcov.qexecutors.pennylane_sampling import in_one_basis
from qcov.qexecutors.qiskit_circuits import Parts
from qcov.qexecutors.qiskit_midway import Bit, known_gates
from qcov.qexecutors.qiskit_pubs import Piece, Pub

qml: Any = pennylane


def sampled(tape: Any) -> Piece:
    """The program that measures what a tape of known gates does."""
    rotations, measurements = in_one_basis(tape)
    of = _wires_of(measurements)
    measured = [wire for wire in of if not isinstance(wire, Bit)]
    parts = Parts([wire for wire in tape.wires if not isinstance(wire, Bit)])
    parts.add(tape.operations)
    parts.add(gate for rotation in rotations for gate in known_gates(rotation))
    reading = _Reading(
        measurements=measurements,
        columns=qml.wires.Wires([*measured, *map(Bit, range(parts.bits))]),
        ends=len(measured),
        shots=tape.shots,
        postselected=parts.postselected,
    )
    structure = parts.structure(measured)
    pub = Pub(structure=structure, values=tuple(parts.values), shots=tape.shots.total_shots)
    return Piece(pub=pub, read=reading.read)


def _wires_of(measurements: Iterable[Any]) -> Sequence[Any]:
    return list(dict.fromkeys(wire for one in measurements for wire in one.wires))


@dataclass(slots=True, kw_only=True)
class _Reading:
    """How the shots of one program become what its tape measures.

    Args:
        measurements: In the basis in which shots are.
        columns: Which wire each column of the shots stands for.
        ends: How many of them are of measurements at the end.
        shots: The tape's, which may be several in one.
        postselected: The values that bits must have, for a shot to count.
    """

    measurements: Sequence[Any]
    columns: Any
    ends: int
    shots: Any
    postselected: Mapping[int, int] = field(default_factory=dict)

    def read(self, result: Any) -> Any:
        """The values of one result of a sampler."""
        samples = _samples_of(result, len(self.columns))
        if len(samples) != self.shots.total_shots:
            reason = f"it gave {len(samples)} shots instead of {self.shots.total_shots}"
            raise CircuitRejected(reason, executor="the sampler")
        if not self.shots.has_partitioned_shots:
            return self._values(samples)
        return tuple(self._values(samples[low:high]) for low, high in self.shots.bins())

    def _values(self, samples: np.ndarray) -> Any:
        for bit, value in self.postselected.items():
            samples = samples[samples[:, self.ends + bit] == value]
        values = [_value(one, samples, self.columns) for one in self.measurements]
        return values[0] if len(values) == 1 else tuple(values)


def _value(measurement: Any, samples: np.ndarray, order: Any) -> Any:
    value = measurement.process_samples(samples, wire_order=order)
    if isinstance(measurement, CountsMP | SampleMP):
        return value
    return np.asarray(value, dtype=float)[()]


def _samples_of(data: Mapping[str, Any], columns: int) -> np.ndarray:
    """A row for each shot: first the bits that were measured at the end, then those before."""
    parts = [_bits_of(data[name]) for name in ("meas", "mid") if name in data]
    samples = np.concatenate(parts, axis=1) if parts else np.zeros((0, 0), dtype=np.int64)
    if samples.shape[1] != columns:
        reason = f"it gave {samples.shape[1]} bits for each shot instead of {columns}"
        raise CircuitRejected(reason, executor="the sampler")
    return samples


def _bits_of(bits: Any) -> np.ndarray:
    """Qiskit's packed bits, the last of which is the first qubit's."""
    unpacked = np.unpackbits(bits.array.reshape(-1, bits.array.shape[-1]), axis=-1)
    return unpacked[:, ::-1][:, : bits.num_bits].astype(np.int64)
