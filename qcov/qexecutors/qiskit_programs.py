"""Batches of PennyLane circuits as programs for Qiskit's primitives, and what these give as values.

A sampler's program ends in measurements; all that PennyLane measures is computed from its shots. An
estimator's program has observables instead, whose means the primitive gives itself.

Part of the adapter around PennyLane; see `qcov.qexecutors.pennylane_adapter`.
"""

# pyright: basic

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pennylane
from pennylane.devices import preprocess
from pennylane.measurements import (
    CountsMP,
    ExpectationMP,
    ProbabilityMP,
    SampleMP,
    VarianceMP,
)
from pennylane.ops import Conditional, MeasurementValue, MidMeasure, PauliMeasure
from pennylane.tape import QuantumScript
from pennylane.tape.tape import rotations_and_diagonal_measurements
from qiskit.quantum_info import SparsePauliOp

from qcov.errors import CircuitRejected
from qcov.qexecutors import pennylane_adapter as adapter
from qcov.qexecutors.base import CircuitBatch
from qcov.qexecutors.qiskit_circuits import KNOWN, Parts, Structure

qml: Any = pennylane
_transforms: Any = pennylane.transforms
_decompose: Any = preprocess.decompose
_validate_wires: Any = preprocess.validate_device_wires

_FROM_SHOTS = (ExpectationMP, VarianceMP, ProbabilityMP, SampleMP, CountsMP)
_DYNAMIC = ("device", "one-shot")  #: PennyLane's names for measuring when it is written
_DEFERRED = (None, "deferred")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pub:
    """A circuit as a primitive takes it, before it is fitted to a backend.

    Args:
        structure: The circuit without its numbers.
        values: The numbers.
        shots: How often it runs.
        observables: For an estimator: terms of Pauli words, the first letter for the last qubit,
            and their coefficients. Empty for a sampler.
    """

    structure: Structure
    values: tuple[float, ...]
    shots: int
    observables: tuple[tuple[tuple[str, float], ...], ...] = ()

    @property
    def key(self) -> str:
        """The same for equal programs in all processes."""
        numbers = [value.hex() for value in self.values]
        told = repr((self.structure, numbers, self.shots, self.observables))
        return hashlib.sha256(told.encode()).hexdigest()

    @property
    def sparse(self) -> list[SparsePauliOp]:
        """The observables as Qiskit has them."""
        qubits = self.structure.qubits
        return [SparsePauliOp.from_list(terms, num_qubits=qubits) for terms in self.observables]


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """What a batch of circuits becomes.

    Args:
        pubs: What is run.
        owners: For each of them, which circuit of the batch it belongs to.
        read: Turns raw results, in the order of `pubs`, into a value or an exception for each
            circuit. A raw result is a dictionary with the bits by register, or with the means as
            "evs", or an exception.
    """

    pubs: Sequence[Pub]
    owners: Sequence[int]
    read: Callable[[Sequence[Any]], list[Any]]


@dataclass(slots=True, kw_only=True)
class _Piece:
    """One program of a circuit, and how its result is read."""

    pub: Pub
    read: Callable[[Any], Any]


@dataclass(slots=True, kw_only=True)
class _Whole:
    """A circuit: its programs, or why it has none."""

    pieces: Sequence[_Piece] = ()
    finish: Callable[[Sequence[Any]], Any] | None = None
    error: Exception | None = None

    def read(self, raw: Sequence[Any]) -> Any:
        """The circuit's value."""
        if self.error is not None or self.finish is None:
            return self.error
        for result in raw:
            if isinstance(result, BaseException):
                return result
        pairs = zip(self.pieces, raw, strict=True)
        try:
            return self.finish([piece.read(result) for piece, result in pairs])
        except Exception as error:  # noqa: BLE001  # it becomes the circuit's result
            return error


