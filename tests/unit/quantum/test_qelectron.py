"""What `qelectron` takes and makes: forms, copies, pickles, transforms, bad input."""

import copy
from typing import Any

import cloudpickle
import numpy as np
import pennylane as qml
import pytest

from qcov.context import Pending
from qcov.errors import (
    CircuitError,
    ElectronMisuse,
    InvalidQExecutor,
    InvalidSetting,
    NotAQNode,
    SelectorError,
    UnknownDevice,
    UnsupportedInterface,
)
from qcov.qexecutors.base import BaseQExecutor, CircuitBatch
from qcov.qexecutors.simulator import Simulator
from qcov.quantum.cluster import QCluster
from qcov.quantum.qelectron import QElectron, qelectron
from qcov.quantum.selectors import Cyclic

DEVICE = qml.device("lightning.qubit", wires=2)


def function(x: Any) -> Any:
    """Rotate, then entangle."""
    qml.RX(x, 0)
    qml.CNOT([0, 1])
    return qml.expval(qml.Z(1))


def make() -> Any:
    return qml.QNode(function, DEVICE)


def test_forms() -> None:
    simulator = Simulator()
    forms = [
        qelectron(make()),
        qelectron()(make()),
        qelectron(executors=simulator, name="mine", description="yes")(make()),
        qelectron(make(), executors=[simulator]),
        qelectron(make(), executors=(Simulator(), Simulator()), selector="random"),
        qelectron(make(), executors=QCluster(executors=[Simulator()])),
    ]
    for circuit in forms:
        assert isinstance(circuit, QElectron)
        assert isinstance(circuit, qml.QNode)
        assert circuit(0.3) == pytest.approx(np.cos(0.3))
        assert circuit.original_qnode.device is DEVICE
    assert (forms[0].name, forms[0].description) == ("function", "Rotate, then entangle.")
    assert (forms[2].name, forms[2].description) == ("mine", "yes")
    assert forms[3].device.executors == [simulator]
    assert isinstance(forms[4].device.executors[0], QCluster)
    assert forms[0].device.executors[0].device == "lightning.qubit"


def test_default_keeps_the_options_of_the_device() -> None:
    device = qml.device("default.qubit", wires=2, seed=42)
    twin = qml.device("default.qubit", wires=2, seed=42)
    ours = qelectron(qml.QNode(function, device, shots=100))
    theirs = qml.QNode(function, twin, shots=100)
    assert [ours(0.8) for _ in range(3)] == [theirs(0.8) for _ in range(3)]


@pytest.mark.parametrize("executors", [(), [], "Simulator", 3, {}, [Simulator(), "x"], [None]])
def test_not_an_executor(executors: Any) -> None:
    with pytest.raises(InvalidQExecutor, match="is not a quantum executor") as caught:
        qelectron(make(), executors=executors)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("qnode", [function, 3, "x", DEVICE])
def test_not_a_qnode(qnode: Any) -> None:
    with pytest.raises(NotAQNode, match="is made of a PennyLane QNode"):
        qelectron(qnode)


