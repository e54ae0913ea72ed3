"""What electrons take, give, print and raise."""

from __future__ import annotations

import asyncio
import ctypes
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import qcov as ct
from qcov.errors import NodeNotFound
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("common_engine")

Run = Callable[..., ct.Result]


@ct.electron
def same(x: Any) -> Any:
    return x


@ct.electron
def pair(x: Any) -> Any:
    return x, [x + 1, {"deep": x + 2}]


@ct.electron
def fail(message: str) -> None:
    raise ValueError(message)


@ct.electron
def call(a: Any, b: Any = 2, *args: Any, c: Any, d: Any = 4, **kwargs: Any) -> Any:
    return a, b, args, c, d, kwargs


@ct.electron
def only_positional(a: Any, /, b: Any) -> Any:
    return a, b


def value(result: ct.Result) -> Any:
    assert result.status == "COMPLETED", result.error
    return result.result


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: call(1, c=3), (1, 2, (), 3, 4, {})),
        (lambda: call(same(1), c=same(3)), (1, 2, (), 3, 4, {})),
        (
            lambda: call(1, same(5), 6, same(7), c=3, d=same(9), e=same(8)),
            (1, 5, (6, 7), 3, 9, {"e": 8}),
        ),
        (lambda: only_positional(same(1), b=2), (1, 2)),
    ],
    ids=["defaults", "electrons", "everything", "positional-only"],
)
def test_arguments(run: Run, make: Callable[[], object], expected: object) -> None:
    assert value(run(make)) == expected


@pytest.mark.parametrize(
    "container",
    [
        lambda e: [e, 1],
        lambda e: (e, (e, 1)),
        lambda e: {"a": e, 3: [e, {"b": (e,)}]},
        lambda e: {e, 7},
        lambda e: [],
        lambda e: {(1, 2): e},
        lambda e: range(3),
        lambda e: None,
        lambda e: [*range(3), e],
    ],
    ids=["list", "tuples", "deep", "set", "empty", "tuple key", "range", "None", "mixed"],
)
@pytest.mark.parametrize("way", ["argument", "result"])
def test_containers_keep_their_form(run: Run, container: Callable[[Any], Any], way: str) -> None:
    def workflow(x: int) -> object:
        made = container(same(x))
        return same(made) if way == "argument" else made

    got, expected = value(run(workflow, 5)), container(5)
    assert (type(got), got) == (type(expected), expected)


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        (lambda e: e[0], 3),
        (lambda e: e[1][1]["deep"], 5),
        (lambda e: e[-1][0], 4),
        (lambda e: e[0:1], (3,)),
        (lambda e: e[same(0)], 3),
        (lambda e: same(e)[1], [4, {"deep": 5}]),
        (lambda e: e.index(3), 0),
    ],
    ids=["item", "deep", "negative", "slice", "by an electron", "passed on", "method"],
)
def test_elements(run: Run, use: Callable[[Any], Any], expected: object) -> None:
    assert value(run(lambda: use(pair(3)))) == expected


def test_unpacking(run: Run) -> None:
    def workflow() -> object:
        first, (second, third) = pair(1)
        return [third["deep"], second, first]

    assert value(run(workflow)) == [3, 2, 1]


def test_what_has_no_order_of_its_own_is_unpacked_as_python_does(run: Run) -> None:
    def workflow() -> object:
        first, second = same({"x": 1, "y": 2})
        third, fourth = same({7, 8})
        return [first, second, {third, fourth}]

    assert value(run(workflow)) == ["x", "y", {7, 8}]


def test_attributes(run: Run) -> None:
    assert value(run(lambda: same(3 + 4j).imag + same(1j).real)) == 4.0


