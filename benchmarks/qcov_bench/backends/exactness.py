"""How near results are to what quantum mechanics says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pennylane as qml

from qcov_bench.backends.workload import Numbers, Workload

_DRAWS = 20


def exact(workload: Workload, point: Numbers) -> Any:
    """The analytic value of a circuit: a distribution or an expectation value."""
    device = qml.device("lightning.qubit", wires=workload.wires)
    [value] = qml.execute([workload.tape(point, shots=None)], device, diff_method=None)
    return np.asarray(value)


def distribution(value: Any, wires: int) -> Mapping[int, float]:
    """Probabilities by outcome, from counts by bits or from all probabilities in order.

    >>> distribution({"00": 3, "11": 1}, 2)
    {0: 0.75, 3: 0.25}
    """
    if isinstance(value, Mapping):
        counts = {_outcome(key): float(count) for key, count in value.items()}
        total = sum(counts.values())
        return {outcome: count / total for outcome, count in counts.items()} if total else {}
    probabilities = np.asarray(value, dtype=float).reshape(-1)
    if len(probabilities) != 2**wires:
        raise ValueError(f"{len(probabilities)} probabilities for {wires} qubits")
    return {int(at): float(probabilities[at]) for at in np.flatnonzero(probabilities > 0)}


def _outcome(key: Any) -> int:
    return int(str(key), 2)


def hellinger(one: Mapping[int, float], other: Mapping[int, float]) -> float:
    """The Hellinger fidelity of two distributions, (sum sqrt(p q))^2: 1 if they are equal.

    It is (1 - H^2)^2 of the distance H that Hellinger gave in 1909, and what Qiskit's
    `hellinger_fidelity` computes.

    >>> hellinger({0: 0.5, 3: 0.5}, {0: 1.0})
    0.5
    """
    common = math.fsum(
        math.sqrt(share * other[outcome]) for outcome, share in one.items() if outcome in other
    )
    return min(1.0, max(0.0, round(common**2, 12)))


def sampling_limit(expected: Mapping[int, float], shots: int, *, seed: int = 0) -> float:
    """The Hellinger fidelity that a perfect device reaches with so many shots, on average.

    Frequencies of few shots differ from probabilities by chance: a fidelity is to be read beside
    this one. It is found by drawing.
    """
    outcomes = list(expected)
    shares = np.array([expected[outcome] for outcome in outcomes])
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(shots, shares / shares.sum(), size=_DRAWS) / shots
    return float(np.mean(np.sum(np.sqrt(draws * shares), axis=1) ** 2))