def test_tensorflow_is_refused() -> None:
    with pytest.raises(UnsupportedInterface, match="jax"):
        qelectron(qml.QNode(function, DEVICE, interface="tf"))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"device": "lihtning.qubit"}, UnknownDevice, "mean 'lightning.qubit'.*default.qubit"),
        ({"devcie": "default.qubit"}, InvalidSetting, "mean 'device'"),
        ({"device": "lightning.qubit", "btch_obs": True}, InvalidSetting, "mean 'batch_obs'"),
        (
            {"parallel": "proces"},
            InvalidSetting,
            "'auto', 'thread', 'process', 'dask', False, None",
        ),
        ({"device": DEVICE}, InvalidSetting, "Give 'lightning.qubit', with the device's options"),
        ({"device": DEVICE, "batch_obs": True}, InvalidSetting, "Give 'lightning.qubit'"),
        ({"device": None}, InvalidSetting, "such as 'default.qubit', not None"),
        ({"device_options": {"sed": 1}}, InvalidSetting, "mean 'seed'"),
        ({"device_options": 3}, InvalidSetting, "device_options should be a valid dictionary"),
        ({"persist_data": "?"}, InvalidSetting, "persist_data should be a valid boolean.* not '?'"),
        *(
            ({setting: value}, InvalidSetting, f"{setting} must be .* above 0, not ")
            for setting in ("workers", "shots")
            for value in (-3, 1.5, True, "5", "many", [1], float("nan"), 10**30, np.array([1, 2]))
        ),
        ({"workers": 0}, InvalidSetting, "workers must be"),
        ({"wires": 3}, InvalidSetting, "'wires' are the QNode's: give them to its device"),
    ],
)
def test_bad_settings(settings: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        Simulator(**settings)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("number", [3, 3.0, np.int64(3)])
def test_whole_numbers(number: Any) -> None:
    simulator = Simulator(shots=number, workers=number)
    assert (simulator.shots, simulator.workers) == (3, 3)
    assert type(simulator.shots) is int


def test_settings_are_checked_when_they_change() -> None:
    simulator = Simulator(shots=5)
    with pytest.raises(InvalidSetting, match="Simulator: shots must be .*, not -3"):
        simulator.shots = -3
    with pytest.raises(InvalidSetting, match="persist_data should be a valid boolean"):
        simulator.persist_data = 3  # type: ignore[assignment]
    assert (simulator.shots, simulator.persist_data) == (5, True)


def test_shots_of_a_users_executor(recording: Any) -> None:
    with pytest.raises(InvalidSetting, match="Recording: shots must be"):
        type(recording)(shots=-1)


@pytest.mark.parametrize("setting", ["name", "description"])
def test_names_are_text(setting: str) -> None:
    with pytest.raises(InvalidSetting, match=f"{setting} must be a string, not 7"):
        qelectron(**{setting: 7})


# -- selectors and clusters --------------------------------------------------------------------


@pytest.mark.parametrize("selector", ["cylic", 3, None, Cyclic, lambda: 0, lambda circuit: 0])
def test_a_selector_is_checked_when_it_is_given(selector: Any) -> None:
    for members in ([Simulator()], [Simulator(), Simulator()]):
        with pytest.raises(SelectorError):
            QCluster(executors=members, selector=selector)
    for executors in (None, Simulator(), [Simulator()], [Simulator(), Simulator()]):
        with pytest.raises(SelectorError):
            qelectron(executors=executors, selector=selector)


def test_a_cluster_takes_its_executors_without_their_name() -> None:
    members = [Simulator(), Simulator("lightning.qubit")]
    cluster = QCluster(members, selector="in-order")
    assert (cluster.leaves(), cluster.selector) == (tuple(members), "in-order")
    with pytest.raises(InvalidQExecutor, match="an empty list"):
        QCluster()


def test_a_cluster_names_only_settings_that_it_takes() -> None:
    with pytest.raises(InvalidSetting, match=r"'selectr'.*Known: budget, executors, selector\.$"):
        QCluster([Simulator()], selectr="random")


@pytest.mark.parametrize("choice", [None, "default.qubit", Simulator()])
def test_a_selector_chooses_one_of_its_executors(choice: Any) -> None:
    circuit = qelectron(make(), executors=[Simulator(), Simulator()], selector=lambda c, e: choice)
    with pytest.raises(SelectorError, match="none of its cluster's executors"):
        circuit(0.1)


def test_every_cluster_takes_turns_by_itself() -> None:
    clusters = [QCluster(executors=[Simulator(), Simulator("lightning.qubit")]) for _ in range(2)]
    chosen = [cluster.select(None).device for _ in range(2) for cluster in clusters]
    assert chosen == ["default.qubit"] * 2 + ["lightning.qubit"] * 2


def test_a_batch_is_split_and_put_together_again() -> None:
    inner = QCluster(executors=[Simulator("lightning.qubit"), Simulator()])
    circuit = qelectron(make(), executors=[Simulator(), inner])
    points = np.linspace(0, 1, 9)
    futures = [circuit.run_later(point) for point in points]
    np.testing.assert_allclose([future.result() for future in futures], np.cos(points))
    devices = [record.device for record in circuit.history]
    assert devices.count("lightning.qubit") == 2


class ByAngle:
    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, circuit: Any, executors: Any) -> Any:
        self.seen += 1
        return executors[int(circuit.operations[0].data[0] > 1)]


def test_a_selector_keeps_its_own_state() -> None:
    selector = ByAngle()
    circuit = qelectron(
        make(), executors=[Simulator(), Simulator("lightning.qubit")], selector=selector
    )
    for angle in (0.1, 2.0):
        circuit(angle)
    assert selector.seen == 2
    assert [run.device for run in circuit.history] == ["default.qubit", "lightning.qubit"]