OPERATIONS: list[tuple[Callable[[Any], Any], int]] = [
    (lambda e: e + 2, 7), (lambda e: 2 + e, 7), (lambda e: e - 2, 7), (lambda e: 2 - e, 7),
    (lambda e: e * 2, 7), (lambda e: 2 * e, 7), (lambda e: e / 2, 7), (lambda e: 2 / e, 7),
    (lambda e: e // 2, 7), (lambda e: 23 // e, 7), (lambda e: e % 4, 7), (lambda e: 23 % e, 7),
    (lambda e: e**2, 7), (lambda e: 2**e, 7), (lambda e: -e, 7), (lambda e: +e, 7),
    (lambda e: ~e, 7), (lambda e: abs(-e), 7), (lambda e: e & 3, 7), (lambda e: 3 & e, 7),
    (lambda e: e | 8, 7), (lambda e: 8 | e, 7), (lambda e: e ^ 2, 7), (lambda e: 2 ^ e, 7),
    (lambda e: e << 1, 7), (lambda e: 1 << e, 7), (lambda e: e >> 1, 7), (lambda e: 1000 >> e, 7),
    (lambda e: e == 7, 7), (lambda e: e != 7, 7), (lambda e: e < 8, 7), (lambda e: e > 8, 7),
    (lambda e: e <= 7, 7), (lambda e: e >= 8, 7), (lambda e: round(e / 3, 2), 7),
    (lambda e: divmod(e, 4), 7), (lambda e: divmod(23, e), 7), (lambda e: e + e * e, 7),
]  # fmt: skip


def test_operators_give_what_python_gives(run: Run) -> None:
    expected = [operation(number) for operation, number in OPERATIONS]

    def workflow() -> object:
        return [operation(same(number)) for operation, number in OPERATIONS]

    assert value(run(workflow)) == expected


def test_matrix_products_and_numpy_on_either_side(run: Run) -> None:
    m = np.array([[1.0, 2.0], [3.0, 4.0]])

    def workflow() -> object:
        e = same(m)
        return [e @ m, m @ e, m * e, np.float64(2) * e, e - np.float64(2), np.sin(e)]

    for got, expected in zip(
        value(run(workflow)), [m @ m, m @ m, m * m, 2 * m, m - 2, np.sin(m)], strict=True
    ):
        np.testing.assert_array_equal(got, expected)


def test_order_without_values(run: Run, counter: Any) -> None:
    note, lines = counter

    def workflow() -> object:
        @ct.electron
        def step(name: str) -> str:
            note(name)
            return name

        last, first, middle = step("last"), step("first"), step("middle")
        ct.wait(middle, first)
        last.wait_for([first, middle])
        return last

    assert value(run(workflow)) == "last"
    assert lines() == ["first", "middle", "last"]


def test_an_element_can_wait_too(run: Run, counter: Any) -> None:
    note, lines = counter

    def workflow() -> object:
        @ct.electron
        def step(name: str, _value: object = None) -> list[str]:
            note(name)
            return [name]

        @ct.electron
        def slow() -> None:
            step.function("a")
            import time

            time.sleep(0.3)
            note("b")

        element = step("start")[0]
        element.wait_for(slow())
        return step("after", [element])

    assert value(run(workflow)) == ["after"]
    assert lines()[-1] == "after"


class Molecule:
    def __init__(self, charge: int) -> None:
        self.charge = charge

    @ct.electron
    def ionise(self, by: int) -> int:
        return self.charge + by


def test_methods_lambdas_and_coroutines(run: Run) -> None:
    @ct.electron
    async def later(x: int) -> int:
        await asyncio.sleep(0)
        return x * 2

    def workflow() -> object:
        twice = ct.electron(lambda x: 2 * x)
        return [twice(4), later(5), ct.electron(max)(same(3), 2)]

    assert value(run(workflow)) == [8, 10, 3]


def test_a_method_of_an_object(run: Run) -> None:
    class Ion:
        charge = 3

        @ct.electron
        def raised(self, by: int) -> int:
            return self.charge + by

    assert value(run(lambda: Ion().raised(same(2)))) == 5
    assert Molecule(1).ionise(1) == 2


def test_large_values_pass_through_several_electrons(run: Run) -> None:
    @ct.electron
    def double(array: Any) -> Any:
        return array * 2

    def workflow(array: Any) -> Any:
        halves = same([double(double(array)), array])
        return halves[0], double(halves[1])

    array = np.arange(131_072.0)
    four, two = value(run(workflow, array))
    np.testing.assert_array_equal(four, array * 4)
    np.testing.assert_array_equal(two, array * 2)


# -- what is printed


def test_everything_printed_is_kept(run: Run) -> None:
    @ct.electron
    def chatter() -> None:
        print("from print")
        print("to stderr", file=sys.stderr)
        os.write(1, b"from os\n")
        ctypes.CDLL(None).puts(b"from C")
        ctypes.CDLL(None).fflush(None)
        subprocess.run(["sh", "-c", "echo from a child; echo child error >&2"], check=True)

    node = run(chatter).get_node_result(0)
    assert sorted(node["stdout"].splitlines()) == [
        "from C",
        "from a child",
        "from os",
        "from print",
    ]
    assert sorted(node["stderr"].splitlines()) == ["child error", "to stderr"]


def test_each_electron_has_its_own_output(run: Run) -> None:
    @ct.electron
    def say(text: str) -> None:
        print(text)

    result = run(lambda: [say(str(number)) for number in range(20)])
    printed = [
        (node["stdout"], node["node_name"])
        for node in result.get_all_node_results()
        if node["node_name"] == "say"
    ]
    assert printed == [(f"{number}\n", "say") for number in range(20)]


def test_an_electron_that_closes_its_output_spoils_only_its_own(run: Run) -> None:
    @ct.electron
    def rude() -> None:
        sys.stdout.close()

    @ct.electron
    def polite(number: int, _after: object) -> int:
        print(number)
        return number

    def workflow() -> object:
        return [polite(number, rude()) for number in range(4)]

    assert value(run(workflow)) == [0, 1, 2, 3]


def test_failed_electrons_keep_what_they_printed(run: Run) -> None:
    @ct.electron
    def noisy() -> None:
        print("before the end")
        raise RuntimeError

    assert run(noisy).get_node_result(0)["stdout"] == "before the end\n"


def test_what_was_printed_before_a_crash_is_kept(run: Run) -> None:
    @ct.electron(retries=1)
    def crash() -> None:
        print("still here")
        os.write(2, b"and here")
        os._exit(3)

    node = run(crash).get_node_result(0)
    assert node["stdout"] == "still here\n" * 2
    assert node["stderr"].count("and here") == 2


def test_elements_do_not_repeat_what_was_printed(run: Run) -> None:
    @ct.electron
    def pair() -> tuple[int, int]:
        print("once")
        return 1, 2

    def workflow() -> object:
        both = pair()
        return same(both[0]), same(both[1])

    printed = [node["stdout"] or "" for node in run(workflow).get_all_node_results()]
    assert "".join(printed) == "once\n"


def test_what_utf_8_has_no_place_for_is_printed_all_the_same(run: Run) -> None:
    @ct.electron
    def odd() -> int:
        print("a\ud800b")
        return 1

    result = run(odd)
    assert (result.result, result.get_node_result(0)["stdout"]) == (1, "a\\ud800b\n")


def test_of_a_long_output_beginning_and_end_are_kept(run: Run) -> None:
    @ct.electron
    def talk() -> None:
        print("the beginning")
        print("x" * 3_000_000)
        print("the end")

    node = run(talk).get_node_result(0)
    assert node["stdout"].startswith("the beginning\nxxx")
    assert node["stdout"].endswith("xxx\nthe end\n")
    assert "bytes are left out here" in node["stdout"]
    assert len(node["stdout"]) < 1_100_000


# -- errors


def test_a_failing_electron_fails_its_branch_only(run: Run) -> None:
    def workflow() -> object:
        bad = fail("no")
        return same(1), same(bad)

    result = run(workflow)

    assert result.status == "FAILED"
    assert result.result is None
    assert result.error == "The following electrons failed:\nfail(0): ValueError: no"
    states = [(node["node_name"], node["status"]) for node in result.get_all_node_results()]
    assert [state for state in states if state[0][0] != ":"] == [
        ("fail", "FAILED"), ("same", "COMPLETED"), ("same", "NEW_OBJECT"),
    ]  # fmt: skip


def test_an_error_shows_the_users_own_frames(run: Run) -> None:
    error = run(lambda: fail("no")).get_node_result(0)["error"]

    assert error.splitlines()[0] == "Traceback (most recent call last):"
    assert error.splitlines()[-1] == "ValueError: no"
    assert error.count("File ") == 1
    assert __file__ in error


def test_an_error_of_a_coroutine_shows_no_event_loop(run: Run) -> None:
    @ct.electron
    async def later() -> None:
        raise ValueError("no")

    error = run(later).get_node_result(0)["error"]
    assert error.count("File ") == 1


def test_every_line_of_a_long_message_is_told(run: Run) -> None:
    error = run(lambda: fail("first line\nsecond line")).error

    assert error is not None
    assert "ValueError: first line" in error


@pytest.mark.parametrize(
    "raising",
    [
        lambda: sys.exit(3),
        lambda: (_ for _ in ()).throw(KeyboardInterrupt),
        lambda: (_ for _ in ()).throw(BaseException("base")),
    ],
    ids=["SystemExit", "KeyboardInterrupt", "BaseException"],
)
def test_whatever_is_raised_fails_the_electron(run: Run, raising: Callable[[], None]) -> None:
    result = run(lambda: [ct.electron(raising)(), same(1)])

    assert result.status == "FAILED"
    assert result.get_node_result(1)["status"] == "COMPLETED"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: (number for number in range(3)), "cannot pickle 'generator' object"),
        (lambda: __import__("threading").Lock(), "cannot pickle '_thread.lock' object"),
    ],
    ids=["generator", "lock"],
)
def test_a_value_that_cannot_travel_is_named(
    run: Run, make: Callable[[], object], reason: str
) -> None:
    @ct.electron
    def produce() -> object:
        return make()

    result = run(produce)

    assert result.error is not None
    assert "the value that electron 'produce' returned cannot be sent" in result.error
    assert reason in result.error


