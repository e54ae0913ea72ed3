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

from qcov.qexecutors.qiskit_programs import Pub

_MAX_FITTED = 512


@dataclass(slots=True, kw_only=True)
class Sweep:
    """Programs that follow each other and differ in their numbers only: one pub of a primitive.

    Args:
        pubs: The programs.
        circuit: The circuit that fits the backend, with parameters for the numbers.
    """

    pubs: Sequence[Pub]
    circuit: QuantumCircuit

    @property
    def shots(self) -> int:
        """Of each program."""
        return self.pubs[0].shots

    @property
    def for_sampler(self) -> tuple[QuantumCircuit, Any, int]:
        """What a `SamplerV2` runs."""
        return self.circuit, self._values, self.shots

    @property
    def for_estimator(self) -> tuple[QuantumCircuit, Any, Any, float]:
        """What an `EstimatorV2` runs: a row for each observable, a column for each program."""
        laid_out = [one.apply_layout(self.circuit.layout) for one in self.pubs[0].sparse]
        observables = laid_out if self._values is None else [[one] for one in laid_out]
        return self.circuit, observables, self._values, self.shots**-0.5

    @property
    def _values(self) -> Any:
        if not self.circuit.num_parameters:
            return None
        order = [parameter.index for parameter in self.circuit.parameters]  # type: ignore[attr-defined]
        return np.array([one.values for one in self.pubs])[:, order]

    def split(self, result: Any) -> list[Mapping[str, Any]]:
        """What a primitive gave for this pub, for each of the programs."""
        data = dict(result.data.items())
        if self.pubs[0].observables:
            means = np.reshape(data["evs"], (len(self.pubs[0].observables), -1))
            return [{"evs": means[:, column]} for column in range(len(self.pubs))]
        if self._values is None:
            return [data]
        return [{name: bits[row] for name, bits in data.items()} for row in range(len(self.pubs))]


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

    def sweeps(self, pubs: Iterable[Pub]) -> list[Sweep]:
        """Group programs that may run as one, in their order, and fit them."""
        sweeps: list[Sweep] = []
        for _, group in groupby(pubs, key=_alike):
            alike = list(group)
            circuit = self._circuit(alike[0])
            if circuit.num_parameters:
                sweeps.append(Sweep(pubs=alike, circuit=circuit))
            else:  # also where the pass manager has found that no number matters
                sweeps += [Sweep(pubs=[one], circuit=self._circuit(one)) for one in alike]
        return sweeps

    def _circuit(self, pub: Pub) -> QuantumCircuit:
        if not self.parametrised:
            return self._fit(pub.structure.circuit(pub.values))
        # Not all backends have parameters inside conditions.
        values = pub.values if pub.structure.bits else None
        key = (pub.structure, values)
        with self._lock:
            found = self._fitted.get(key)
            if found is None:
                if len(self._fitted) >= _MAX_FITTED:
                    self._fitted.clear()
                found = self._fitted[key] = self._fit(pub.structure.circuit(values))
            return found

    def _fit(self, circuit: QuantumCircuit) -> QuantumCircuit:
        if self.backend is None:
            return circuit
        if not self.parametrised and circuit.count_ops().keys() <= self._known:
            return circuit
        if self._manager is None:
            self._manager = generate_preset_pass_manager(
                optimization_level=self.level, backend=self.backend, **self.passes
            )
        return self._manager.run(circuit)


def split(sweeps: Sequence[Sweep], results: Sequence[Any]) -> list[Any]:
    """What a primitive gave, for each program in order."""
    return [raw for sweep, one in zip(sweeps, results, strict=True) for raw in sweep.split(one)]


def _alike(pub: Pub) -> Hashable:
    return pub.structure, pub.shots, pub.observables