@pytest.mark.parametrize("selector", ["cyclic", "random", ByAngle()])
def test_clusters_survive_json_and_pickle(selector: Any, recording: Any) -> None:
    cluster = QCluster(
        executors=[Simulator("lightning.qubit", shots=5), QCluster(executors=[recording])],
        selector=selector,
    )
    for again in (
        QCluster.model_validate_json(cluster.model_dump_json()),
        cloudpickle.loads(cloudpickle.dumps(cluster)),
        copy.deepcopy(cluster),
    ):
        assert [type(executor) for executor in again.leaves()] == [Simulator, type(recording)]
        assert again.leaves()[0].shots == 5
        assert again.select(make().construct((0.1,), {})) is not None
    cluster.serialize_selector()
    assert isinstance(cluster.selector, str)
    assert callable(cluster.deserialize_selector())


@pytest.mark.parametrize("setting", [{"shots": 5}, {"shots": None}, {"persist_data": False}])
def test_what_is_up_to_its_executors_cannot_be_set_on_a_cluster(setting: Any) -> None:
    with pytest.raises(InvalidSetting, match=f"QCluster: {next(iter(setting))} is up to its"):
        QCluster(executors=[Simulator()], **setting)


def test_a_cluster_takes_no_other_selector() -> None:
    mine = ByAngle()
    cluster = QCluster(executors=[Simulator(), Simulator()], selector=mine)
    for same in ("cyclic", mine):  # the former is what nobody has asked for
        assert qelectron(make(), executors=cluster, selector=same).device.executors == [cluster]
    with pytest.raises(SelectorError, match="'random' would have no effect: the QCluster chooses"):
        qelectron(make(), executors=cluster, selector="random")


def test_covalents_names_work(executor: BaseQExecutor | None) -> None:
    executor = executor or Simulator()
    tape = make().construct((0.3,), {})
    results = executor.batch_get_results(executor.batch_submit([tape, tape]))
    assert [float(result.value) for result in results] == pytest.approx([np.cos(0.3)] * 2)
    assert executor.dict()["type"] == type(executor).__name__


class Short(BaseQExecutor):
    def run_batch(self, batch: CircuitBatch) -> list[Any]:
        return []


def test_too_few_results() -> None:
    with pytest.raises(CircuitError, match="0 results for 1 circuits"):
        qelectron(make(), executors=Short())(0.1)


# -- PennyLane around it -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "transform",
    [
        qml.transforms.cancel_inverses,
        qml.transforms.merge_rotations,
        qml.transforms.split_non_commuting,
        qml.compile,
        lambda circuit: circuit.update(diff_method="finite-diff"),
        copy.copy,
    ],
)
def test_transforms_above_and_below(transform: Any) -> None:
    above = transform(qelectron(make()))
    below = qelectron(transform(make()))
    for circuit in (above, below):
        assert isinstance(circuit, QElectron)
        assert circuit(0.3) == pytest.approx(np.cos(0.3))
        assert circuit.run_later(0.3).result() == pytest.approx(np.cos(0.3))


def test_draw_specs_shots_tracker() -> None:
    circuit = qelectron(make())
    assert qml.draw(circuit)(0.3) == qml.draw(make())(0.3)
    assert qml.specs(circuit)(0.3)["resources"] == qml.specs(make())(0.3)["resources"]
    sampled = qml.set_shots(circuit, 10)
    assert (10 * sampled(0.3)) % 1 == pytest.approx(0, abs=1e-9)
    for device in (circuit.device, DEVICE):
        with qml.Tracker(device) as tracker:
            circuit(0.3)
            circuit.run_later(0.3).result()
        assert tracker.totals["executions"] == 2


def test_gradient_transform() -> None:
    x = qml.numpy.array(0.3, requires_grad=True)
    circuit = qelectron(make())
    np.testing.assert_allclose(qml.gradients.param_shift(circuit)(x), -np.sin(0.3))


@pytest.mark.parametrize("shots", [0, None, 50])
def test_shots_of_the_executor(shots: int | None) -> None:
    circuit = qelectron(qml.QNode(function, DEVICE, shots=10), executors=Simulator(shots=shots))
    circuit(0.3)
    assert circuit.history[-1].shots == {0: 10, None: None, 50: 50}[shots]


def test_repr() -> None:
    qnode = qml.QNode(function, DEVICE, interface="jax", diff_method="adjoint", shots=7)
    common = "<qelectron function: device='lightning.qubit', interface='jax', diff_method='adjoint'"
    cluster = QCluster(executors=[Simulator(), Simulator("lightning.qubit")], selector="random")
    assert repr(qelectron(qnode)) == f"{common}, shots=7, executor=Simulator('lightning.qubit')>"
    assert repr(qelectron(qnode, executors=cluster)) == (
        f"{common}, shots=7, executor=QCluster([Simulator('default.qubit'), "
        "Simulator('lightning.qubit')], selector='random')>"
    )


