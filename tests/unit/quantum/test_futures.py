"""`run_later`: futures that hold, coalesce, cancel, wait and await as one expects."""

import asyncio
import concurrent.futures
import gc
import os
import pickle
import subprocess
import sys
import threading
import weakref
from typing import Any

import jax
import numpy as np
import pennylane as qml
import pytest
from pydantic import PrivateAttr

from qcov.errors import CircuitError, NotAFuture, StaleFuture, WrongSetting
from qcov.mapping import map as ct_map
from qcov.qexecutors.base import BaseQExecutor, CircuitBatch
from qcov.qexecutors.pennylane_adapter import check_queues
from qcov.qexecutors.simulator import Simulator
from qcov.quantum.futures import CircuitFuture, as_completed, gather
from qcov.quantum.qelectron import QElectron, qelectron

ANGLES = np.linspace(0, 3, 40)


@qml.qnode(qml.device("lightning.qubit", wires=2))
def bare(x: Any) -> Any:
    qml.RX(x, 0)
    qml.CNOT([0, 1])
    return qml.expval(qml.Z(1))


class Gate(BaseQExecutor):
    """Runs nothing before it is opened."""

    _open: threading.Event = PrivateAttr(default_factory=threading.Event)
    _entered: threading.Event = PrivateAttr(default_factory=threading.Event)
    _sizes: list[int] = PrivateAttr(default_factory=list)

    def run_batch(self, batch: CircuitBatch) -> list[Any]:
        self._sizes.append(len(batch.circuits))
        self._entered.set()
        assert self._open.wait(30)
        return [circuit.operations[0].data[0] for circuit in batch.circuits]


def test_values(executor: BaseQExecutor | None) -> None:
    circuit = qelectron(bare, executors=executor)
    futures = [circuit.run_later(angle) for angle in ANGLES]
    np.testing.assert_allclose(gather(futures), [bare(angle) for angle in ANGLES], atol=1e-7)
    assert gather(*futures[:2]) == gather(futures[:2])


def test_what_waits_runs_as_one_batch() -> None:
    gate = Gate()
    circuit = qelectron(bare, executors=gate)
    first = circuit.run_later(0.0)
    assert gate._entered.wait(30)
    others = [circuit.run_later(angle) for angle in ANGLES]
    assert not first.done()
    assert first.running()

    gate._open.set()
    assert gather(others) == list(ANGLES)
    assert gate._sizes == [1, len(ANGLES)]


def test_arguments_may_change_after_the_call() -> None:
    circuit = qelectron(bare)
    point = np.array(0.3)
    future = circuit.run_later(float(point))
    point += 1
    assert future.result() == pytest.approx(bare(0.3))


def test_the_circuits_own_timeout() -> None:
    class Late(BaseQExecutor):
        def run_batch(self, batch: CircuitBatch) -> Any:
            raise TimeoutError("the provider's")

    future = qelectron(bare, executors=Late()).run_later(0.1)
    with pytest.raises(TimeoutError, match="the provider's"):
        future.result(timeout=30)
    assert "provider" in str(future.exception(timeout=30))


def test_cancel_and_timeout() -> None:
    gate = Gate()
    circuit = qelectron(bare, executors=gate)
    running = circuit.run_later(0.1)
    assert gate._entered.wait(30)
    waiting = circuit.run_later(0.2)
    with pytest.raises(TimeoutError, match=r"not ended within 0\.01 s; it goes on"):
        running.result(timeout=0.01)
    with pytest.raises(TimeoutError, match=r"not ended within 0\.01 s"):
        running.exception(timeout=0.01)
    with pytest.raises(TypeError, match=r"Send its result\(\) instead"):
        pickle.dumps(running)

    assert not running.cancel()
    assert waiting.cancel()
    gate._open.set()
    assert running.result() == 0.1
    with pytest.raises(concurrent.futures.CancelledError):
        waiting.result()
    assert gate._sizes == [1]


