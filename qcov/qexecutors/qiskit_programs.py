"""Batches of PennyLane circuits as programs for Qiskit's primitives, and what these give as values.

A sampler's program ends in measurements; all that PennyLane measures is computed from its shots. An
estimator's program has observables instead, whose means the primitive gives itself.

Part of the adapter around PennyLane; see `qcov.qexecutors.pennylane_adapter`.
"""

# pyright: basic

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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

from qcov.errors import CircuitRejected
from qcov.qexecutors import pennylane_adapter as adapter
from qcov.qexecutors.base import CircuitBatch
from qcov.qexecutors.pennylane_sampling import check_numbers, with_all_wires
from qcov.qexecutors.qiskit_circuits import KNOWN, Parts
from qcov.qexecutors.qiskit_midway import decomposed, with_virtual_wires
from qcov.qexecutors.qiskit_pubs import Piece, Pub
from qcov.qexecutors.qiskit_shots import sampled

qml: Any = pennylane
_transforms: Any = pennylane.transforms
_validate_wires: Any = preprocess.validate_device_wires

_FROM_SHOTS = (ExpectationMP, VarianceMP, ProbabilityMP, SampleMP, CountsMP)
_DYNAMIC = ("device", "one-shot")  #: PennyLane's names for measuring when it is written
_DEFERRED = (None, "deferred")


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
class _Whole:
    """A circuit: its programs, or why it has none."""

    pieces: Sequence[Piece] = ()
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
        check_numbers(circuit, self.executor)
        dynamic = self._is_dynamic(circuit, batch)
        if _is_plain(circuit) and (not self.estimate or not estimable(circuit)):
            tapes, finish = [with_all_wires(circuit, batch)], _first
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
        circuit = with_all_wires(circuit, batch)
        if dynamic:
            circuit = with_virtual_wires(circuit)
        else:
            (circuit,), _ = _transforms.defer_measurements(circuit, allow_postselect=False)
        circuit = decomposed(circuit, self.executor)
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

    def _piece(self, tape: Any) -> Piece:
        if self.estimate and estimable(tape):
            return _estimated(tape)
        return sampled(tape)


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


def _estimated(tape: Any) -> Piece:
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
    return Piece(pub=pub, read=_read_means)


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
