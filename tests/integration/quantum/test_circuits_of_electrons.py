"""Circuits are filed with the electron that asked for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pennylane as qml
import pytest

import qcov as ct

pytestmark = pytest.mark.process


@ct.qelectron(executors=ct.executor.Simulator(max_batch=1))
@qml.qnode(qml.device("default.qubit", wires=14))
def circuit(x: float) -> Any:
    for _ in range(20):
        for wire in range(14):
            qml.RX(x, wire)
    return qml.expval(qml.Z(0))


@ct.electron
def waits_for_none(x: float) -> float:
    for step in range(4):
        circuit.run_later(x + step)
    return x


@ct.electron
def waits_for_one_of_its_own(x: float) -> float:
    return float(circuit(x))


@ct.lattice
def workflow(x: float) -> float:
    return waits_for_one_of_its_own(waits_for_none(x))


def test_circuits_that_nobody_waited_for(common_engine: Path) -> None:
    result = ct.dispatch_sync(workflow)(0.25)
    assert result.status == "COMPLETED", result.error
    asked = {
        node["node_name"]: [record.parameters[0] for record in node["qelectron"]]
        for node in result.get_all_node_results()
        if node["qelectron"]
    }
    assert asked == {
        "waits_for_none": [0.25, 1.25, 2.25, 3.25],
        "waits_for_one_of_its_own": [0.25],
    }