def test_a_list_that_is_too_short_fails_the_element(run: Run) -> None:
    result = run(lambda: same(same([1, 2, 3])[7]))
    states = {
        f"{node['node_name']}({node['node_id']})": node["status"]
        for node in result.get_all_node_results()
    }

    assert (states["same(0)"], states["same[7](2)"]) == ("COMPLETED", "FAILED")
    assert states["same(3)"] == "NEW_OBJECT"
    assert result.error == (
        "The following electrons failed:\nsame[7](2): IndexError: list index out of range"
    )


class Endless:
    def __iter__(self) -> Any:
        return itertools.count()


@pytest.mark.parametrize(
    ("whole", "reason"),
    [
        ([1], "ValueError: not enough values to unpack (expected 2, got 1)"),
        ((1, 2, 3), "ValueError: too many values to unpack (expected 2)"),
        (Endless(), "ValueError: too many values to unpack (expected 2)"),
        (7, "TypeError: 'int' object is not iterable"),
    ],
    ids=["one", "three", "endless", "none"],
)
def test_unpacking_what_is_not_as_many(run: Run, whole: object, reason: str) -> None:
    def workflow() -> object:
        first, _ = same(whole)
        return same(first)

    result = run(workflow)
    assert result.error == (
        f"The following electrons failed:\nsame[0](2): {reason}\nsame[1](3): {reason}"
    )
    assert result.get_node_result(0)["status"] == "COMPLETED"


