"""What cannot be is refused where it is said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

import qcov as ct
from qcov.classical.triggers import DirTrigger
from qcov.errors import (
    ElectronMisuse,
    InvalidExecutor,
    NotALattice,
    SerializationError,
    WrongSetting,
)
from qcov.executor import AsyncBaseExecutor, BaseExecutor


@pytest.mark.parametrize("decorate", [ct.electron, ct.lattice, ct.electron(), ct.lattice()])
def test_only_functions_are_decorated(decorate: Any) -> None:
    with pytest.raises(WrongSetting, match=r"decorates must be a function, not 3"):
        decorate(3)


async def later() -> None: ...


def one_by_one() -> Any:
    yield 1


async def one_by_one_later() -> Any:
    yield 1


@pytest.mark.parametrize(
    ("function", "kind"),
    [(later, "an async"), (one_by_one, "a generator"), (one_by_one_later, "an async generator")],
)
def test_a_lattice_is_called_at_once(function: Any, kind: str) -> None:
    with pytest.raises(WrongSetting, match=f"must be a plain function, .* not {kind} function"):
        ct.lattice(function)


def test_a_sublattice_is_not_dispatched_itself() -> None:
    with pytest.raises(NotALattice, match="dispatch the lattice that it was made of"):
        ct.dispatch(cast("Any", ct.electron(ct.lattice(lambda: 1))))


def test_an_executor_names_the_setting_that_may_be_meant() -> None:
    with pytest.raises(TypeError, match=r"LocalExecutor got .* 'time_limt'. Did you mean 'time_l"):
        ct.executor.LocalExecutor(time_limt=3)
    with pytest.raises(TypeError, match=r"'workdr'. Did you mean 'workdir'"):
        ct.executor.LocalExecutor(workdr="here")


@pytest.mark.parametrize("key", ["", 7, ["a"], "a\0b", "\ud800", "x" * 1000])
def test_a_key_is_text_that_can_be_read(key: object) -> None:
    with pytest.raises(WrongSetting, match="key must be printable text"):
        ct.dispatch(ct.lattice(lambda: 1), key=cast("str", key))


def test_a_key_that_is_too_long_is_not_told_whole() -> None:
    with pytest.raises(WrongSetting) as caught:
        ct.dispatch(ct.lattice(lambda: 1), key="x" * 100_000)

    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ({"retries": 10**30}, "retries must be a whole number from 0 to 1000000, not 1000"),
        ({"retry_delay": 1e300}, "retry_delay must be a number of seconds, 0 or more, at most"),
        ({"time_limit": 1e300}, "time_limit must be a number of seconds above 0, at most"),
    ],
)
def test_no_clock_takes_every_number(setting: dict[str, Any], expected: str) -> None:
    with pytest.raises(WrongSetting, match=expected):
        ct.electron(**setting)


def test_a_value_that_was_kept_outside_of_its_lattice() -> None:
    kept: list[Any] = []
    square = ct.electron(lambda x: x * x)

    def workflow() -> Any:
        kept.append(square(2))
        return kept[0]

    with pytest.raises(SerializationError, match="leads to the value of electron '<lambda>'"):
        ct.dispatch(ct.lattice(workflow))()


def test_only_functions_replace_electrons() -> None:
    with pytest.raises(
        WrongSetting, match=r"replace_electrons\['add'\] must be an electron, not 3"
    ):
        ct.redispatch("id", replace_electrons={"add": cast("Any", 3)})


@pytest.mark.parametrize(
    "other", [{"replace_electrons": {"a": abs}}, {"key": "a"}, {"reuse_previous_results": True}]
)
def test_what_is_only_started_takes_no_other_settings(other: dict[str, Any]) -> None:
    with pytest.raises(WrongSetting, match="is_pending must be given alone"):
        ct.redispatch("id", is_pending=True, **other)


@pytest.mark.parametrize("nodes", [[], "a", [1.5], [True]])
def test_nodes_are_cancelled_by_number(nodes: object) -> None:
    with pytest.raises(WrongSetting, match="task_ids must be the number of a node"):
        ct.cancel("id", cast("int", nodes))


@pytest.mark.parametrize("address", [3, b"host", "", "http://", "localhost:port"])
@pytest.mark.parametrize(
    "ask",
    [
        lambda address: ct.dispatch(ct.lattice(lambda: 1), dispatcher_addr=address)(),
        lambda address: ct.get_result("id", dispatcher_addr=address),
        lambda address: ct.list_triggers(triggers_server_addr=address),
    ],
)
def test_a_server_has_an_address(ask: Callable[[Any], Any], address: object) -> None:
    with pytest.raises(WrongSetting, match="the address of a server must be text such as"):
        ask(address)


@pytest.mark.parametrize("ask", [ct.get_result, ct.cancel, ct.redispatch, lambda x: [*ct.watch(x)]])
@pytest.mark.parametrize("got", [None, 3, ct.lattice(lambda: 1)])
def test_a_dispatch_has_an_id(ask: Callable[[Any], Any], got: object) -> None:
    with pytest.raises(WrongSetting, match="dispatch_id must be the id of a dispatch, as"):
        ask(got)


@pytest.mark.parametrize(
    ("decorate", "what", "meant"),
    [
        (ct.electron, "an electron", "executor"),
        (ct.lattice, "a lattice", "executor"),
        (ct.leptons.bash, "an electron", "executor"),
    ],
)
def test_an_unknown_setting_says_whose_it_would_be(decorate: Any, what: str, meant: str) -> None:
    expected = f"{what} got an unexpected keyword argument 'exector'. Did you mean '{meant}'"
    with pytest.raises(TypeError, match=expected):
        decorate(lambda: "", exector="local")


class TooFew(BaseExecutor):
    def run(self, function: Any, args: Any) -> Any:  # type: ignore[override]
        return function(*args)


class TooFewLater(AsyncBaseExecutor):
    async def run(self, function: Any, args: Any, kwargs: Any) -> Any:  # type: ignore[override]
        return function(*args, **kwargs)


class NoMethod(BaseExecutor):
    run = 5  # type: ignore[assignment]


class Unknown(BaseExecutor):
    def execute(self, function: Any, task: Any) -> Any:  # type: ignore[override]
        return function(task)


class Other(BaseExecutor):
    """Names of its own, and more than are given."""

    def run(self, work: Any, given: Any, named: Any, about: Any, more: int = 0) -> Any:
        return work(*given, **named)


@pytest.mark.parametrize(
    ("executor", "reason"),
    [
        (TooFew(), r"Its `run` takes \(function: .*, args: .*\).*, and would be given function,"),
        (TooFewLater(), "would be given function, args, kwargs, task_metadata: too many"),
        (NoMethod(), "Its `run` must be a method, not 5"),
        (Unknown(), "and would be given function: missing a required argument: 'task'"),
    ],
)
def test_an_executor_can_be_called_as_it_will_be(executor: BaseExecutor, reason: str) -> None:
    with pytest.raises(InvalidExecutor, match=rf"(?s)^{type(executor).__name__}\(\).*{reason}"):
        ct.electron(executor=executor)


def test_an_executor_may_call_its_arguments_as_it_likes() -> None:
    assert ct.electron(max, executor=Other()).executor == Other()


@pytest.mark.parametrize("use", [lambda e: max(**e), dict])
def test_what_has_no_keys_yet_is_not_unpacked(use: Callable[[Any], Any]) -> None:
    one = ct.electron(lambda: {"x": 1})
    one.function.__name__ = "one"

    with pytest.raises(ElectronMisuse, match=r"'one' has .* unpacked with `\*\*` or made a dict"):
        ct.lattice(lambda: use(one())).graph()
    assert [node.name for node in ct.lattice(lambda: one().keys()).graph().nodes][-1] == "call"


def test_names_that_are_meant_end_with_one_dot() -> None:
    with pytest.raises(WrongSetting, match=r"Known: .*moved\.$"):
        DirTrigger("here", "create")
