"""Selectors: whom each takes, how they combine, that they travel."""

import copy
import threading
from collections import Counter
from typing import Any

import cloudpickle
import pennylane as qml
import pytest
from pydantic import PrivateAttr

from qcov.errors import NoExecutorFits, SelectorError
from qcov.qexecutors.base import BaseQExecutor, CircuitBatch
from qcov.qexecutors.capabilities import Capabilities
from qcov.qexecutors.simulator import Simulator
from qcov.quantum.cluster import QCluster
from qcov.quantum.qelectron import qelectron
from qcov.selectors import (
    Capable,
    Cheapest,
    Cyclic,
    Fastest,
    InOrder,
    LeastBusy,
    Only,
    QueueAware,
    Random,
    Weighted,
)


class Known(BaseQExecutor):
    """An executor of which everything is known."""

    label: str = "known"
    cost: float | None = None
    depth: int | None = None
    wires: int | None = None
    _asked: int = PrivateAttr(default=0)

    def run_batch(self, batch: CircuitBatch) -> list[Any]:
        return [0.5] * len(batch.circuits)

    @property
    def name(self) -> str:
        return self.label

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(wires=self.wires)

    def estimate_cost(self, circuit: Any) -> float | None:
        return self.cost

    def queue_depth(self) -> int | None:
        self._asked += 1
        if self.depth is not None and self.depth < 0:
            raise ConnectionError
        return self.depth


def circuit(wires: int = 1, shots: int | None = None) -> Any:
    return qml.tape.QuantumScript(
        [qml.RX(0.1, wire) for wire in range(wires)], [qml.expval(qml.Z(0))], shots=shots
    )


def known(**settings: Any) -> list[Known]:
    """An executor for each of the values of one setting."""
    ((name, values),) = settings.items()
    return [Known(label=str(index), **{name: value}) for index, value in enumerate(values)]


def chosen(selector: Any, executors: Any, times: int = 1) -> list[int]:
    return [executors.index(selector(circuit(), executors)) for _ in range(times)]


# -- whom each takes ---------------------------------------------------------------------------


def test_least_busy_counts_what_is_in_flight() -> None:
    executors = known(cost=[None] * 3)
    picked: list[int] = []
    for _ in range(6):
        one = LeastBusy()(circuit(), executors)
        one.traffic.enter()
        picked.append(executors.index(one))
    assert picked == [0, 1, 2] * 2


def test_fastest_measures_everybody_first() -> None:
    executors = known(cost=[None] * 3)
    for seconds in (0.3, 0.1, 0.2):
        one = Fastest()(circuit(), executors)
        assert one.seconds_per_circuit is None
        one.traffic.enter()
        one.traffic.leave(1, seconds)
    assert chosen(Fastest(), executors, 3) == [1, 1, 1]


def test_fastest_does_not_send_everything_where_nothing_is_known() -> None:
    executors = known(cost=[None] * 3)
    executors[0].traffic.enter()
    executors[0].traffic.leave(1, 0.1)
    executors[1].traffic.enter()
    assert chosen(Fastest(), executors) == [2]
    executors[2].traffic.enter()
    assert chosen(Fastest(), executors) == [0]


@pytest.mark.parametrize(
    ("costs", "index"), [([3.0, 1.0, 2.0], 1), ([None, 5.0], 1), ([None, None], 0), ([0.0, 0.0], 0)]
)
def test_cheapest_takes_no_unknown_price_for_a_low_one(costs: Any, index: int) -> None:
    assert chosen(Cheapest(), known(cost=costs)) == [index]


def test_weighted_gives_shares_that_are_exact_and_spread() -> None:
    executors = known(cost=[None] * 3)
    picked = chosen(Weighted([5, 3, 2]), executors, 100)
    assert Counter(picked) == {0: 50, 1: 30, 2: 20}
    assert Counter(picked[:10]) == {0: 5, 1: 3, 2: 2}


def test_weights_stay_with_their_executors_when_some_are_left_out() -> None:
    executors = known(wires=[1, 5, 5])
    selector = Capable() >> Weighted([8, 3, 1])
    picked = Counter(selector(circuit(wires=2), executors).label for _ in range(40))
    assert picked == {"1": 30, "2": 10}


@pytest.mark.parametrize("weights", [[], [0, 0], [1, -1], ["a"], "12", 3, [float("nan")]])
def test_weights_are_checked(weights: Any) -> None:
    with pytest.raises(SelectorError, match="needs a number for each executor"):
        Weighted(weights)


