"""Circuits leave records that are data, wherever they run and whoever collects."""

import gc
import json
import subprocess
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pennylane as qml
import pytest

from qcov import context, records, wire
from qcov.diagrams import draw, parse
from qcov.qexecutors.base import BaseQExecutor, CircuitBatch, CircuitResult
from qcov.qexecutors.simulator import Simulator
from qcov.quantum.circuit_data import cut, plain
from qcov.quantum.qelectron import qelectron


@qml.qnode(qml.device("default.qubit", wires=3))
def bare(x: Any) -> Any:
    """Prepare and measure."""
    qml.RX(x, 0)
    qml.CRY(2 * x, [0, 2])
    qml.Toffoli([0, 1, 2])
    qml.QubitUnitary(np.eye(2), 1)
    return qml.expval(qml.Z(0)), qml.probs([0])


def test_fields() -> None:
    circuit = qelectron(bare, name="mine")
    with (
        context.running(context.Context(dispatch_id="d", node_id=3, electron="task")),
        records.collecting() as sink,
    ):
        value = circuit(0.3)
        circuit.run_later(0.4).result()
    circuit(0.5)

    first, second = sink.drain()
    assert sink.drain() == []
    assert json.loads(json.dumps(first)) == first
    assert first["id"] != second["id"]
    expected = {
        "dispatch_id": "d",
        "node_id": 3,
        "qelectron": "mine",
        "description": "Prepare and measure.",
        "executor": "Simulator",
        "device": "default.qubit",
        "shots": None,
        "wires": 3,
        "error": None,
    }
    assert expected.items() <= first.items()
    assert first["result"] == [float(value[0]), value[1].tolist()]
    assert first["parameters"][:2] == [0.3, 0.6]
    assert first["structure"] == second["structure"]
    assert first["structure_data"] is not None
    assert second["structure_data"] is None
    assert first["queued"] <= first["started"] <= first["finished"]
    assert [attempt["number"] for attempt in first["attempts"]] == [1]

    last = circuit.history[-1]
    assert (last.dispatch_id, last.parameters[0]) == (None, 0.5)


def test_a_record_can_be_rebuilt_and_drawn() -> None:
    circuit = qelectron(bare)
    circuit(0.3)
    record = circuit.history[0]
    assert record.drawing.splitlines() == [
        "0: ──RX(0.30)─╭●────────╭●───────────────────┤ expval(Z(0)) probs",
        "1: ───────────│─────────├●─QubitUnitary(...)─┤",
        "2: ───────────╰RY(0.60)─╰X───────────────────┤",
    ]
    assert record.openqasm is None
    assert record.specs["gates"] == {"RX": 1, "CRY": 1, "Toffoli": 1, "QubitUnitary": 1}


def test_openqasm() -> None:
    @qelectron
    @qml.qnode(qml.device("default.qubit", wires=2))
    def bell(angle: float) -> Any:
        qml.Hadamard(0)
        qml.CRZ(angle, [0, 1])
        return qml.probs()

    bell(0.25)
    assert "h q[0];\ncrz(0.25) q[0],q[1];\n" in bell.history[0].openqasm


def test_persist_data_false_keeps_circuit_and_result_out() -> None:
    circuit = qelectron(bare, executors=Simulator(persist_data=False))
    circuit(0.3)
    record = circuit.history[0]
    assert (record.structure, record.parameters, record.result) == (None, None, None)
    assert (record.drawing, record.wires, record.executor) == (None, 3, "Simulator")


def test_failures_are_recorded() -> None:
    @qelectron
    @qml.qnode(qml.device("default.qubit", wires=1))
    def circuit(wire: int) -> Any:
        qml.X(wire)
        return qml.expval(qml.Z(0))

    with records.collecting() as sink:
        future = circuit.run_later(5)
        assert future.exception() is not None
    (record,) = sink.drain()
    assert record["error"].startswith("WireError: ")
    assert record["attempts"][0]["error"] == record["error"]


@pytest.mark.parametrize("method", ["best", "parameter-shift"])
def test_gradients_leave_a_record_per_circuit(method: str) -> None:
    circuit = qelectron(bare.update(diff_method=method), executors=Simulator())
    x = qml.numpy.array(0.3, requires_grad=True)
    with records.collecting() as sink:
        qml.jacobian(lambda y: circuit(y)[1])(x)
    drained = sink.drain()
    assert len(drained) == (1 if method == "best" else 1 + 2 + 4)
    assert all(json.dumps(record) for record in drained)
    assert drained[0]["parameters"][0] == pytest.approx(0.3)