@dataclass(frozen=True, slots=True, kw_only=True)
class Translator:
    """Makes programs of batches.

    Args:
        executor: Who refuses circuits.
        qubits: How many the backend has; None if it does not matter.
        dynamic: Whether the backend can measure in the midst of a circuit.
        estimate: Whether means are left to an estimator, where it can.
    """

    executor: str
    qubits: int | None = None
    dynamic: bool = True
    estimate: bool = False

    def programs(self, batch: CircuitBatch) -> Programs:
        """What to run for a batch; a circuit that is refused has an exception in its place."""
        wholes = [self._whole(circuit, batch) for circuit in batch.circuits]

        def read(raw: Sequence[Any]) -> list[Any]:
            values, start = [], 0
            for whole in wholes:
                end = start + len(whole.pieces)
                values.append(whole.read(raw[start:end]))
                start = end
            return values

        owned = [(owner, piece) for owner, one in enumerate(wholes) for piece in one.pieces]
        return Programs(
            pubs=[piece.pub for _, piece in owned], owners=[owner for owner, _ in owned], read=read
        )

    def _whole(self, circuit: Any, batch: CircuitBatch) -> _Whole:
        try:
            return self._translate(circuit, batch)
        except CircuitRejected as error:
            return _Whole(error=error)
        except Exception as error:  # noqa: BLE001  # PennyLane refuses in many ways
            rejected = CircuitRejected(str(error) or repr(error), executor=self.executor)
            rejected.__cause__ = error
            return _Whole(error=rejected)

    def _translate(self, circuit: Any, batch: CircuitBatch) -> _Whole:
        self._check(circuit)
        dynamic = self._is_dynamic(circuit, batch)
        if _is_plain(circuit) and (not self.estimate or not estimable(circuit)):
            tapes, finish = [_with_all_wires(circuit, batch)], _first
        else:
            tapes, finish = self._expanded(circuit, batch, dynamic=dynamic)
        pieces = [self._piece(tape) for tape in tapes]
        most = max((piece.pub.structure.qubits for piece in pieces), default=0)
        if self.qubits is not None and most > self.qubits:
            midway = ", one for each measurement in its midst included"
            extra = midway if adapter.measures_midway(circuit) and not dynamic else ""
            reason = f"it needs {most} qubits{extra}, and the backend has {self.qubits}"
            raise CircuitRejected(reason, executor=self.executor)
        return _Whole(pieces=pieces, finish=finish)

    # -- what can run ------------------------------------------------------------------------

    def _check(self, circuit: Any) -> None:
        if not circuit.shots:
            reason = (
                "it has no shots, and a sampler needs some. Give the executor shots=1024, "
                "or the QNode qml.set_shots"
            )
            raise CircuitRejected(reason, executor=self.executor)
        for measurement in circuit.measurements:
            if type(measurement) not in _FROM_SHOTS:
                kind = type(measurement).__name__.removesuffix("MP")
                reason = (
                    f"it measures {kind}, which does not follow from shots. "
                    "Measure expval, var, probs, counts or sample, or use a Simulator"
                )
                raise CircuitRejected(reason, executor=self.executor)

    def _is_dynamic(self, circuit: Any, batch: CircuitBatch) -> bool:
        """Whether measurements in its midst are made there, rather than at the end."""
        if not adapter.measures_midway(circuit):
            return False
        if batch.mcm_method not in (*_DYNAMIC, *_DEFERRED):
            known = "'deferred', 'one-shot' or 'device'"
            reason = f"it is to measure by {batch.mcm_method!r}, not one of {known}"
            raise CircuitRejected(reason, executor=self.executor)
        picks = any(getattr(one, "postselect", None) is not None for one in circuit.operations)
        if picks and batch.postselect_mode == "fill-shots":
            reason = "it postselects with 'fill-shots', and a backend drops shots: use 'hw-like'"
            raise CircuitRejected(reason, executor=self.executor)
        dynamic = batch.mcm_method in _DYNAMIC or (picks and batch.mcm_method is None)
        if dynamic and not self.dynamic:
            reason = "it measures in its midst, which the backend cannot: use mcm_method='deferred'"
            raise CircuitRejected(reason, executor=self.executor)
        return dynamic

    # -- the way of a circuit ----------------------------------------------------------------

    def _expanded(
        self, circuit: Any, batch: CircuitBatch, *, dynamic: bool
    ) -> tuple[Sequence[Any], Callable[[Sequence[Any]], Any]]:
        """Circuits of known gates, each with measurements that can be made together."""
        circuit = _with_all_wires(circuit, batch)
        if dynamic:
            circuit = _with_virtual_wires(circuit)
        else:
            (circuit,), _ = _transforms.defer_measurements(circuit, allow_postselect=False)
        (circuit,), _ = _decompose(
            circuit,
            stopping_condition=_is_known,
            target_gates=KNOWN,
            skip_initial_state_prep=False,
            name=self.executor,
        )
        tapes, together = _transforms.broadcast_expand(circuit)
        if self.estimate and all(map(estimable, tapes)):
            return tapes, together
        parts, finishes = [], []
        for tape in tapes:
            some, finish = _transforms.split_non_commuting(tape)
            parts.append(list(some))
            finishes.append(finish)

        def finish_all(results: Sequence[Any]) -> Any:
            values, start = [], 0
            for part, finish in zip(parts, finishes, strict=True):
                values.append(finish(tuple(results[start : start + len(part)])))
                start += len(part)
            return together(tuple(values))

        return [tape for part in parts for tape in part], finish_all

    def _piece(self, tape: Any) -> _Piece:
        if self.estimate and estimable(tape):
            return _estimated(tape)
        return _sampled(tape)


