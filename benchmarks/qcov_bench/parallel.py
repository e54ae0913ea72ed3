"""Batches of circuits: processes against one process, and `parallel="auto"` against fixed choices.

Workers are warm, and "auto" has run its batch often enough to know what the circuits cost. Most
rows of "auto" take long: `--heavy` measures them too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pennylane as qml

from qcov.qexecutors.base import CircuitBatch
from qcov.qexecutors.simulator import Simulator
from qcov_bench.rows import Row, medians

_WORKERS = 2
_LAYERS = 3
_SPEED_UPS = {18: 1.15, 20: 1.7}
_DEVICES = ("lightning.qubit", "default.qubit")
_WAYS: dict[str, Any] = {"one by one": False, "threads": "thread", "processes": "process"}
_WIRES = (4, 10, 14, 16, 18, 20)
_SIZES = (1, 10, 200)
_WARM_UP = 6.0  # seconds of circuits before "auto" is measured
_LIGHT = 1.0  # seconds that one by one may take in a row that is always measured
_MEASURED = 9.0  # seconds, roughly, that each way is measured: short ones vary more
#: Seconds for a circuit, roughly: they only say which rows are heavy.
_ROUGHLY = {
    "lightning.qubit": {4: 5e-4, 10: 1e-3, 14: 3e-3, 16: 1e-2, 18: 4e-2, 20: 2e-1},
    "default.qubit": {4: 3e-4, 10: 2e-3, 14: 3e-2, 16: 8e-2, 18: 4e-1, 20: 1.5},
}


def rows(*, heavy: bool = False) -> Iterator[Row]:
    """Measure all comparisons."""
    for wires, goal in _SPEED_UPS.items():
        yield processes(wires, goal)
    for device in _DEVICES:
        for wires in _WIRES:
            for size in _SIZES:
                expected = size * _ROUGHLY[device][wires]
                if heavy or expected <= _LIGHT:
                    rounds = min(101, max(3, int(_MEASURED / expected)))
                    yield automatic(device, wires, size, rounds=rounds)


def processes(wires: int, goal: float, *, size: int = 200, rounds: int = 3) -> Row:
    """The same circuits in 2 processes and in one, on lightning.qubit."""
    batch = circuits(wires, size)
    ways = {
        "two": Simulator("lightning.qubit", parallel="process", workers=_WORKERS),
        "one": Simulator("lightning.qubit", parallel="process", workers=1),
    }
    with _warm(ways, batch) as runs:
        taken = medians(runs, repeats=rounds)
    return Row(
        name=f"{size} circuits of {wires} qubits in {_WORKERS} processes, lightning.qubit",
        ours=taken["two"],
        theirs=taken["one"],
        yardstick="one process",
        ratio=1 / goal,
        count=size,
    )


def automatic(device: str, wires: int, size: int, *, rounds: int) -> Row:
    """The automatic choice beside the best of all fixed ones."""
    batch = circuits(wires, size)
    ways = {
        name: Simulator(device, parallel=parallel, workers=_WORKERS)
        for name, parallel in {"auto": "auto", **_WAYS}.items()
    }
    with _warm(ways, batch) as runs:
        first = medians(runs, repeats=rounds)
        best = min(_WAYS, key=lambda name: first[name])
        # Measured anew: the least of several times is less than what it is the time of.
        taken = medians({name: runs[name] for name in ("auto", best)}, repeats=2 * rounds)
    return Row(
        name=f'parallel="auto": {size} x {wires} qubits, {device}',
        ours=taken["auto"],
        theirs=taken[best],
        yardstick=best,
        ratio=1.05,
        count=size,
    )


def circuits(wires: int, size: int) -> CircuitBatch:
    """Circuits of one structure: layers of rotations and a chain of CNOTs."""
    rng = np.random.default_rng(wires)
    return CircuitBatch(circuits=tuple(_circuit(wires, rng) for _ in range(size)), wires=wires)


def _circuit(wires: int, rng: np.random.Generator) -> Any:
    operations: list[Any] = []
    for angles in rng.random((_LAYERS, wires)):
        operations += [qml.RX(angle, wires=wire) for wire, angle in enumerate(angles)]
        operations += [qml.CNOT(wires=[wire, wire + 1]) for wire in range(wires - 1)]
    return qml.tape.QuantumScript(operations, [qml.expval(qml.Z(0) @ qml.X(1))])


@contextmanager
def _warm(
    ways: dict[str, Simulator], batch: CircuitBatch
) -> Generator[dict[str, Callable[[], object]], None, None]:
    """What runs a batch by each way; all is closed afterwards."""
    try:
        for simulator in ways.values():
            _warm_up(simulator, batch)
        yield {name: _runner(simulator, batch) for name, simulator in ways.items()}
    finally:
        for simulator in ways.values():
            simulator.close()


def _runner(simulator: Simulator, batch: CircuitBatch) -> Callable[[], object]:
    return lambda: simulator.run_batch(batch)


def _warm_up(simulator: Simulator, batch: CircuitBatch) -> None:
    chooses = simulator.parallel == "auto" and len(batch.circuits) > 1
    until = time.monotonic() + (_WARM_UP if chooses else 0)
    simulator.run_batch(batch)
    while time.monotonic() < until:
        simulator.run_batch(batch)
