"""From Python calls to a graph, and to what travels."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import qcov as ct
from qcov.classical.engine.outcomes import brief, dispatch_error
from qcov.classical.graph import AFTER, Kind, blobs_of, nodes_of, parse_nodes
from qcov.classical.manifest import build_manifest
from qcov.errors import ElectronMisuse, WrongArguments
from qcov.store.blobs import INLINE_LIMIT, Folder, spill
from qcov.transport import address, loads


@ct.electron
def add(x: Any, y: Any = 1) -> Any:
    return x + y


@ct.electron
@ct.lattice
def below(x: Any) -> Any:
    return add(x)


def graph(workflow: Callable[..., object], *args: Any) -> Any:
    return ct.lattice(workflow).graph(*args)


def test_nodes_are_numbered_as_they_are_made() -> None:
    made = graph(lambda x: add(add(x, 2), y=add(x)), 5)

    assert [node.name for node in made.nodes] == [
        "add", ":parameter:5", ":parameter:2", "add", ":parameter:5", "add",
    ]  # fmt: skip
    assert made.edges == [
        (1, 0, "arg[0]"), (2, 0, "arg[1]"), (4, 3, "arg[0]"), (0, 5, "arg[0]"), (3, 5, "y"),
    ]  # fmt: skip
    assert made.result == {"node": 5}


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda x: add(), r"missing a required argument: 'x'\. It takes \(x: .*, y: .* = 1\)"),
        (lambda x: add(x, 1, 2), "too many positional arguments"),
        (lambda x: add(x, z=1), "got an unexpected keyword argument 'z'"),
    ],
)
def test_a_wrong_call_names_its_electron(call: Callable[[Any], Any], reason: str) -> None:
    with pytest.raises(WrongArguments, match=f"electron 'add': {reason}") as caught:
        graph(call, 1)

    assert isinstance(caught.value, TypeError)


def test_a_circuit_cannot_run_while_the_graph_is_built() -> None:
    qml = pytest.importorskip("pennylane")

    @ct.qelectron
    @qml.qnode(qml.device("default.qubit", wires=1))
    def circuit(x: Any) -> Any:
        qml.RX(x, wires=0)
        return qml.expval(qml.Z(0))

    for use in (lambda x: circuit(add(x)), lambda x: circuit([add(x)])):
        with pytest.raises(ElectronMisuse, match="'add'.*circuit 'circuit', which runs at once"):
            graph(use, 1)
    made = graph(lambda x: ct.electron(circuit)(add(x)), 1)
    assert [node.name for node in made.nodes if node.kind is Kind.ELECTRON] == ["add", "circuit"]


def test_containers_elements_and_order() -> None:
    def workflow() -> object:
        first = add(1)
        second = add([first, {"k": first.real}])
        return (ct.wait(second[0], first), {"n": 3})

    made = graph(workflow)
    kinds = {node.name: node.kind for node in made.nodes}

    assert kinds[":electron_list:"] == kinds[":electron_dict:"] == Kind.COLLECTION
    assert kinds["add[0]"] == kinds["add.real"] == Kind.ELEMENT
    assert [edge for edge in made.edges if edge[2] == AFTER] == [(0, made.nodes[-1].id, AFTER)]
    assert made.result["tuple"][0] == {"node": made.nodes[-1].id}
    assert list(made.result["tuple"][1]) == ["blob"]


@pytest.mark.parametrize(
    ("use", "name"),
    [
        (lambda e: e[0], "add[0]"),
        (lambda e: e["k"], "add['k']"),
        (lambda e: e[1:], "add[1:]"),
        (lambda e: e[:2], "add[:2]"),
        (lambda e: e[::3], "add[::3]"),
        (lambda e: e.a.b, "add.a.b"),
    ],
)
def test_elements_say_what_they_are(use: Callable[[Any], Any], name: str) -> None:
    assert graph(lambda: use(add(1))).nodes[-1].name == name


@pytest.mark.parametrize("count", [1, 2, 300, 70_000])
def test_unpacking_takes_as_many_as_there_are_names(count: int) -> None:
    names = ", ".join(f"a{number}" for number in range(count))
    scope: dict[str, Any] = {"add": add}
    exec(f"def workflow():\n    {names}, = add(1)\n    return a{count - 1}", scope)
    if count == 70_000:
        made = graph(scope["workflow"])
        assert sum(node.kind == Kind.ELEMENT for node in made.nodes) == count
    else:
        assert graph(scope["workflow"]).nodes[-1].name == f"add[{count - 1}]"


def test_a_lattice_inside_is_inlined_and_as_an_electron_is_one_node() -> None:
    assert [node.kind for node in graph(lambda: below(1)).nodes] == [
        Kind.SUBLATTICE, Kind.PARAMETER,
    ]  # fmt: skip
    assert graph(lambda: below.function(1)).nodes[0].name == "add"


def test_an_electron_keeps_nothing_of_the_lattices_that_use_it() -> None:
    before = dict(add.metadata)
    for executor in (ct.executor.LocalExecutor(retries=1), ct.executor.LocalExecutor(retries=2)):
        made = ct.lattice(lambda: add(1), executor=executor).graph()
        assert (made.nodes[0].retries, made.executors) == (executor.retries, [executor.to_dict()])
    assert add.metadata == before


@pytest.mark.parametrize(
    ("electron", "executor", "expected"),
    [
        ({}, None, (0, 0.0, None)),
        ({"retries": 2, "retry_delay": 0.5, "time_limit": 3}, None, (2, 0.5, 3)),
        ({}, {"retries": 4, "time_limit": 9.0}, (4, 0.0, 9.0)),
        ({"retries": 0, "time_limit": 1}, {"retries": 4, "time_limit": 9.0}, (0, 0.0, 1)),
    ],
    ids=["defaults", "electron", "executor", "the electron wins"],
)
def test_settings(
    electron: dict[str, Any], executor: dict[str, Any] | None, expected: tuple[object, ...]
) -> None:
    where = None if executor is None else ct.executor.LocalExecutor(**executor)
    marked = ct.electron(add.function, executor=where, **electron)
    (node, *_) = graph(lambda: marked(1)).nodes

    assert (node.retries, node.retry_delay, node.time_limit) == expected


def test_a_manifest_is_json_and_gives_the_graph_back() -> None:
    lattice = ct.lattice(lambda x: add([add(x), 1])[0])
    manifest = build_manifest(lattice, (5,), {})
    blobs = manifest.pop("blobs")
    again = json.loads(json.dumps(manifest))
    nodes = parse_nodes(again)

    assert [node.as_json() for node in nodes] == manifest["nodes"]
    assert all(address(blob) == digest for digest, blob in blobs.items())
    named = {node.value for node in nodes} | {node.item for node in nodes}
    named |= {manifest["inputs"], manifest["lattice"]}
    named |= {function["digest"] for function in manifest["functions"]}
    assert named - {None} == blobs.keys()
    assert loads(blobs[manifest["inputs"]]) == {"args": (5,), "kwargs": {}}


def test_constants_travel_once() -> None:
    def workflow(count: int) -> object:
        return [add("x" * count, "x" * count) for _ in range(50)]

    manifest = build_manifest(ct.lattice(workflow), (50_000,), {})

    assert sum(len(blob) > 50_000 for blob in manifest["blobs"].values()) == 1


def test_large_payloads_go_to_the_folder(tmp_path: Path) -> None:
    lattice = ct.lattice(lambda count: add(b"x" * count))
    manifest = build_manifest(lattice, (INLINE_LIMIT + 1,), {})
    spilled = spill(manifest, Folder(tmp_path).write)

    ((digest, size),) = spilled["spilled"].items()
    assert digest not in spilled["blobs"]
    assert len(Folder(tmp_path).read(digest)) == size
    assert manifest["blobs"].keys() == {*spilled["blobs"], digest}


def test_recipes_are_read_in_order() -> None:
    recipe = {"list": [{"node": 3}, {"dict": [["key", {"tuple": [{"node": 1}, {"blob": "b"}]}]]}]}

    assert list(nodes_of(recipe)) == [3, 1]
    assert list(blobs_of(recipe)) == ["key", "b"]


TRACEBACK = 'Traceback (most recent call last):\n  File "x", line 1, in f\n    code\n'


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("", "no reason was given"),
        (TRACEBACK + "ValueError: no", "ValueError: no"),
        (TRACEBACK + "ValueError: first\nsecond", "ValueError: first"),
        (TRACEBACK + "KeyError: 1\n\nDuring handling of the above exception, another exception "
         "occurred:\n\n" + TRACEBACK + "ValueError: 2", "ValueError: 2"),
        ("WorkerLost: it died", "WorkerLost: it died"),
        ("DispatchFailed: it failed:\nf(0): X", "DispatchFailed: it failed:\n  f(0): X"),
    ],
)  # fmt: skip
def test_an_error_in_short(error: str, expected: str) -> None:
    assert brief(error) == expected


_PARTS = st.sampled_from(
    [
        *(
            "Traceback (most recent call last):",
            "  + Exception Group Traceback (most recent call last):",
        ),
        *(
            "| ",
            "|",
            "+",
            "  | ",
            "    x",
            "...",
            "",
            "ValueError: a",
            "This happened in p",
            "\x0b",
        ),
        *("The following electrons failed:", "During handling of the above exception, another"),
        "The above exception was the direct cause of the following exception:",
    ]
)


@given(st.lists(_PARTS | st.text(max_size=8), max_size=8).map("\n".join))
def test_an_error_in_short_is_some_of_it_whatever_it_says(error: str) -> None:
    told = brief(error)

    assert told.strip()
    assert not error.strip() or set(told) <= {*error, *"\n  ()"}


def test_failures_are_told_a_line_each() -> None:
    told = dispatch_error([(3, "f", TRACEBACK + "ValueError: no"), (5, "g", "WorkerLost: gone")])

    assert told == ("The following electrons failed:\nf(3): ValueError: no\ng(5): WorkerLost: gone")


def test_a_copy_of_what_has_no_value_is_itself() -> None:
    made = graph(lambda x: copy.deepcopy([add(x)]), 1)

    assert made.result == {"list": [{"node": 0}]}


@pytest.mark.parametrize("use", [str, "{0!s}".format, "%s".__mod__])
def test_what_has_no_value_has_no_text(use: Callable[[Any], str]) -> None:
    with pytest.raises(ElectronMisuse, match="'add' has no value .* cannot be turned into text"):
        graph(lambda x: use(add(x)), 1)


def test_nothing_can_be_removed_from_it() -> None:
    def workflow(x: Any) -> Any:
        value = add(x)
        del value[0]
        return value

    with pytest.raises(ElectronMisuse, match="cannot be changed in place"):
        graph(workflow, 1)


def test_nothing_can_be_set_on_it() -> None:
    def workflow(x: Any) -> Any:
        value = add(x)
        value.real = 3
        return value

    with pytest.raises(ElectronMisuse, match="cannot be changed in place"):
        graph(workflow, 1)


def test_a_method_that_is_called_for_nothing_is_warned_of() -> None:
    def workflow(x: Any) -> Any:
        value = add(x, [])
        value.append(3)
        return value, value.count(3), [value.copy()]

    with pytest.warns(
        UserWarning, match=r"the value of add\.append\(\.\.\.\) is not used"
    ) as caught:
        graph(workflow, [1])

    assert len(caught) == 1


def test_keys_may_hold_electrons() -> None:
    made = graph(lambda x: (add(x)[add(0) : 3], add(x)[add(0), 1]), [1])

    assert [node.name for node in made.nodes if node.kind == Kind.ELECTRON] == [
        "add", "add", "cut", "add", "add", "getitem",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text", [lambda e: f"{e!r}", repr, lambda e: str([e]), lambda e: ["a", {"b": f"x {e!r}"}]]
)
@pytest.mark.parametrize("give", [add, lambda text: text, below])
def test_an_electrons_repr_is_no_value(
    text: Callable[[Any], Any], give: Callable[[Any], Any]
) -> None:
    with pytest.raises(ElectronMisuse, match="'add' has no .* part of a text that is used as a"):
        graph(lambda: give(text(add(1))))


def test_a_text_that_only_looks_like_an_electrons_repr_is_a_value() -> None:
    made = graph(lambda text: (add(1), add(text), {"said": text}), "it is <value of add(0)> here")

    assert [node.name for node in made.nodes if node.kind == Kind.ELECTRON] == ["add", "add"]


def test_an_electrons_repr_can_be_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    def workflow() -> Any:
        value = add(1)
        print(f"{value=}")
        return add(value, "<value of nothing(3)>"), add("the log says <value of add(1)> here")

    graph(workflow)

    assert capsys.readouterr().out == "value=<value of add(0)>\n"
