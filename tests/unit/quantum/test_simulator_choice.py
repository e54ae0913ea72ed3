"""`Simulator(parallel="auto")` chooses by what circuits have cost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pennylane as qml
import pytest

from qcov.context import Context, running
from qcov.qexecutors.base import CircuitBatch
from qcov.qexecutors.simulator import Simulator
from qcov.qexecutors.simulator_choice import Costs, Options, Way

WARM = Options(workers=2, threads=False, processes=True, start=0.0)
COLD = replace(WARM, start=2.0)


@pytest.mark.parametrize(
    ("seconds", "count", "options", "way"),
    [
        (1e-4, 1000, WARM, "here"),  # sending a circuit costs more than running it
        (0.1, 10, WARM, "processes"),
        (0.1, 10, COLD, "here"),  # over before they have started
        (0.1, 100, COLD, "processes"),
        (0.1, 100, replace(COLD, processes=False), "here"),
        (0.1, 10, replace(COLD, threads=True), "threads"),
    ],
)
def test_what_was_never_tried_is_estimated(
    seconds: float, count: int, options: Options, way: Way
) -> None:
    costs = Costs()
    costs.note("kind", "here", seconds)
    assert costs.choose("kind", count, options) == way


def test_what_was_measured_counts() -> None:
    costs = Costs()
    costs.note("kind", "here", 0.1)
    costs.note("kind", "processes", 0.12)
    assert costs.choose("kind", 10, WARM) == "here"
    costs.note("kind", "here", 5.0)  # something else ran meanwhile
    costs.note("kind", "here", 0.1)
    assert costs.choose("kind", 10, WARM) == "here"


def test_a_way_that_was_slower_is_tried_again() -> None:
    costs = Costs()
    costs.note("kind", "processes", 0.12)
    ways: list[Way] = []
    for _ in range(60):
        costs.note("kind", "here", 0.1)
        ways.append(costs.choose("kind", 10, WARM))
    assert ways[0] == "here"
    assert ways[-1] == "processes"
    costs.note("kind", "processes", 0.12)
    assert costs.choose("kind", 10, WARM) == "here"


def test_processes_start_when_they_would_have_paid() -> None:
    costs = Costs()
    costs.note("kind", "here", 0.1)
    starts = [costs.should_start("kind", 10, COLD) for _ in range(8)]
    assert starts.index(True) == pytest.approx(6, abs=1)  # a third of a second each time
    assert not any(Costs.should_start(costs, "kind", 10, WARM) for _ in range(100))


def circuits(count: int, shots: int | None = None) -> CircuitBatch:
    rng = np.random.default_rng(0)
    made = [
        qml.tape.QuantumScript([qml.RX(x, 0)], [qml.expval(qml.Z(0))], shots=shots)
        for x in rng.random(count)
    ]
    return CircuitBatch(circuits=tuple(made), wires=1)


def force(simulator: Simulator, way: Way) -> None:
    """Make a way look free of costs for one-qubit circuits, and running them here look slow."""
    kind = (simulator.device, 1, 1, 1)
    simulator._local.costs.note(kind, "here", 1000.0)
    simulator._local.costs.note(kind, way, 0.0)


@pytest.mark.process
def test_the_chosen_way_is_taken() -> None:
    simulator = Simulator(workers=2)
    batch = circuits(100)
    expected = simulator.run_batch(batch)
    assert simulator._local._processes is None
    simulator._local.processes(2, simulator.device, {}).start()
    simulator._local._processes.warm.wait(60)
    force(simulator, "processes")
    np.testing.assert_allclose(simulator.run_batch(batch), expected, atol=1e-12)
    assert simulator._local.costs._measured[("default.qubit", 1, 1, 1)]["processes"].seconds > 0
    simulator.close()


@pytest.mark.parametrize("shots", [None, 100])
def test_shots_and_single_cores_stay_here(shots: int | None) -> None:
    cores = 1 if shots is None else 2
    with running(Context(dispatch_id="d", node_id=0, electron="e", cores=cores)):
        simulator = Simulator()
        force(simulator, "processes")
        simulator.run_batch(circuits(10, shots))
    assert simulator._local._processes is None
    assert simulator._local._threads is None
