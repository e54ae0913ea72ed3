"""What a user may get wrong: a clear error where it was written, and nothing lost."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import qcov as ct
from qcov.errors import (
    DispatchNotFound,
    ElectronMisuse,
    InvalidExecutor,
    NotALattice,
    SerializationError,
    WrongSetting,
)


@ct.electron
def same(x: Any) -> Any:
    return x


@ct.electron
def add(x: Any, y: Any) -> Any:
    return x + y


MISUSES: dict[str, tuple[Callable[[Any], object], str]] = {
    "if": (lambda e: 1 if e else 2, "used as a condition"),
    "not": (lambda e: not e, "used as a condition"),
    "comparison in an if": (lambda e: 1 if e == 3 else 2, "used as a condition"),
    "and": (lambda e: e and 1, "used as a condition"),
    "chained comparison": (lambda e: 0 < e < 3, "used as a condition"),
    "len": (len, "asked for its length"),
    "loop": (lambda e: [x for x in e], "iterated over"),  # noqa: C416
    "list": (list, "iterated over"),
    "starred": (lambda e: [*e], "iterated over"),
    "starred call": (lambda e: max(*e), "iterated over"),
    "in": (lambda e: 1 in e, "searched with `in`"),
    "int": (int, "turned into an int"),
    "float": (float, "turned into a float"),
    "complex": (complex, "turned into a complex"),
    "index": (lambda e: [1, 2, 3][e], "turned into an int"),
    "range": (range, "turned into an int"),
    "sqrt": (math.sqrt, "turned into a float"),
    "f-string": (lambda e: f"{e}", "formatted into a string"),
    "format": ("{}".format, "formatted into a string"),
    "array": (np.array, "turned into an array"),
    "assignment": (lambda e: e.__setitem__(0, 1), "changed in place"),
    "inside another object": (
        lambda e: same(frozenset([e])),
        "a part of argument 1 of electron 'same'",
    ),
    "as a key": (lambda e: same({e: same(1)}), "a part of the key"),
    "reduction": (np.add.reduce, "given to numpy's add.reduce"),
    "waits for itself": (lambda e: e.wait_for(add(e, 1)), "made to wait for what needs it"),
    "waits for a number": (lambda e: e.wait_for([3]), "made to wait for 3"),
}


@pytest.mark.parametrize(("use", "said"), MISUSES.values(), ids=MISUSES)
def test_an_electron_has_no_value_while_a_lattice_is_built(
    use: Callable[[Any], object], said: str
) -> None:
    with pytest.raises(ElectronMisuse, match="has no value while the lattice is built") as caught:
        ct.lattice(lambda: use(same(1))).build_graph()

    assert said in str(caught.value)
    assert caught.value.electron in ("same", "eq", "gt")
    assert isinstance(caught.value, TypeError)


def test_an_electron_in_a_closure_is_named() -> None:
    def workflow() -> object:
        first = same(1)

        @ct.electron
        def second() -> object:
            return first

        return second()

    with pytest.raises(ElectronMisuse, match="a part of the function of electron 'second'"):
        ct.lattice(workflow).build_graph()


def test_an_electron_of_another_lattice_is_refused() -> None:
    kept: list[Any] = []
    ct.lattice(lambda: kept.append(same(1))).build_graph()

    for use in (lambda: same(kept[0]), lambda: same(1).wait_for(kept[0]), lambda: kept[0]):
        with pytest.raises(ElectronMisuse, match="used in another lattice"):
            ct.lattice(use).build_graph()


def test_an_exception_while_a_lattice_is_built_is_the_users_own() -> None:
    def workflow(x: int) -> object:
        same(x)
        raise LookupError("no such molecule")

    with pytest.raises(LookupError, match="no such molecule") as caught:
        ct.dispatch(ct.lattice(workflow))(1)
    assert caught.value.__cause__ is None
    assert caught.traceback[-1].name == "workflow"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: add(1), "missing a required argument: 'y'"),
        (lambda: add(1, 2, 3), "too many positional arguments"),
        (lambda: add(1, z=3), "missing a required argument: 'y'|unexpected keyword argument 'z'"),
    ],
)
def test_a_wrong_call_fails_where_it_is_written(call: Callable[[], object], said: str) -> None:
    with pytest.raises(TypeError, match=said):
        ct.lattice(call).build_graph()


@pytest.mark.parametrize(
    ("workflow", "what"),
    [
        (lambda: add(1, threading.Lock()), "argument 2 of electron 'add'"),
        (lambda: add(1, y=threading.Lock()), "argument 'y' of electron 'add'"),
        (lambda: add([same(1), threading.Lock()], 2), "argument 1 of electron 'add'"),
        (lambda: threading.Lock(), "the value that the lattice returned"),  # noqa: PLW0108
        (lambda: [same(1), threading.Lock()], "the value that the lattice returned"),
    ],
    ids=["positional", "keyword", "in a list", "result", "in the result"],
)
def test_what_cannot_travel_is_named(workflow: Callable[[], object], what: str) -> None:
    with pytest.raises(SerializationError, match="cannot be sent to another process") as caught:
        ct.dispatch(ct.lattice(workflow))()
    assert str(caught.value).startswith(f"{what} cannot")


def test_a_function_that_cannot_travel_is_named() -> None:
    lock = threading.Lock()

    @ct.electron
    def locked() -> object:
        return lock

    with pytest.raises(SerializationError, match="the function of electron 'locked'"):
        ct.dispatch(ct.lattice(lambda: locked()))()  # noqa: PLW0108


def test_an_argument_of_the_lattice_that_cannot_travel_is_named() -> None:
    with pytest.raises(SerializationError, match="an argument of '<lambda>'"):
        ct.dispatch(ct.lattice(lambda _: same(1)))(threading.Lock())


@pytest.mark.parametrize(
    "give",
    [
        lambda executor: ct.electron(same.function, executor=executor),
        lambda executor: ct.lattice(same.function, executor=executor),
        lambda executor: ct.lattice(same.function, workflow_executor=executor),
        lambda executor: setattr(ct.electron(same.function), "executor", executor),
        lambda executor: ct.lattice(same).set_metadata("executor", executor),
    ],
    ids=["electron", "lattice", "workflow_executor", "set later", "metadata"],
)
@pytest.mark.parametrize(
    ("executor", "said"),
    [
        ("lokal", r"'lokal' is not an executor. Did you mean 'local'\? Known: .*local"),
        (3, r"3 is not an executor. Give a name \(.*local.*\)"),
        (ct.executor.LocalExecutor, "Call it to make one"),
    ],
    ids=["unknown name", "wrong type", "a class"],
)
def test_a_wrong_executor(give: Callable[[object], Any], executor: object, said: str) -> None:
    with pytest.raises(InvalidExecutor, match=said):
        give(executor)


@pytest.mark.parametrize(
    "thing",
    [same, lambda: 1, 3, None, "workflow"],
    ids=["electron", "function", "3", "None", "text"],
)
@pytest.mark.parametrize("verb", [ct.dispatch, ct.dispatch_sync], ids=["dispatch", "sync"])
def test_only_lattices_can_be_dispatched(thing: Any, verb: Any) -> None:
    with pytest.raises(NotALattice, match="only a lattice can be dispatched"):
        verb(thing)


@pytest.mark.parametrize(
    "ask",
    [
        lambda: ct.get_result("nowhere"),
        lambda: ct.get_result("nowhere", wait=True),
        lambda: ct.get_result("nowhere", status_only=True),
        lambda: ct.cancel("nowhere"),
        lambda: ct.cancel("nowhere", task_ids=[1]),
        lambda: next(ct.watch("nowhere")),
    ],
    ids=["get_result", "wait", "status", "cancel", "cancel nodes", "watch"],
)
@pytest.mark.usefixtures("common_engine")
def test_an_unknown_dispatch(ask: Callable[[], object]) -> None:
    with pytest.raises(DispatchNotFound, match="no dispatch 'nowhere' in .*qcov ls"):
        ask()


def test_a_lattice_called_as_a_function_is_plain_python() -> None:
    def workflow(x: int) -> int:
        first = same(x)
        return ct.wait(add(first, 1), [first])

    assert ct.lattice(workflow)(3) == 4


@pytest.mark.parametrize(
    "settings",
    [{"retries": "two"}, {"retries": -1}, {"retries": 1.5}, {"time_limit": "5"}, {"time_limit": -2},
     {"retry_delay": "1"}, {"retry_delay": -1.0}],
    ids=str,
)  # fmt: skip
def test_a_wrong_setting_is_refused_where_it_is_written(settings: dict[str, Any]) -> None:
    with pytest.raises(WrongSetting, match=f"{next(iter(settings))} must be "):
        ct.electron(lambda: 1, **settings)
    if "retry_delay" not in settings:
        with pytest.raises(WrongSetting, match=f"{next(iter(settings))} must be "):
            ct.executor.LocalExecutor(**settings)