# -- what an electron leaves does not reach the next


def test_a_working_folder_is_for_its_electron_only(run: Run, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    there = ct.executor.LocalExecutor(workdir=str(tmp_path / "elsewhere"))

    @ct.electron
    def where(_after: object = None) -> str:
        return str(Path.cwd())

    def workflow() -> object:
        moved = [ct.electron(where.function, executor=there)() for _ in range(4)]
        return moved, [where(moved) for _ in range(4)]

    moved, stayed = value(run(workflow))
    assert set(moved) == {str(tmp_path / "elsewhere")}
    assert set(stayed) == {str(Path.cwd())}


# -- what people see


def test_the_printed_result(run: Run) -> None:
    @ct.electron
    def identity(x: int) -> int:
        return x

    @ct.electron
    def square(x: int) -> int:
        return x * x

    result = run(lambda a: square(identity(x=a)), a=2)
    lines = str(result).splitlines()
    times = [line for line in lines if "_time: " in line]

    assert [line for line in lines if "_time: " not in line] == [
        "Lattice Result", "==============", "status: COMPLETED", "result: 4", "input args: []",
        "input kwargs: {'a': '2'}", "error: None", "", "",
        f"results_dir: {os.environ['QCOV_DATA_DIR']}", f"dispatch_id: {result.dispatch_id}", "",
        "Node Outputs", "------------", "identity(0): 2", ":parameter:2(1): 2", "square(2): 4",
    ]  # fmt: skip
    assert [line.split(": ")[0] for line in times] == ["start_time", "end_time"]


def test_the_parts_of_a_result(run: Run) -> None:
    result = run(lambda x, y: pair(x)[1], 1, y="two")

    assert result.inputs == {"args": [1], "kwargs": {"y": "two"}}
    assert result.get_all_node_outputs() == {
        "pair(0)": (1, [2, {"deep": 3}]), ":parameter:1(1)": 1, "pair[1](2)": [2, {"deep": 3}],
    }  # fmt: skip
    assert result.root_dispatch_id == result.dispatch_id
    assert result.start_time is not None
    assert result.end_time is not None
    assert result.start_time <= result.end_time
    assert result.lattice(3, 4) == [4, {"deep": 5}]
    with pytest.raises(NodeNotFound, match="has no node 99"):
        result.get_node_result(99)


def test_watch_follows_to_the_end(run: Run) -> None:
    dispatch_id = ct.dispatch(ct.lattice(lambda: [same(number) for number in range(10)]))()
    seen = list(ct.watch(dispatch_id))

    assert (seen[-1].status, seen[-1].done, seen[-1].total) == ("COMPLETED", 10, 10)
    assert [state.done for state in seen] == sorted(state.done for state in seen)
    assert len(list(ct.watch(dispatch_id))) == 1


def test_keys_may_be_electrons_values(run: Run) -> None:
    table = np.arange(12).reshape(3, 4)

    def workflow() -> Any:
        one, three = same(1), same(3)
        return same([5, 6, 7, 8])[one:three], same(table)[one, three], same(table)[one, ::2]

    slice_, item, row = value(run(workflow))
    assert (slice_, item, row.tolist()) == ([6, 7], 7, [4, 6])


def test_an_electron_leaves_no_variables_and_no_paths_behind(run: Run) -> None:
    def spoil() -> None:
        os.environ["QCOV_TEST_LEFT"] = "1"
        os.environ.pop("PATH")
        sys.path.insert(0, "/left")

    def look() -> Any:
        return "QCOV_TEST_LEFT" in os.environ, "PATH" in os.environ, "/left" in sys.path

    for _ in range(3):
        spoilt = [ct.electron(spoil) for _ in range(4)]
        value(run(lambda spoilt=spoilt: [each() for each in spoilt]))
        assert value(run(ct.electron(look))) == (False, True, False)


def test_a_method_can_be_a_lattice() -> None:
    class Flow:
        def __init__(self, factor: int) -> None:
            self.factor = factor

        @ct.lattice
        def run(self, x: int) -> Any:
            return same(x) * self.factor

    flow = Flow(3)
    assert flow.run(2) == 6
    assert value(ct.dispatch_sync(flow.run)(2)) == 6


def test_a_remembered_function_of_a_script_travels(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import functools\nimport qcov as ct\n"
        "@functools.lru_cache(maxsize=7)\ndef helper(x):\n    return 2 * x\n"
        "@ct.electron\ndef use(x):\n    return helper(x), helper.cache_parameters()['maxsize']\n"
        "print(ct.dispatch_sync(ct.lattice(use))(4).result)\n"
    )
    ran = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert ran.stdout.strip() == "(8, 7)", ran.stderr


def test_a_deep_recursion_is_named(run: Run) -> None:
    def deep(n: int) -> int:
        return deep(n + 1)

    assert "RecursionError: maximum recursion" in str(run(ct.electron(deep), 0).error)


def test_a_sublattice_runs_while_its_electrons_do(tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    @ct.electron
    def wait() -> int:
        while not gate.exists():
            time.sleep(0.01)
        return 3

    @ct.electron
    @ct.lattice
    def inner() -> int:
        return wait()

    outer = ct.lattice(lambda: inner() + 0)
    gate.touch()
    ct.dispatch_sync(outer)()  # a warm worker builds it at once
    gate.unlink()
    dispatch_id = ct.dispatch(outer)()

    def status() -> tuple[str, ct.Result | None]:
        node = ct.get_result(dispatch_id).get_node_result(0)
        return node["status"], node["sublattice_result"]

    until(lambda: status()[1] is not None)
    assert status()[0] == "RUNNING"
    gate.touch()
    assert ct.get_result(dispatch_id, wait=True).result == 3