def test_as_completed_and_callbacks() -> None:
    circuit = qelectron(bare)
    futures = [circuit.run_later(angle) for angle in ANGLES]
    seen: list[Any] = []
    futures[0].add_done_callback(seen.append)
    assert set(as_completed(futures, timeout=30)) == set(futures)
    assert seen == [futures[0]]


def test_await() -> None:
    circuit = qelectron(bare)

    async def main() -> list[Any]:
        return await asyncio.gather(*[_await(circuit, angle) for angle in ANGLES])

    np.testing.assert_allclose(asyncio.run(main()), [bare(angle) for angle in ANGLES])


async def _await(circuit: QElectron, angle: float) -> Any:
    return await circuit.run_later(angle)


def test_asking_a_bound_future_whether_it_is_done_ends() -> None:
    circuit = qelectron(bare.update(interface="autograd"))
    future = circuit.run_later(qml.numpy.array(0.4))
    assert future.done()
    assert future.exception() is None


def test_an_error_belongs_to_its_circuit_and_is_raised_every_time() -> None:
    @qml.qnode(qml.device("default.qubit", wires=1))
    def circuit(x: float) -> Any:
        qml.QubitUnitary(np.eye(2), wires=0)
        qml.RX(x, 0)
        return qml.expval(qml.Z(0 if x < 1 else 5))

    electron = qelectron(circuit)
    futures = [electron.run_later(angle) for angle in (0.1, 2.0, 0.2)]
    assert [future.exception() is None for future in futures] == [True, False, True]
    for _ in range(2):
        with pytest.raises(qml.exceptions.WireError):
            futures[1].result()


@pytest.mark.parametrize("device", ["default.qubit", "lightning.qubit"])
@pytest.mark.parametrize("parallel", [False, "thread"])
def test_threads_share_a_qelectron(device: str, parallel: Any) -> None:
    """Covalent died of this with a segmentation fault."""
    circuit = qelectron(bare, executors=Simulator(device, parallel=parallel, workers=2))
    expected = {float(angle): bare(angle) for angle in ANGLES}

    def work(first: int) -> list[bool]:
        angles = [float(angle) for angle in np.roll(ANGLES, first)]
        futures = [circuit.run_later(angle) for angle in angles]
        called = [np.isclose(circuit(angle), expected[angle]) for angle in angles]
        later = zip(futures, angles, strict=True)
        return called + [np.isclose(future.result(), expected[angle]) for future, angle in later]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(all(right) for right in pool.map(work, range(8)))


def test_threads_record_their_own_circuits() -> None:
    """Stock PennyLane loses gates, mixes circuits or deadlocks when threads build them."""
    qnodes = [bare.update(device=qml.device("default.qubit", wires=2)) for _ in range(4)]

    def work(qnode: Any) -> list[Any]:
        return [qnode(angle) for angle in ANGLES]

    expected = work(bare)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for values in pool.map(work, qnodes):
            np.testing.assert_allclose(values, expected)


def test_moved_internals_of_pennylane_fail_loudly(monkeypatch: pytest.MonkeyPatch) -> None:
    check_queues()
    monkeypatch.setattr(qml.QueuingManager, "_active_contexts", OneForAll())
    with pytest.raises(CircuitError, match="queuing of PennyLane"):
        check_queues()


class OneForAll(list[Any]):
    """A stack of queues that all threads share, as PennyLane's own is."""

    def swap(self, new: list[Any]) -> list[Any]:
        old, self[:] = list(self), new
        return old


# -- questions that make no sense --------------------------------------------------------------


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: gather([1]), "gather waits for futures, as run_later gives them; got 1"),
        (lambda: gather(3), "gather waits for futures.* got 3"),
        (lambda: gather(CircuitFuture(), "x"), "got 'x'"),
        (lambda: as_completed(3), "as_completed waits for futures.* got 3"),
        (lambda: as_completed([None]), "got None"),
    ],
)
def test_only_futures_are_waited_for(ask: Any, said: str) -> None:
    with pytest.raises(NotAFuture, match=said):
        ask()


