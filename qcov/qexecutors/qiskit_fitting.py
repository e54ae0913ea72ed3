"""Programs fitted to a backend: one transpiled circuit for all that differ in their numbers only.

Part of the adapter around PennyLane; see `qcov.qexecutors.pennylane_adapter`.
"""

# pyright: basic

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
from qiskit.circuit import QuantumCircuit
from qiskit.transpiler import generate_preset_pass_manager

from qcov.qexecutors.qiskit_pubs import Pub

_MAX_FITTED = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A program and its circuit that fits the backend, with parameters for the numbers."""

    pub: Pub
    circuit: QuantumCircuit


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Programs that follow each other and differ in their numbers only: one pub of a primitive."""

    pubs: Sequence[Pub]
    circuit: QuantumCircuit

    @property
    def shots(self) -> int:
        """Of each program."""
        return self.pubs[0].shots

    def for_sampler(self, number: int = 0) -> tuple[QuantumCircuit, Any, int]:
        """What a `SamplerV2` runs; its result knows the number again."""
        return self._numbered(number), self._values, self.shots

    def for_estimator(self, number: int = 0) -> tuple[QuantumCircuit, Any, Any, float]:
        """What an `EstimatorV2` runs: a row for each observable, a column for each program."""
        laid_out = [one.apply_layout(self.circuit.layout) for one in self.pubs[0].sparse]
        observables = laid_out if self._values is None else [[one] for one in laid_out]
        return self._numbered(number), observables, self._values, self.shots**-0.5

    def _numbered(self, number: int) -> QuantumCircuit:
        circuit = self.circuit.copy()
        circuit.metadata = {NUMBER: number}
        return circuit

    @property
    def _values(self) -> Any:
        if not self.circuit.num_parameters:
            return None
        order = [parameter.index for parameter in self.circuit.parameters]  # type: ignore[attr-defined]
        return np.array([one.values for one in self.pubs])[:, order]


#: What a pub's number is called in the metadata of its circuit.
NUMBER = "qcov"


@dataclass(slots=True, kw_only=True)
class Fitting:
    """Transpiles circuits for one backend. Safe under threads.

    Args:
        backend: Qiskit's backend; None leaves circuits as they are.
        level: Of optimisation, from 0 to 3.
        passes: Keywords of the pass manager.
        parametrised: Whether circuits that differ in their numbers only are fitted once. If not,
            those that the backend knows all gates of are left as they are.
    """

    backend: Any
    level: int
    passes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    parametrised: bool = True
    _fitted: dict[Hashable, QuantumCircuit] = field(default_factory=dict[Hashable, Any])
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _manager: Any = None
    _known: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.backend is not None:
            self._known = frozenset(self.backend.operation_names)

    def fit(self, pub: Pub) -> Fitted:
        """A program with a circuit that fits."""
        return Fitted(pub=pub, circuit=self._circuit(pub))

    def _circuit(self, pub: Pub) -> QuantumCircuit:
        if not self.parametrised:
            return self._transpiled(pub.structure.circuit(pub.values))
        # Not all backends have parameters inside conditions.
        values = pub.values if pub.structure.bits else None
        key = (pub.structure, values)
        with self._lock:
            found = self._fitted.get(key)
            if found is None:
                if len(self._fitted) >= _MAX_FITTED:
                    self._fitted.clear()
                found = self._fitted[key] = self._transpiled(pub.structure.circuit(values))
            return found

    def _transpiled(self, circuit: QuantumCircuit) -> QuantumCircuit:
        if self.backend is None:
            return circuit
        if not self.parametrised and circuit.count_ops().keys() <= self._known:
            return circuit
        if self._manager is None:
            self._manager = generate_preset_pass_manager(
                optimization_level=self.level, backend=self.backend, **self.passes
            )
        return self._manager.run(circuit)


def sweeps_of(programs: Iterable[Fitted]) -> list[Sweep]:
    """Group programs that may run as one, in their order."""
    sweeps: list[Sweep] = []
    for _, group in groupby(programs, key=_alike):
        alike = list(group)
        circuit = alike[0].circuit
        if circuit.num_parameters:
            sweeps.append(Sweep(pubs=[one.pub for one in alike], circuit=circuit))
        else:  # also where the pass manager has found that no number matters
            sweeps += [Sweep(pubs=[one.pub], circuit=one.circuit) for one in alike]
    return sweeps


def raw_results(results: Iterable[Any]) -> list[Mapping[str, Any]]:
    """What a primitive gave, for each program in order; a sweep's result has several."""
    return [raw for result in results for raw in _rows(dict(result.data.items()))]


def _rows(data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    means = data.get("evs")
    if means is not None:  # a row for each observable
        means = np.asarray(means)
        columns = means.reshape(len(means), -1) if means.ndim else means.reshape(1, 1)
        return [{"evs": column} for column in columns.T]
    shape = next((bits.shape for bits in data.values()), ())
    if not shape:
        return [data]
    return [{name: bits[row] for name, bits in data.items()} for row in range(shape[0])]


def _alike(program: Fitted) -> Hashable:
    pub = program.pub
    return pub.structure, pub.shots, pub.observables