@pytest.mark.parametrize(
    "selector",
    [
        Weighted([1, 2, 3]),
        Capable() >> Weighted([1, 2, 3]),
        InOrder() | Weighted([1, 2, 3]),
        Capable() & Only(lambda circuit, executor: True) >> Weighted([1, 2, 3]) | InOrder(),
    ],
    ids=["weights", "filtered", "in order", "combined"],
)
def test_there_are_as_many_weights_as_executors(selector: Any) -> None:
    with pytest.raises(SelectorError, match="has 3 weights for 2 executors"):
        QCluster(executors=[Known(), Known()], selector=selector)


def test_weights_are_counted_again_when_executors_change() -> None:
    cluster = QCluster(executors=[Known(), Known()], selector=Weighted([1, 2]))
    with pytest.raises(SelectorError, match="has 2 weights for 1 executors"):
        cluster.executors = [Known()]
    cluster.executors.pop()
    with pytest.raises(SelectorError, match="has 2 weights for 1 executors"):
        cluster.select(circuit())


def test_queue_aware_adds_what_was_sent_since_it_asked() -> None:
    now = [0.0]
    selector = QueueAware(keep=30, clock=lambda: now[0])
    executors = known(depth=[2, 0, None])
    picked: list[int] = []
    for _ in range(5):
        one = selector(circuit(), executors)
        one.traffic.enter()
        picked.append(executors.index(one))
    assert picked == [1, 2, 1, 2, 0]
    assert [one._asked for one in executors] == [1, 1, 1]

    now[0], executors[0].depth = 30.0, 0
    assert chosen(selector, executors) == [0]
    assert executors[0]._asked == 2


def test_a_queue_that_cannot_be_asked_comes_last() -> None:
    assert chosen(QueueAware(), known(depth=[-1, 100])) == [1]


def test_capable_asks_a_simulator_what_its_device_makes_of_a_circuit() -> None:
    executors = [Simulator("lightning.qubit"), Simulator("default.mixed")]
    assert chosen(Capable(), executors) == [0]
    noisy = qml.tape.QuantumScript([qml.BitFlip(0.1, wires=0)], [qml.expval(qml.Z(0))])
    assert Capable()(noisy, executors) is executors[1]
    assert "BitFlip" in (executors[0].refusal(noisy) or "")


@pytest.mark.parametrize(
    ("capabilities", "wires", "shots", "refusal"),
    [
        (Capabilities(), 99, None, None),
        (Capabilities(wires=2), 2, None, None),
        (Capabilities(wires=2), 3, None, "has 2 wires, not 3"),
        (Capabilities(gates=["RX"]), 1, None, None),
        (Capabilities(gates=["RY"]), 1, None, "does not know the gate RX"),
        (Capabilities(analytic=False), 1, None, "needs shots"),
        (Capabilities(analytic=False), 1, 5, None),
        (Capabilities(shots=0), 1, 5, "is analytic only"),
        (Capabilities(shots=10), 1, 11, "takes 10 shots, not 11"),
        (Capabilities(shots=10), 1, None, None),
    ],
)
def test_what_an_executor_says_it_can(
    capabilities: Capabilities, wires: int, shots: int | None, refusal: str | None
) -> None:
    assert capabilities.refusal(circuit(wires, shots)) == refusal


# -- combinations ------------------------------------------------------------------------------

SMALL = Only(lambda circuit, executor: executor.wires is None or executor.wires < 10)


@pytest.mark.parametrize(
    ("selector", "wires", "label"),
    [
        (Capable(), 3, "1"),
        (Capable() >> Cheapest(), 3, "2"),
        (Capable() >> "cheapest", 3, "2"),
        (Capable() >> (lambda circuit, executors: executors[-1]), 3, "2"),
        (Capable() & SMALL, 3, "1"),
        (SMALL >> Capable() >> Cheapest(), 1, "0"),
        (Capable() & SMALL >> Cheapest(), 1, "0"),
        (Capable() & SMALL >> Cheapest() | InOrder(), 15, "0"),
        ((Capable() & SMALL) | "cheapest", 15, "0"),
        ((lambda circuit, executors: executors[1]) | InOrder(), 1, "1"),
        ("capable" >> Cheapest(), 3, "2"),
        ("capable" & SMALL, 3, "1"),
        ("capable" & SMALL >> Cheapest(), 3, "1"),
        (SMALL & "capable", 3, "1"),
        ("capable" | InOrder(), 30, "0"),
    ],
)
def test_selectors_combine(selector: Any, wires: int, label: str) -> None:
    executors = [
        Known(label=str(index), wires=size, cost=cost)
        for index, (size, cost) in enumerate([(2, 1.0), (5, 9.0), (20, 2.0)])
    ]
    cluster = QCluster(executors=executors, selector=selector)
    assert cluster.select(circuit(wires)).name == label