def test_repr_of_a_users_executor(recording: Any) -> None:
    assert "executor=Recording('default.qubit')>" in repr(qelectron(make(), executors=recording))


class NotThere(Pending):
    def __electron__(self) -> str:
        return "first"

    def __array__(self, *_: object) -> Any:
        raise ElectronMisuse(electron="first", use="turned into an array", advice="Don't.")


@pytest.mark.parametrize("argument", [NotThere(), [NotThere()]])
@pytest.mark.parametrize("way", ["call", "keyword", "run_later"])
def test_a_value_that_is_not_there_yet(argument: Any, way: str) -> None:
    circuit = qelectron(make())
    call = {
        "call": circuit,
        "keyword": lambda value: circuit(x=value),
        "run_later": circuit.run_later,
    }[way]
    with pytest.raises(
        ElectronMisuse, match="'first'.* circuit 'function', which runs at once.*@ct.electron above"
    ):
        call(argument)


def test_pickle_of_a_used_one() -> None:
    circuit = qelectron(make())
    circuit(0.3)
    circuit.original_qnode(0.3)
    circuit.run_later(0.3).result()
    again = cloudpickle.loads(cloudpickle.dumps(circuit))
    assert again(0.3) == circuit(0.3)
    assert again.run_later(0.3).result() == circuit(0.3)
    assert len(again.history) == 2


def test_arrays_may_change_after_the_call() -> None:
    @qelectron
    @qml.qnode(qml.device("default.qubit", wires=1))
    def circuit(matrix: Any) -> Any:
        qml.QubitUnitary(matrix, 0)
        return qml.probs(), qml.expval(qml.Hermitian(matrix, 0))

    matrix = np.eye(2)
    circuit(matrix)
    futures = [circuit.run_later(matrix) for _ in range(3)]
    matrix[:] = [[0, 1], [1, 0]]
    for future in futures:
        probabilities, value = future.result()
        np.testing.assert_allclose([*probabilities, value], [1, 0, 1])
    assert [record.parameters for record in circuit.history] == [[[[1.0, 0.0], [0.0, 1.0]]]] * 4


@pytest.mark.parametrize("module", ["numpy", "pennylane.numpy", "torch"])
def test_a_number_that_is_trained_in_place_is_recorded_as_it_was(module: str) -> None:
    @qelectron
    @qml.qnode(qml.device("default.qubit", wires=1))
    def circuit(x: Any) -> Any:
        qml.RX(x, 0)
        return qml.expval(qml.Z(0))

    library = pytest.importorskip(module)
    x = getattr(library, "tensor" if module == "torch" else "array")(0.25)
    circuit(x)
    future = circuit.run_later(x)
    x += 1
    circuit(x)
    assert float(future.result()) == pytest.approx(np.cos(0.25))
    found = sorted(record.parameters[0] for record in circuit.history if record.parameters)
    assert found == [0.25, 0.25, 1.25]


def test_settings_that_change_take_effect() -> None:
    executor = Simulator()

    @qelectron(executors=executor)
    @qml.qnode(qml.device("default.qubit", wires=1))
    def circuit() -> Any:
        return qml.expval(qml.Z(0))

    circuit()
    executor.device = "lightning.qubit"
    circuit()
    assert executor._simulation(1).device.name == "lightning.qubit"
    copied = executor.model_copy(update={"device": "default.mixed"})
    assert copied._simulation(1).device.name == "default.mixed"
    assert executor._simulation(1).device.name == "lightning.qubit"


def test_executors_are_equal_by_their_settings() -> None:
    assert Simulator() == Simulator()
    assert Simulator() != Simulator("lightning.qubit")
    assert Simulator.model_validate(Simulator(workers=2).model_dump()) == Simulator(workers=2)


def test_what_the_bare_qnode_refuses_is_refused_every_time() -> None:
    @qelectron
    @qml.qnode(qml.device("default.qubit", wires=2))
    def circuit(x: Any) -> Any:
        qml.CRX(x, [0, 1])
        return qml.expval(qml.X(0)), qml.probs([1])

    for _ in range(2):
        with pytest.raises(ValueError, match="dimension"):
            circuit(np.array([[0.1, 0.2]]))