def estimable(circuit: Any) -> bool:
    """Whether an estimator gives all that a circuit measures."""
    if circuit.shots.has_partitioned_shots or adapter.measures_midway(circuit):
        return False
    return bool(circuit.measurements) and all(map(_is_pauli_mean, circuit.measurements))


def _is_pauli_mean(measurement: Any) -> bool:
    return (
        type(measurement) is ExpectationMP
        and measurement.mv is None
        and getattr(measurement.obs, "pauli_rep", None) is not None
    )


def _first(results: Sequence[Any]) -> Any:
    return results[0]


def _is_plain(circuit: Any) -> bool:
    """Whether nothing has to be rewritten: known gates, one measurement of what has a basis."""
    if circuit.batch_size is not None or len(circuit.measurements) != 1:
        return False
    (measurement,) = circuit.measurements
    if measurement.mv is not None or isinstance(
        measurement.obs, qml.ops.Sum | qml.ops.LinearCombination | qml.ops.SProd
    ):
        return False
    return all(operation.name in KNOWN for operation in circuit.operations)


def _is_known(operation: Any) -> bool:
    if isinstance(operation, Conditional):
        return operation.base.name in KNOWN
    return operation.name in KNOWN or isinstance(operation, MidMeasure)


def _with_all_wires(circuit: Any, batch: CircuitBatch) -> Any:
    """The circuit with wires for measurements that name none."""
    wires = batch.wires
    labels = range(wires) if isinstance(wires, int) else wires
    (named,), _ = _validate_wires(circuit, None if labels is None else qml.wires.Wires(labels))
    if all(one.wires or one.obs is not None or one.mv is not None for one in named.measurements):
        return named
    (named,), _ = _validate_wires(named, named.wires)
    return named


# -- measurements in the midst of a circuit ----------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Bit:
    """The label of a wire that stands for what a measurement in the midst has given."""

    number: int


