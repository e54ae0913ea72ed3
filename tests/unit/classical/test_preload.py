"""What the engine imports once for all workers, found in the code that it is to run."""

from __future__ import annotations

import sys
from types import ModuleType

import cloudpickle
import numpy as np
import pennylane as qml
import pytest

import qcov as ct
from qcov.classical.preload import heavy_packages
from qcov.transport import dumps


def plain() -> int:
    return 1


def names_it() -> object:
    return qml.numpy.pi


def imports_it() -> object:
    import pennylane

    return pennylane


def packages(value: object) -> set[str]:
    return set(heavy_packages([dumps(value, what="a value")]))


@pytest.fixture(autouse=True)
def by_value() -> object:
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def test_code_that_needs_nothing_waits_for_nothing() -> None:
    assert packages(plain) == set()
    assert packages(np.ones(3)) == {"numpy"}


@pytest.mark.parametrize("function", [names_it, imports_it], ids=["global", "local import"])
def test_code_that_names_pennylane(function: object) -> None:
    assert {"pennylane", "autograd"} <= packages(function)


def test_a_qelectron_needs_pennylane() -> None:
    @ct.qelectron
    @qml.qnode(qml.device("default.qubit", wires=1))
    def circuit() -> object:
        return qml.expval(qml.Z(0))

    assert "pennylane" in packages(circuit)
    assert "pennylane" in packages(lambda: circuit() + 1)


@pytest.mark.parametrize("folder", ["/home/me", f"{sys.prefix}/src"])
def test_through_the_modules_of_the_users(monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    below, above, other = ModuleType("below"), ModuleType("above"), ModuleType("other")
    for module in (below, above, other):
        module.__file__ = f"{folder}/{module.__name__}.py"
        monkeypatch.setitem(sys.modules, module.__name__, module)
    vars(below)["qml"] = qml
    exec("def helper(): ...", vars(below))
    vars(above)["helper"] = below.helper
    exec("def electron(): return helper()", vars(above))
    exec("def electron(): ...", vars(other))

    assert "pennylane" in packages(above.electron)
    assert packages(other.electron) == set()