@pytest.mark.parametrize("timeout", ["a", float("nan"), [1], 1j])
def test_a_timeout_is_a_number_of_seconds(timeout: Any) -> None:
    future = CircuitFuture()
    future.set_result(1)
    for ask in (
        lambda: future.result(timeout),
        lambda: future.exception(timeout),
        lambda: gather(future, timeout=timeout),
        lambda: as_completed([future], timeout),
    ):
        with pytest.raises(WrongSetting, match="timeout must be a number of seconds"):
            ask()
    assert future.result(timeout=float("inf")) == 1
    assert gather([]) == gather() == []


def test_gather_waits_for_all_together() -> None:
    with pytest.raises(TimeoutError):
        gather([CircuitFuture(), CircuitFuture()], timeout=0)


# -- cancelling --------------------------------------------------------------------------------


def test_cancelling_frees_the_circuit_and_its_place() -> None:
    gate = Gate()
    circuit = qelectron(bare, executors=gate)
    running = circuit.run_later(0.1)
    assert gate._entered.wait(30)
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    built = circuit.build

    def build(args: Any, kwargs: Any) -> Any:
        call = built(args, kwargs)
        alive.add(call.tape)
        return call

    circuit.build = build  # type: ignore[method-assign]
    waiting = [circuit.run_later(angle) for angle in ANGLES]
    assert gate.in_flight == 1 + len(ANGLES)
    assert all(future.cancel() for future in waiting[1:])
    gc.collect()
    assert len(alive) == 1
    assert gate.in_flight == 2
    gate._open.set()
    assert gather(running, waiting[0]) == [0.1, ANGLES[0]]
    assert gate._sizes == [1, 1]
    assert all(future.cancelled() for future in waiting[1:])


def test_who_waits_learns_of_a_cancelled_future() -> None:
    gate = Gate()
    circuit = qelectron(bare, executors=gate)
    running = circuit.run_later(0.1)
    assert gate._entered.wait(30)
    waiting = [circuit.run_later(angle) for angle in ANGLES]
    assert all(future.cancel() for future in waiting)
    assert set(as_completed(waiting, timeout=30)) == set(waiting)
    assert not concurrent.futures.wait(waiting, timeout=30).not_done
    gate._open.set()
    assert set(as_completed([running, *waiting], timeout=30)) == {running, *waiting}
    assert all(future.cancel() for future in waiting)


def test_what_is_beyond_a_batch_has_not_started() -> None:
    gate = Gate(max_batch=1)
    circuit = qelectron(bare, executors=gate)
    first, *others = [circuit.run_later(angle) for angle in ANGLES]
    assert gate._entered.wait(30)
    assert not first.cancel()
    assert not any(future.running() for future in others)
    assert all(future.cancel() for future in others)
    gate._open.set()
    assert first.result() == ANGLES[0]
    assert gate._sizes == [1]


def test_errors_belong_to_the_future() -> None:
    def fails(circuit: Any, executors: Any) -> Any:
        raise ValueError("no choice")

    circuit = qelectron(bare, executors=[Simulator(), Simulator()], selector=fails)
    future = circuit.run_later(0.1)
    with pytest.raises(ValueError, match="no choice"):
        future.result()
    with pytest.raises(TypeError, match="argument"):
        circuit.run_later().result()


def test_a_bound_call_can_be_cancelled() -> None:
    executor = Gate()
    executor._open.set()
    circuit = qelectron(bare.update(interface="autograd"), executors=executor)
    first, second = (circuit.run_later(qml.numpy.array(angle)) for angle in (0.1, 0.2))
    assert first.cancel()
    assert second.result() == pytest.approx(0.2)
    assert executor._sizes == [1]