LAST: Any = lambda circuit, executors: executors[-1]  # noqa: E731
NO_FILTER = "left of >> must be a filter"


@pytest.mark.parametrize(
    ("combine", "said"),
    [
        (lambda: Cyclic() >> Cyclic(), r"Cyclic\(\) is no filter: left of >> must be a filter"),
        (lambda: (Capable() >> Cyclic()) >> Random(), NO_FILTER),
        (lambda: "cyclic" >> Random(), NO_FILTER),
        (lambda: LAST >> Random(), NO_FILTER),
        (lambda: 3 >> Capable(), NO_FILTER),
        (lambda: "capabel" >> Random(), "Did you mean 'capable'"),
        (lambda: Cyclic() & Capable(), "left of & must be a filter"),
        (lambda: LAST & Capable(), "left of & must be a filter"),
        (lambda: Capable() & Cyclic(), "right of & must be a filter.* Let >> stand before"),
        (lambda: Capable() & "cyclic", "right of & must be a filter"),
        (lambda: Capable() >> 3, "selector 3 cannot choose"),
        (lambda: Capable() >> Cyclic, "Call it to make one"),
        (lambda: Capable() & 3, "selector 3 cannot choose"),
        (lambda: Cyclic() | None, "selector None cannot choose"),
        (lambda: 3 | Cyclic(), "selector 3 cannot choose"),
        (lambda: Capable() | (lambda circuit: None), "does not take two arguments"),
        (lambda: Only(None), "needs a condition"),
        (lambda: Only(lambda circuit: True), "needs a condition"),
    ],
)
def test_what_cannot_be_combined_is_refused_at_once(combine: Any, said: str) -> None:
    with pytest.raises(SelectorError, match=said):
        combine()


def test_executors_of_one_name_are_told_apart() -> None:
    simulators = [Simulator("default.qubit"), Simulator("lightning.qubit"), Known()]
    nobody = Only(lambda circuit, executor: False)
    with pytest.raises(NoExecutorFits) as caught:
        nobody(circuit(), simulators)
    assert caught.value.reasons == tuple(
        f"executor {place} ({name}) does not meet the condition"
        for place, name in enumerate(
            ["Simulator on default.qubit", "Simulator on lightning.qubit", "known"], 1
        )
    )
    some = Only(lambda circuit, executor: executor is not simulators[0])
    simulators[2] = Simulator("lightning.qubit")
    with pytest.raises(NoExecutorFits, match="executor 2 .*; executor 3 "):
        (some >> nobody)(circuit(), QCluster(executors=simulators).executors)


def test_when_nothing_fits_the_error_says_why_for_each() -> None:
    executors = [Known(label="a", wires=2), Known(label="b", wires=20)]
    cluster = QCluster(executors=executors, selector=Capable() & SMALL)
    with pytest.raises(NoExecutorFits, match=r"a has 2 wires, not 3; b does not meet"):
        cluster.select(circuit(3))


def test_a_wrong_setting_is_no_reason_to_fall_back() -> None:
    selector = Weighted([1]) | InOrder()
    with pytest.raises(SelectorError, match="1 weights for 2"):
        selector(circuit(), known(cost=[None, None]))


# -- names, clusters, travelling ---------------------------------------------------------------

NAMES = [
    "cyclic", "random", "in-order", "least-busy", "fastest", "cheapest", "queue-aware", "capable",
]  # fmt: skip
OBJECTS = [
    Cyclic(),
    Random(),
    InOrder(),
    LeastBusy(),
    Fastest(),
    Cheapest(),
    Weighted([1, 2]),
    QueueAware(keep=5),
    Capable() >> Weighted([1, 2]) | "random",
    SMALL & Capable(),
]


def _name_of(selector: object) -> str:
    return selector if isinstance(selector, str) else type(selector).__name__


