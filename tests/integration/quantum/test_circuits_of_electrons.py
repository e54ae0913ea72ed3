"""Circuits are filed with the electron that asked for them."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import httpx
import pennylane as qml
import pytest

import qcov as ct
from qcov.classical.engine.client import call, connect
from qcov.errors import ExecutorOffline
from qcov_server.tokens import Tokens

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
    page = httpx.get(f"{url}/executors", headers=headers, timeout=60).text

    row = page.partition("FakeQPU")[2].partition("</tr>")[0]
    assert "Left alone" in row


@ct.lattice
def around(x: float) -> float:
    return waits_for_one_of_its_own(ct.electron(ct.lattice(waits_for_one_of_its_own))(x))


def test_who_sees_one_dispatch_hears_of_its_sublattices_circuits(common_engine: Path) -> None:
    with contextlib.closing(connect(start=True)) as client:
        url = client.call("serve", host="localhost", port=0)["url"]
    dispatch_id = ct.dispatch(around, disable_run=True)(0.5)
    token = Tokens(common_engine).share("a guest", lifetime=600.0, dispatch=dispatch_id)
    headers = {"authorization": f"Bearer {token}"}
    with httpx.stream("GET", f"{url}/api/v1/events", headers=headers, timeout=60) as stream:
        lines = stream.iter_lines()
        assert "event: hello" in lines
        ct.dispatch_sync(workflow)(0.75)  # somebody else's
        call("start", dispatch_id=dispatch_id, variables={})
        told: list[dict[str, Any]] = []
        while dispatch_id not in [one["dispatch"] for one in told]:  # its own come last
            assert "event: circuits" in lines
            told += json.loads(next(lines).partition(": ")[2])
    Tokens(common_engine).revoke("a guest")

    part = call("nodes", dispatch_id=dispatch_id, node_id=0)[0]["sub_dispatch_id"]
    assert [(one["dispatch"], one["count"]) for one in told] == [(part, 1), (dispatch_id, 1)]
    assert "root" not in told[0]