def test_ten_thousand_at_once() -> None:
    executor = Gate()
    executor._open.set()
    circuit = qelectron(bare, executors=executor)
    futures = [circuit.run_later(float(number)) for number in range(10_000)]
    assert gather(futures) == [float(number) for number in range(10_000)]
    assert executor.in_flight == 0


def test_batches_are_no_larger_than_the_executor_takes() -> None:
    gate = Gate(max_batch=7)
    circuit = qelectron(bare, executors=gate)
    first = circuit.run_later(0.0)
    assert gate._entered.wait(30)
    others = [circuit.run_later(angle) for angle in ANGLES[:20]]
    gate._open.set()
    assert gather(first, *others) == [0.0, *ANGLES[:20]]
    assert gate._sizes == [1, 7, 7, 6]


# -- derivatives -------------------------------------------------------------------------------

SLOPE = pytest.approx(-np.sin(0.3) - 2 * np.sin(0.6), abs=1e-6)


def later_sum(how: str, x: Any) -> Any:
    """cos(x) + cos(2x), of two qelectrons, with futures."""
    one, other = (qelectron(bare) for _ in range(2))
    futures = [one.run_later(x), other.run_later(2 * x)]
    if how == "gather":
        first, second = gather(futures)
        return first + second
    if how == "as_completed":
        return sum(future.result() for future in as_completed(futures))
    return sum(future.result() for future in (*ct_map(one, [x]), *ct_map(other, [2 * x])))


@pytest.mark.parametrize("how", ["gather", "as_completed", "map"])
def test_futures_inside_a_derivative(how: str) -> None:
    assert qml.grad(lambda x: later_sum(how, x))(qml.numpy.array(0.3)) == SLOPE
    assert jax.grad(lambda x: later_sum(how, x))(0.3) == SLOPE
    assert jax.jit(jax.grad(lambda x: later_sum(how, x)))(0.3) == SLOPE


def test_futures_of_an_outer_derivative_inside_an_inner_one() -> None:
    circuit = qelectron(bare)

    def cost(grad: Any, x: Any) -> Any:
        outer = circuit.run_later(x)
        slope = grad(lambda y: circuit.run_later(y).result() * outer.result())(0.7 * x)
        return outer.result() * slope

    def expected(x: float) -> float:  # -sin(0.7 x) cos(x)^2
        return -np.sin(0.7 * x) * np.cos(x) ** 2

    slope = (expected(0.3 + 1e-5) - expected(0.3 - 1e-5)) / 2e-5
    for grad, x in ((qml.grad, qml.numpy.array(0.3)), (jax.grad, 0.3)):
        assert cost(grad, x) == pytest.approx(expected(0.3), abs=1e-5)
        assert grad(lambda value, grad=grad: cost(grad, value))(x) == pytest.approx(slope, abs=1e-3)


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("differentiate", [qml.grad, jax.grad, jax.jit])
def test_a_future_that_outlives_its_derivative_has_no_value(
    differentiate: Any, asked: bool
) -> None:
    circuit, kept = qelectron(bare), []

    def cost(x: Any) -> Any:
        kept.append(circuit.run_later(x))
        return kept[0].result() if asked else x * 1.0

    differentiate(cost)(qml.numpy.array(0.3) if differentiate is qml.grad else 0.3)
    for _ in range(2):
        with pytest.raises(StaleFuture, match="'bare' was made inside a function"):
            kept[0].result()
    with pytest.raises(StaleFuture):
        qml.grad(lambda y: y * kept[0].result())(qml.numpy.array(0.3))


def test_a_future_from_outside_keeps_its_value_after_a_compilation() -> None:
    future = qelectron(bare).run_later(jax.numpy.array(0.3))
    assert jax.jit(lambda y: y * future.result())(2.0) == pytest.approx(2 * np.cos(0.3), abs=1e-6)
    assert float(future.result()) == pytest.approx(np.cos(0.3), abs=1e-6)