def _with_virtual_wires(circuit: Any) -> Any:
    """The circuit with conditionals of known gates, and measured bits as if they were wires."""
    operations: list[Any] = []
    bit_of: dict[Any, _Bit] = {}
    for operation in circuit.operations:
        if isinstance(operation, PauliMeasure):
            raise CircuitRejected("it measures Pauli words in its midst", executor="Qiskit")
        if isinstance(operation, MidMeasure):
            bit_of[operation.meas_uid] = _Bit(len(bit_of))
        if isinstance(operation, Conditional):
            operations += [Conditional(operation.meas_val, one) for one in _known(operation.base)]
        else:
            operations.append(operation)
    measurements = [_of_bits(one, bit_of) for one in circuit.measurements]
    return QuantumScript(operations, measurements, shots=circuit.shots)


def _known(operation: Any) -> Sequence[Any]:
    """An operation as known ones."""
    if operation.name in KNOWN:
        return [operation]
    (tape,), _ = _decompose(
        QuantumScript([operation]),
        stopping_condition=_is_known,
        target_gates=KNOWN,
        skip_initial_state_prep=False,
        name="Qiskit",
    )
    return tape.operations


def _of_bits(measurement: Any, bit_of: Mapping[Any, _Bit]) -> Any:
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


# -- programs of a sampler ---------------------------------------------------------------------


def _sampled(tape: Any) -> _Piece:
    rotations, measurements = _in_one_basis(tape)
    of = _wires_of(measurements)
    measured = [wire for wire in of if not isinstance(wire, _Bit)]
    parts = Parts([wire for wire in tape.wires if not isinstance(wire, _Bit)])
    parts.add(tape.operations)
    parts.add(gate for rotation in rotations for gate in _known(rotation))
    reading = _Reading(
        measurements=measurements,
        columns=qml.wires.Wires([*measured, *map(_Bit, range(parts.bits))]),
        ends=len(measured),
        shots=tape.shots,
        postselected=parts.postselected,
    )
    structure = parts.structure(measured)
    pub = Pub(structure=structure, values=tuple(parts.values), shots=tape.shots.total_shots)
    return _Piece(pub=pub, read=reading.read)


def _wires_of(measurements: Iterable[Any]) -> Sequence[Any]:
    return list(dict.fromkeys(wire for one in measurements for wire in one.wires))


def _in_one_basis(tape: Any) -> tuple[list[Any], Sequence[Any]]:
    """Gates that turn all observables to where they can be read, and what is measured then."""
    with qml.queuing.QueuingManager.stop_recording():
        diagonalized: Any = rotations_and_diagonal_measurements(tape)
        rotations, measurements = list(diagonalized[0]), diagonalized[1]
        for before, one in zip(tape.measurements, measurements, strict=True):
            if isinstance(one, CountsMP):
                one.all_outcomes = before.all_outcomes
            if one.obs is not None:
                rotations += _gates_of(one.obs)
    return rotations, measurements


def _gates_of(observable: Any) -> Sequence[Any]:
    return observable.diagonalizing_gates()


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


# -- programs of an estimator ------------------------------------------------------------------


def _estimated(tape: Any) -> _Piece:
    parts = Parts(tape.wires)
    parts.add(tape.operations)
    position = {wire: qubit for qubit, wire in enumerate(tape.wires)}
    observables = tuple(_terms(one.obs.pauli_rep, position) for one in tape.measurements)
    pub = Pub(
        structure=parts.structure(()),
        values=tuple(parts.values),
        shots=tape.shots.total_shots,
        observables=observables,
    )
    return _Piece(pub=pub, read=_read_means)


def _terms(sentence: Any, position: Mapping[Any, int]) -> tuple[tuple[str, float], ...]:
    """A sum of Pauli words, the letter of the first qubit last."""
    terms = []
    for word, coefficient in sentence.items():
        letters = ["I"] * len(position)
        for wire, letter in word.items():
            letters[position[wire]] = letter
        terms.append(("".join(reversed(letters)), float(np.real(coefficient))))
    return tuple(terms) or (("I" * len(position), 0.0),)


def _read_means(result: Any) -> Any:
    means = np.ravel(result["evs"]).astype(float)
    return means[0] if len(means) == 1 else tuple(means)