@pytest.mark.parametrize("ends", [SystemExit, None])
def test_batch_futures_end_whatever_run_batch_does(ends: Any) -> None:
    class Bad(BaseQExecutor):
        def run_batch(self, batch: CircuitBatch) -> Any:
            if ends:
                raise ends("over")
            return [1.0]

    tape = make().construct((0.3,), {})
    for future in Bad().batch_submit([tape, tape]):
        with pytest.raises(CircuitError, match="SystemExit: over" if ends else "1 results for 2"):
            future.result(30)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("device", "default.qubit"), ("device_options", {"bogus": 1}), ("scheduler_address", "a:1")],
)
def test_settings_that_do_not_fit_are_refused_when_they_change(setting: str, value: Any) -> None:
    executor = Simulator("lightning.qubit", batch_obs=True)
    with pytest.raises(InvalidSetting):
        setattr(executor, setting, value)
    assert executor.device == "lightning.qubit"


def test_a_seed_gives_the_same_numbers_however_circuits_wait() -> None:
    @qml.qnode(qml.device("default.qubit", wires=1))
    def bare(x: Any) -> Any:
        qml.RX(x, 0)
        return qml.expval(qml.Z(0))

    def run(later: bool) -> list[float]:
        circuit = qelectron(bare, executors=Simulator(shots=50, seed=7))
        call = circuit.run_later if later else circuit
        results = [call(x) for x in (1.0, 1.2, 1.4, 1.6)]
        return [float(one.result() if later else one) for one in results]

    assert run(later=True) == run(later=False)


def test_arrays_in_operators_that_cannot_be_bound_anew_may_change() -> None:
    @qelectron
    @qml.qnode(qml.device("default.qubit", wires=1))
    def circuit(matrix: Any) -> Any:
        qml.evolve(qml.Hermitian(matrix, 0), 0.7)
        return qml.probs()

    matrix = np.array([[0.0, 1.0], [1.0, 0.0]])
    expected, futures = circuit(matrix), [circuit.run_later(matrix) for _ in range(2)]
    matrix[:] = 0
    for future in futures:
        np.testing.assert_allclose(future.result(), expected)


class IonTrap(qml.devices.Device):
    """A device of a user's own."""

    @property
    def name(self) -> str:
        return "lab.ion-trap"

    def execute(self, circuits: Any, execution_config: Any = None) -> Any:
        return tuple(0.123 for _ in circuits)


def test_a_device_that_no_simulator_can_stand_for_is_told() -> None:
    @qml.qnode(IonTrap(wires=1))
    def circuit(x: float) -> Any:
        qml.RX(x, 0)
        return qml.expval(qml.Z(0))

    with pytest.warns(UserWarning, match="'lab.ion-trap' is none that.*executors=") as told:
        qelectron(circuit)
    assert told[0].filename == __file__
    with pytest.warns(UserWarning, match="lab.ion-trap") as told:
        qelectron()(circuit)
    assert told[0].filename == __file__


class Priced(BaseQExecutor):
    price: float

    def run_batch(self, batch: CircuitBatch) -> Any:
        return [0.0] * len(batch.circuits)


def test_settings_that_are_wrong_are_told_by_name() -> None:
    with pytest.raises(InvalidSetting, match="Priced: 'price' must be given"):
        Priced()
    with pytest.raises(InvalidSetting, match="Simulator: 'shot' is not a setting.*'shots'"):
        Simulator().shot = 3  # type: ignore[attr-defined]


def test_a_class_that_travelled_by_value_is_made_of_its_data() -> None:
    """Loading it leaves an abstract shell of the same name."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(
        "from qcov.executor import BaseQExecutor\n"
        "class ByValue(BaseQExecutor):\n"
        "    def run_batch(self, batch): return [0.5] * len(batch.circuits)\n",
        namespace,
    )
    executor = namespace["ByValue"]()
    for _ in range(3):
        copied = cloudpickle.loads(cloudpickle.dumps(executor))
        assert type(BaseQExecutor.from_data(copied.model_dump())).run_batch is not None


def test_what_was_meant_as_an_executor() -> None:
    @qml.qnode(qml.device("default.qubit", wires=1))
    def circuit() -> Any:
        return qml.expval(qml.Z(0))

    for wrong, meant in (("lightning.qubit", "Simulator('lightning.qubit')"), (Priced, "Priced()")):
        with pytest.raises(InvalidQExecutor) as refused:
            qelectron(circuit, executors=wrong)  # type: ignore[call-overload]
        assert meant in str(refused.value)
