"""Circuits are filed with the electron that asked for them."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import httpx
import pennylane as qml
import pytest

import qcov as ct
from qcov.classical.engine.client import connect
from qcov.errors import ExecutorOffline

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


@ct.qelectron(executors=ct.executor.FakeQPU(url="http://127.0.0.1:9", retries=0, break_after=1))
@qml.set_shots(10)
@qml.qnode(qml.device("default.qubit", wires=1))
def out_of_reach() -> Any:
    return qml.expval(qml.Z(0))


@ct.electron
def asks_in_vain() -> str:
    with pytest.raises(ExecutorOffline):
        out_of_reach()
    return "it was refused"


def test_a_page_says_which_executor_is_left_alone(common_engine: Path) -> None:
    assert ct.dispatch_sync(ct.lattice(lambda: asks_in_vain()))().result == "it was refused"  # noqa: PLW0108
    with contextlib.closing(connect(start=True)) as client:
        url = client.call("serve", host="localhost", port=0)["url"]
    headers = {"authorization": f"Bearer {(common_engine / 'server.token').read_text()}"}
    page = httpx.get(f"{url}/executors", headers=headers).text

    row = page.partition("FakeQPU")[2].partition("</tr>")[0]
    assert "Left alone" in row