def test_torch_differentiates_a_future_whenever_it_is_asked() -> None:
    torch = pytest.importorskip("torch")
    x = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    future = qelectron(bare).run_later(x)
    value = concurrent.futures.ThreadPoolExecutor(1).submit(future.result).result()
    value.backward()
    assert float(x.grad) == pytest.approx(-np.sin(0.3))


# -- processes ---------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning", "ignore:.*fork.*:RuntimeWarning")
def test_a_fork_runs_its_own_circuits_and_refuses_its_parents_futures() -> None:
    gate = Gate()
    circuit, own = qelectron(bare, executors=gate), qelectron(bare)
    waiting = circuit.run_later(0.1)
    assert gate._entered.wait(30)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            assert gate.in_flight == 0
            assert own.run_later(0.3).result(30) == pytest.approx(np.cos(0.3))
            with pytest.raises(CircuitError, match="only that one gets the result"):
                waiting.result(30)
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    gate._open.set()
    assert waiting.result() == 0.1


SCRIPT = """
import pennylane as qml, qcov as ct

@ct.qelectron
@qml.qnode(qml.device("default.qubit", wires=1))
def circuit(x):
    qml.RX(x, 0)
    return qml.expval(qml.Z(0))

class Stuck(ct.executor.BaseQExecutor):
    def run_batch(self, batch):
        import threading
        threading.Event().wait()

futures = [circuit.run_later(0.1 * number) for number in range(200)]
futures[0].add_done_callback(lambda future: print(round(float(future.result()), 3)))
late = ct.qelectron(circuit.original_qnode, executors=Stuck(time_limit=0.05)).run_later(0.1)
"""


@pytest.mark.process
def test_the_interpreter_ends_with_unfinished_futures() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=90
    )
    assert (ended.returncode, ended.stdout.strip(), ended.stderr) == (0, "1.0", "")


AT_THE_END = """
import sys
import time
import pennylane as qml
import qcov as ct


class Slow(ct.executor.BaseQExecutor):
    def run_batch(self, batch):
        time.sleep(0.02)
        return [0.0] * len(batch.circuits)


@ct.qelectron(executors=Slow(max_batch=1, max_jobs=2))
@qml.qnode(qml.device("default.qubit", wires=1))
def circuit(x):
    qml.RX(x, wires=0)
    return qml.expval(qml.Z(0))


for _ in range(10):
    # In one write: callbacks run in the threads that finish the circuits.
    circuit.run_later(0.1).add_done_callback(lambda done: sys.stdout.write(f"{done.result()}\\n"))
"""


@pytest.mark.process
def test_batches_that_wait_when_the_interpreter_ends() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", AT_THE_END], capture_output=True, text=True, timeout=90
    )
    assert (ended.returncode, ended.stdout.split(), ended.stderr) == (0, ["0.0"] * 10, "")


@pytest.mark.parametrize(
    "operation",
    [
        lambda c: qml.Qubitization(qml.Hamiltonian(c, [qml.Z(0), qml.X(1)]), control=[2]),
        lambda c: qml.PrepSelPrep(qml.Hamiltonian(c, [qml.Z(0), qml.X(1)]), control=[2]),
        lambda c: qml.QDrift(qml.Hamiltonian(c, [qml.Z(0), qml.X(0)]), 1.0, n=3, seed=1),
    ],
)
def test_coefficients_that_change_after_the_call(operation: Any) -> None:
    @qml.qnode(qml.device("default.qubit", wires=3))
    def prepared(coefficients: Any) -> Any:
        qml.Hadamard(0)
        operation(coefficients)
        return qml.probs(wires=[0, 1, 2])

    coefficients = np.array([0.3, 0.4])
    expected = prepared(coefficients)
    future = qelectron(prepared).run_later(coefficients)
    coefficients[:] = [0.8, 0.1]
    np.testing.assert_allclose(future.result(), expected, atol=1e-7)