def test_sinks_collect_from_all_threads_and_only_meanwhile() -> None:
    circuit = qelectron(bare)
    circuit(0.1)
    with records.collecting() as outer, records.collecting() as inner:
        threads = [threading.Thread(target=circuit, args=(0.1,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [len(sink.drain()) for sink in (outer, inner)] == [4, 4]


def test_ids_are_unique() -> None:
    assert max(Counter(records.next_id() for _ in range(1000)).values()) == 1


def test_large_results_are_cut() -> None:
    @qelectron
    @qml.qnode(qml.device("default.qubit", wires=13))
    def circuit() -> Any:
        return qml.state()

    circuit()
    result = circuit.history[0].result
    assert (result["shape"], len(result["first"])) == ([2**13], 4096)
    assert result["first"][0] == {"re": 1.0, "im": 0.0}


class Giving(BaseQExecutor):
    """Gives what it is told to make for every circuit."""

    make: Callable[[], Any]

    def run_batch(self, batch: CircuitBatch) -> list[Any]:
        return [self.make() for _ in batch.circuits]


class Silent:
    """Says nothing about itself."""

    def __repr__(self) -> str:
        raise RuntimeError("no words")


def test_what_an_executor_says_becomes_data_that_can_be_sent() -> None:
    said = CircuitResult(
        value=np.array([0.5]),
        execution_time=np.float32(0.5),
        device=np.str_("mine"),
        backend=7,
        job_id=2**70,
        metadata={"seed": 2**70, "raw": b"bytes", "long": np.longdouble(0.5), 3: {1, 2}},
    )
    circuit = qelectron(bare, executors=Giving(make=lambda: said))
    with records.collecting() as sink:
        circuit(0.3)
    (record,) = sink.drain()

    assert wire.unpack(wire.pack(record)) == json.loads(json.dumps(record)) == record
    expected = {"execution_time": 0.5, "device": "mine", "backend": "7", "job_id": str(2**70)}
    assert expected.items() <= record.items()
    assert record["metadata"] == {"seed": hex(2**70), "raw": None, "long": 0.5, "3": None}


@pytest.mark.parametrize(
    ("make", "gates"),
    [
        (lambda: CircuitResult(value=1.0, execution_time="soon"), [qml.RX(0.1, 0)]),
        (lambda: CircuitResult(value=1.0, job_id=Silent()), [qml.RX(0.1, 0)]),
        (lambda: 1.0, [qml.MultiControlledX([0, 1], [True], work_wires=[])]),
    ],
    ids=["a time that is none", "an id that cannot be said", "a hyperparameter"],
)
def test_what_cannot_be_made_data_becomes_an_error_in_its_record(make: Any, gates: Any) -> None:
    if isinstance(gates[0], qml.MultiControlledX):
        gates[0].hyperparameters["silent"] = Silent()
    odd, good = qelectron(bare, executors=Giving(make=make)), qelectron(bare)
    with records.collecting() as sink:
        good(0.1)
        odd.device.run([qml.tape.QuantumScript(gates, [qml.expval(qml.Z(0))])], None, None)
        good(0.2)
    drained = sink.drain()

    assert wire.pack(drained)
    errors = [record["error"] for record in drained]
    assert (errors[0], errors[2]) == (None, None)
    assert errors[1].startswith("the record of this circuit could not be made: ")
    assert odd.history[0].error == errors[1]
    assert (odd.history[0].executor, odd.history[0].qelectron) == ("Giving", "bare")


@pytest.mark.parametrize(
    ("make", "persist"),
    [
        (lambda: np.zeros(2**13), True),
        (lambda: np.zeros(2**13)[:2], True),
        (lambda: CircuitResult(value=(1.0, np.zeros(2**13))), True),
        (lambda: np.zeros(2), False),
    ],
    ids=["large", "a piece of a large one", "wrapped", "not persisted"],
)
def test_a_history_keeps_no_large_result_alive(make: Any, persist: bool) -> None:
    alive: list[weakref.ref[Any]] = []

    def made() -> Any:
        result = make()
        value = result.value[1] if isinstance(result, CircuitResult) else result
        alive.append(weakref.ref(value if value.base is None else value.base))
        return result

    circuit = qelectron(bare, executors=Giving(make=made, persist_data=persist))
    circuit(0.3)
    gc.collect()

    assert [ref() for ref in alive] == [None]
    assert (circuit.history[0].result is None) is not persist


def test_a_history_keeps_nothing_alive_that_an_error_passed() -> None:
    array = np.zeros(2)
    alive = weakref.ref(array)

    def fail(held: Any = array) -> Any:
        local = held
        raise ValueError("no luck", local.size)

    circuit = qelectron(bare, executors=Giving(make=fail))
    with pytest.raises(ValueError, match="no luck"):
        circuit(0.3)
    circuit.device.executor.make, array, fail = float, None, None
    gc.collect()

    assert alive() is None
    assert circuit.history[0].error == "ValueError: ('no luck', 2)"


@pytest.mark.parametrize(
    "value",
    [
        0.5,
        "text",
        (np.float32(0.5), {"00": np.int64(3), 1: None}, 1j, [True]),
        np.arange(10000) * (1 + 1j),
        {str(key): key for key in range(10000)},
        [0.5] * 10000,
        complex("nan"),
    ],
    ids=["a number", "text", "nested", "an array", "counts", "a list", "no number"],
)
def test_what_is_kept_makes_the_same_data_and_is_never_large(value: Any) -> None:
    assert plain(cut(value)) == plain(value)
    assert len(json.dumps(plain(value))) < 300_000


KEY = """
import numpy as np, pennylane as qml
from qcov.quantum.circuit_structure import structure_of
tape = qml.tape.QuantumScript(
    [qml.RX(0.1, 0), qml.MultiControlledX([0, 1, 2]), qml.QFT([0, 1])],
    [qml.expval(qml.Hamiltonian([1.0, 2.0], [qml.Z(0), qml.X(1)])), qml.probs([0])],
)
print(structure_of(tape).key)
"""


@pytest.mark.process
def test_structures_have_the_same_key_in_every_process() -> None:
    here: dict[str, Any] = {}
    exec(KEY, here)
    there = subprocess.run([sys.executable, "-c", KEY], capture_output=True, text=True, check=True)
    assert there.stdout.strip() == here["structure_of"](here["tape"]).key


DIFFERENT = [
    ([qml.RX(0.1, 0)], [qml.expval(qml.Z(0))]),
    ([qml.RY(0.1, 0)], [qml.expval(qml.Z(0))]),
    ([qml.RX(0.1, 1)], [qml.expval(qml.Z(0))]),
    ([qml.RX(0.1, 0)], [qml.expval(qml.Hermitian(np.eye(64), range(6)))]),
    ([qml.RX(0.1, 0)], [qml.expval(qml.Hermitian(np.diag([1.0] * 63 + [2.0]), range(6)))]),
    ([qml.MultiControlledX([0, 1, 2], [True, True])], [qml.probs()]),
    ([qml.MultiControlledX([0, 1, 2], [True, False])], [qml.probs()]),
    ([qml.CRX(0.1, [0, 1])], [qml.probs()]),
    ([qml.CRX(0.1, [1, 0])], [qml.probs()]),
    ([qml.ctrl(qml.RX(0.1, 1), 0)], [qml.var(qml.Z(0))]),
    ([qml.ctrl(qml.RX(0.1, 1), 0, control_values=[False])], [qml.var(qml.Z(0))]),
    ([qml.adjoint(qml.PauliRot(0.1, "XX", [0, 1]))], [qml.probs()]),
    ([qml.adjoint(qml.PauliRot(0.1, "YY", [0, 1]))], [qml.probs()]),
    ([qml.ctrl(qml.PauliRot(0.1, "XX", [0, 1]), 2)], [qml.probs()]),
    ([qml.ctrl(qml.PauliRot(0.1, "YY", [0, 1]), 2)], [qml.probs()]),
    ([qml.X(0) ** 0.3], [qml.probs()]),
    ([qml.X(0) ** 0.4], [qml.probs()]),
    ([qml.RX(np.array([0.1, 0.2]), 0)], [qml.expval(qml.Z(0))]),
    ([qml.RX(0.1, 0)], [qml.expval(qml.Z(0) @ qml.X(1))]),
    ([qml.RX(0.1, 0)], [qml.expval(0.5 * qml.Z(0))]),
]


def test_different_circuits_have_different_keys() -> None:
    from qcov.quantum.circuit_structure import structure_of

    tapes = [qml.tape.QuantumScript(*parts) for parts in DIFFERENT]
    keys = [structure_of(tape).key for tape in tapes]
    assert len(set(keys)) == len(tapes)
    assert [structure_of(tape).key for tape in tapes] == keys


def test_a_sink_keeps_little_of_each_circuit() -> None:
    """The circuits themselves, kilobytes each, do not wait until it is drained."""
    circuit = qelectron(bare)
    with records.collecting() as sink:
        for _ in range(20):
            for future in [circuit.run_later(0.1) for _ in range(100)]:
                future.result()
        gc.collect()
        assert sum(type(thing) is qml.tape.QuantumScript for thing in gc.get_objects()) < 1000
        assert len({record["id"] for record in sink.drain()}) == 2000


def test_a_large_matrix_is_not_kept() -> None:
    matrix = np.eye(2**7)

    @qelectron
    @qml.qnode(qml.device("default.qubit", wires=7))
    def circuit(matrix: Any) -> Any:
        qml.QubitUnitary(matrix, wires=range(7))
        return qml.expval(qml.Z(0))

    circuit(matrix)
    kept = weakref.ref(matrix)
    del matrix
    gc.collect()
    assert kept() is None
    (parameter,) = circuit.history[0].parameters
    assert parameter["shape"] == [128, 128]


def test_long_circuits_are_drawn_in_blocks() -> None:
    row = '["RX", [0], [[]], null]'
    structure = parse(f'{{"operations": [{", ".join([row] * 30)}], "measurements": []}}')
    lines = draw(structure, [0.5] * 30).splitlines()
    assert len([line for line in lines if line]) > 1
    assert max(map(len, lines)) < 110


def test_records_need_no_pennylane() -> None:
    program = "import sys, qcov.records; print('pennylane' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "False"]
