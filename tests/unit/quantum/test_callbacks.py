"""Whoever is told that a future is done may ask for more, of the same executor too."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pennylane as qml
import pytest

from qcov.qexecutors.base import BaseQExecutor, CircuitBatch
from qcov.qexecutors.simulator import Simulator
from qcov.quantum.futures import gather
from qcov.quantum.qelectron import qelectron


@qml.qnode(qml.device("default.qubit", wires=1))
def bare(x: Any) -> Any:
    qml.RX(x, 0)
    return qml.expval(qml.Z(0))


class Slow(BaseQExecutor):
    """Begins when it is told to."""

    def run_batch(self, batch: CircuitBatch) -> Sequence[Any]:
        begin.wait(30)
        return [circuit.operations[0].data[0] for circuit in batch.circuits]


begin = threading.Event()

SETTINGS: list[dict[str, Any]] = [
    {},
    {"max_batch": 2},
    {"max_jobs": 2, "max_batch": 1},
    {"time_limit": 30},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_a_transform_runs_circuits_of_the_same_executor(settings: dict[str, Any]) -> None:
    """What it does with the results is the user's code, as a callback is."""
    executor = Simulator(**settings)
    correction = qelectron(bare, executors=executor)

    @qml.transform
    def corrected(tape: Any) -> Any:
        return (tape,), lambda results: results[0] - correction(0.0)

    wanted = corrected(bare)
    circuit = qelectron(wanted, executors=executor)
    futures = [circuit.run_later(0.1 * step) for step in range(4)]
    values = gather(futures, timeout=60)
    np.testing.assert_allclose(values, [wanted(0.1 * step) for step in range(4)], atol=1e-7)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("executor", [Slow, Simulator])
def test_a_callback_asks_for_more(executor: type[Any], settings: dict[str, Any]) -> None:
    circuit = qelectron(bare, executors=executor(**settings))
    told, values = threading.Event(), list[Any]()
    begin.clear()
    futures = [circuit.run_later(0.1 * step) for step in range(5)]

    def more(_: object) -> None:
        values.append(gather(futures))
        values.append(circuit(0.5))
        values.append(circuit.run_later(0.7).result())
        told.set()

    futures[0].add_done_callback(more)
    begin.set()
    assert told.wait(30)
    assert values == [gather(futures), circuit(0.5), circuit(0.7)]


def test_a_callback_of_a_bound_future_asks_for_the_others() -> None:
    torch = pytest.importorskip("torch")
    circuit = qelectron(bare)
    futures = [circuit.run_later(torch.tensor(x, requires_grad=True)) for x in (0.1, 0.2)]
    values: list[Any] = []
    futures[0].add_done_callback(lambda _: values.append(gather(futures)))
    assert values == [gather(futures)]


class Around(BaseQExecutor):
    """Runs circuits by another qelectron, whose futures it awaits."""

    def run_batch(self, batch: CircuitBatch) -> Sequence[Any]:
        async def run() -> list[Any]:
            angles = [torch.tensor(circuit.operations[0].data[0]) for circuit in batch.circuits]
            return await asyncio.gather(*map(inner.run_later, angles))

        torch, inner = sys.modules["torch"], qelectron(bare)
        return [value.numpy() for value in asyncio.run(run())]


def test_an_executor_awaits_futures_of_another_qelectron() -> None:
    pytest.importorskip("torch")
    outer = qelectron(bare, executors=Around())
    values = gather([outer.run_later(x) for x in (0.1, 0.2)])
    np.testing.assert_allclose(values, np.cos([0.1, 0.2]))


def test_a_callback_that_is_interrupted_takes_no_other_with_it() -> None:
    circuit, told = qelectron(bare), list[int]()

    def tell(place: int) -> None:
        told.append(place)
        if place == 1:
            raise KeyboardInterrupt

    futures = [circuit.run_later(0.1 * step) for step in range(4)]
    for place, future in enumerate(futures):
        future.add_done_callback(lambda _, place=place: tell(place))
    with contextlib.suppress(KeyboardInterrupt):
        gather(futures)
    assert sorted(told) == [0, 1, 2, 3]
