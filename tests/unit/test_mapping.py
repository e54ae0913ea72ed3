"""`ct.map`: one call for each of many arguments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pennylane as qml
import pytest

import qcov as ct
from qcov.errors import ElectronMisuse, NotAQElectron, WrongSetting

ANGLES = np.linspace(0, 3, 40)


@ct.qelectron
@qml.qnode(qml.device("default.qubit", wires=1))
def circuit(x: Any, y: Any = 0.0, *, z: Any = 0.0) -> Any:
    qml.RX(x, 0)
    qml.RX(y, 0)
    qml.RX(z, 0)
    return qml.expval(qml.Z(0))


def test_a_future_for_each_argument_in_order() -> None:
    futures = ct.map(circuit, ANGLES)

    assert set(ct.as_completed(futures, timeout=30)) == set(futures)
    np.testing.assert_allclose(ct.gather(futures), np.cos(ANGLES), atol=1e-7)


def test_many_arguments_and_some_that_stay() -> None:
    futures = ct.map(circuit, iter(ANGLES), 2 * ANGLES, z=0.5)

    np.testing.assert_allclose(ct.gather(futures), np.cos(3 * ANGLES + 0.5), atol=1e-7)
    assert ct.map(circuit, []) == []


def test_a_sum_over_it_can_be_differentiated() -> None:
    def cost(x: Any) -> Any:
        return sum(ct.gather(ct.map(circuit, [x, 2 * x])))

    slope = qml.grad(cost)(qml.numpy.array(0.3, requires_grad=True))

    assert slope == pytest.approx(-np.sin(0.3) - 2 * np.sin(0.6))


def test_iterables_of_different_lengths_start_nothing() -> None:
    before = len(circuit.history)
    with pytest.raises(ValueError, match=r"one length, not of \[2, 1\]"):
        ct.map(circuit, [0.1, 0.2], [0.1])

    assert len(circuit.history) == before


def test_all_that_can_be_iterated_over() -> None:
    class Angles:
        def __getitem__(self, index: int) -> float:
            return [0.1, 0.2][index]

    assert len(ct.gather(ct.map(circuit, Angles()))) == 2


@pytest.mark.parametrize("wrong", [circuit.original_qnode, abs, None])
def test_it_calls_qelectrons_only(wrong: Any) -> None:
    with pytest.raises(NotAQElectron, match="or @ct.qelectron above"):
        ct.map(wrong, ANGLES)


@ct.electron
def add(x: Any, y: Any = 0, *, z: Any = 0) -> Any:
    return x + y + z


def test_outside_a_lattice_an_electron_is_called() -> None:
    assert ct.map(add, [1, 2], iter([10, 20]), z=100) == [111, 122]
    assert ct.map(add, []) == []


def test_in_a_lattice_it_is_one_node() -> None:
    graph = ct.lattice(lambda: ct.map(add, range(10_000), z=add(1))).graph()

    assert [node.name for node in graph.nodes if node.kind != "parameter"] == ["add", "map(add)"]


@pytest.mark.parametrize(
    ("use", "kind", "reason"),
    [
        (lambda: ct.map(add, [1, 2], [3]), ValueError, r"one length, not of \[2, 1\]"),
        (lambda: ct.map(add, [1], progress=True), WrongSetting, "ct.watch tells how far"),
        (lambda: ct.map(add), TypeError, "needs an iterable for each"),
        (lambda: ct.map(add, 3), TypeError, "needs iterables of arguments, not 3"),
        (lambda: ct.map(add, [1], (n for n in [])), ValueError, "one length"),
    ],
)
def test_of_an_electron_what_cannot_be(use: Any, kind: type[Exception], reason: str) -> None:
    with pytest.raises(kind, match=reason):
        use()


def test_values_that_are_not_there_yet_are_refused() -> None:
    @ct.lattice
    def workflow() -> Any:
        return ct.map(circuit, [ct.electron(abs)(1.0)])

    with pytest.raises(ElectronMisuse, match="runs at once"):
        workflow.build_graph()


def test_progress_is_for_terminals_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(ct.gather(ct.map(circuit, [0.0, 1.0], progress=True))) == 2
    assert capsys.readouterr() == ("", "")