@pytest.mark.parametrize("selector", [*NAMES, *OBJECTS], ids=_name_of)
def test_selectors_run_circuits_and_survive_json_and_pickling(selector: Any) -> None:
    cluster = QCluster(executors=[Known(), Known(label="other")], selector=selector)
    for again in (
        QCluster.model_validate_json(cluster.model_dump_json()),
        cloudpickle.loads(cloudpickle.dumps(cluster)),
        copy.deepcopy(cluster),
    ):
        assert again.select(circuit()) in again.executors
    run = qelectron(
        qml.QNode(lambda: qml.expval(qml.Z(0)), qml.device("default.qubit", wires=1)),
        executors=cluster,
    )
    assert run() == 0.5


def test_a_name_is_written_with_hyphens() -> None:
    with pytest.raises(SelectorError, match="Did you mean 'least-busy'"):
        QCluster(executors=[Known()], selector="least_busy")


def test_a_cluster_answers_for_its_executors() -> None:
    executors = [Known(cost=2.0, depth=3, wires=2), Known(cost=None, depth=7, wires=5)]
    cluster = QCluster(executors=executors)
    executors[0].traffic.enter(2)
    executors[1].traffic.enter(3)
    executors[1].traffic.leave(1, 0.25)
    assert (cluster.in_flight, cluster.seconds_per_circuit) == (4, 0.25)
    assert (cluster.estimate_cost(circuit()), cluster.queue_depth()) == (2.0, 3)
    assert cluster.refusal(circuit(5)) is None
    assert cluster.refusal(circuit(6)) == "has 2 wires, not 6"
    assert QCluster(executors=[Known()]).seconds_per_circuit is None


def test_a_batch_is_spread_while_it_is_selected_for() -> None:
    executors = known(cost=[None, None])
    nested = QCluster(executors=[executors[1]], selector="least-busy")
    cluster = QCluster(executors=[executors[0], nested], selector="least-busy")
    run = qelectron(
        qml.QNode(
            lambda x: (qml.RX(x, 0), qml.expval(qml.Z(0)))[1],
            qml.device("default.qubit", wires=1),
            diff_method="parameter-shift",
        ),
        executors=cluster,
    )
    qml.grad(run)(qml.numpy.array(0.3))
    assert {record.executor for record in run.history} == {"0", "1"}
    assert cluster.in_flight == 0


def test_a_copy_counts_for_itself() -> None:
    executor = Known()
    executor.traffic.enter()
    for again in (copy.deepcopy(executor), cloudpickle.loads(cloudpickle.dumps(executor))):
        assert again.in_flight == 0
    assert executor == Known()


def test_a_list_of_one_has_its_selector() -> None:
    seen: list[Any] = []

    def first(_circuit: Any, executors: Any) -> Any:
        seen.append(executors)
        return executors[0]

    @qelectron(executors=[Simulator()], selector=first)
    @qml.qnode(qml.device("default.qubit", wires=1))
    def circuit() -> Any:
        return qml.expval(qml.Z(0))

    circuit()
    assert len(seen) == 1


def test_another_selector_takes_effect_or_is_refused() -> None:
    cluster = QCluster(executors=[Simulator(), Simulator("lightning.qubit")])
    cluster.select(None)
    cluster.selector = "in-order"
    assert [cluster.select(None).device for _ in range(3)] == ["default.qubit"] * 3
    with pytest.raises(SelectorError):
        cluster.selector = Weighted([1, 2, 3])
    assert cluster.selector == "in-order"


def test_copies_have_turns_of_their_own() -> None:
    cluster = QCluster(executors=[Simulator(), Simulator("lightning.qubit")])
    copied = copy.copy(cluster)
    assert [cluster.select(None).device, copied.select(None).device] == ["default.qubit"] * 2


def test_a_selector_that_cannot_be_copied_is_shared() -> None:
    class Guarded:
        def __init__(self) -> None:
            self.lock = threading.Lock()

        def __call__(self, circuit: Any, executors: Any) -> Any:
            return executors[0]

    cluster = QCluster(executors=[Simulator(), Simulator()], selector=Guarded())
    cluster.get_selector()
    for copied in (copy.copy(cluster), cluster.model_copy()):
        assert copied.selector is cluster.selector


def test_copies_with_another_selector_choose_by_it() -> None:
    cluster = QCluster(executors=[Simulator(), Simulator("lightning.qubit")])
    copied = cluster.model_copy(update={"selector": "in-order"})
    assert [copied.select(None).device for _ in range(3)] == ["default.qubit"] * 3
    with pytest.raises(SelectorError):
        QCluster(executors=cluster.executors, selector=Weighted([1, 2])).executors = [Simulator()]