def test_asyncio_wait_says_what_it_needs() -> None:
    circuit = qelectron(bare)

    async def main() -> None:
        await asyncio.wait([circuit.run_later(0.1)])  # type: ignore[type-var]

    with pytest.raises(TypeError, match=r"asyncio\.ensure_future\(future\)"):
        asyncio.run(main())


SLOW_FAILOVER = """
import sys, time
import pennylane as qml
import qcov as ct


class Hang(ct.executor.BaseQExecutor):
    def run_batch(self, batch):
        time.sleep(100)


def asks_around(circuit, executors):
    time.sleep(0.05)
    return executors[0]


cluster = ct.QCluster(
    executors=[Hang(time_limit=0.2), ct.executor.Simulator()], selector=asks_around
)


@ct.qelectron(executors={executors})
@qml.qnode(qml.device("default.qubit", wires=1))
def circuit(x):
    qml.RX(x, wires=0)
    return qml.expval(qml.Z(0))


def tell(done):
    error = done.exception()
    text = f"{{done.result():.4f}}" if error is None else type(error).__name__
    sys.stdout.write(f"{{text}}\\n")


for _ in range({count}):
    circuit.run_later(0.1).add_done_callback(tell)
"""


@pytest.mark.process
@pytest.mark.parametrize(
    ("executors", "count", "told"),
    [
        ("cluster", 1, {"0.9950"}),
        ("ct.executor.Simulator(parallel='process', workers=2)", 6, {"0.9950"}),
        # The others are refused where no thread can start any more, as from Python 3.12 on.
        (
            "Hang(time_limit=0.2, max_batch=1, break_after=0)",
            3,
            {"CircuitTimedOut", "CircuitError"},
        ),
    ],
)
def test_what_is_under_way_when_the_program_ends(
    executors: str, count: int, told: set[str]
) -> None:
    program = SLOW_FAILOVER.format(executors=executors, count=count)
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=90
    )
    lines = ended.stdout.split()
    assert (ended.returncode, len(lines), ended.stderr) == (0, count, "")
    assert set(lines) <= told


CHAIN = """
import sys
import pennylane as qml
import qcov as ct


@ct.qelectron(executors=ct.executor.Simulator(max_jobs=2, max_batch=2))
@qml.qnode(qml.device("default.qubit", wires=1))
def circuit(x):
    qml.RX(x, wires=0)
    return qml.expval(qml.Z(0))


told = []


def tell(done):
    told.append(done.result())
    if len(told) < 300:
        circuit.run_later(0.2).add_done_callback(tell)
    if len(told) % 100 == 3:
        sys.stdout.write(f"{circuit(0.1):.4f}\\n")


for _ in range(3):
    circuit.run_later(0.1).add_done_callback(tell)
"""


@pytest.mark.process
def test_callbacks_that_ask_for_more_when_the_program_ends() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", CHAIN], capture_output=True, text=True, timeout=90
    )
    assert (ended.returncode, set(ended.stdout.split()), ended.stderr) == (0, {"0.9950"}, "")


@pytest.mark.parametrize("method", ["best", "adjoint"])
def test_calls_that_train_nothing_beside_one_that_does(method: str) -> None:
    torch = pytest.importorskip("torch")

    @qelectron
    @qml.qnode(qml.device("lightning.qubit", wires=1), diff_method=method)
    def circuit(x: Any) -> Any:
        qml.RX(x, 0)
        return qml.expval(qml.Z(0)), qml.expval(qml.Y(0))

    x = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    futures = [circuit.run_later(x), circuit.run_later(torch.tensor(0.5, dtype=torch.float64))]
    trained, fixed = gather(futures)
    (trained[0] + fixed[0]).backward()

    assert float(x.grad) == pytest.approx(-np.sin(0.3))
