"""What Covalent's users call on electrons and lattices besides calling them."""

from __future__ import annotations

from typing import Any

import pytest

import qcov as ct
from qcov.classical.graph import TransportGraph
from qcov.errors import WrongSetting


@ct.electron(retries=2)
def add(x: Any, y: Any = 1) -> Any:
    return x + y


def test_an_unknown_setting_is_a_key_error() -> None:
    assert add.get_metadata("retries") == 2
    assert add.get_metadata("executor") is None
    for thing in (add, ct.lattice(max)):
        with pytest.raises(KeyError, match="colour"):
            thing.get_metadata("colour")


def test_users_may_note_things_of_their_own() -> None:
    workflow = ct.lattice(max)
    workflow.set_metadata("colour", "green")

    assert workflow.get_metadata("colour") == "green"


@pytest.mark.parametrize(
    ("op", "value"),
    [("+", 9), ("-", 5), ("*", 14), ("/", 3.5), ("//", 3), ("%", 1), ("**", 49)],
)
def test_an_operator_by_its_sign(op: str, value: float) -> None:
    assert add.get_op_function(7, 2, op) == value
    graph = ct.lattice(lambda: add.get_op_function(add(1), 2, op)).graph()
    assert graph.nodes[2].inputs


def test_an_unknown_operator() -> None:
    with pytest.raises(WrongSetting, match=r"op must be one of \+ - \* / // % \*\* @, not '<>'"):
        add.get_op_function(1, 2, "<>")


def test_it_can_be_described() -> None:
    described = add.as_transportable_dict

    assert described["name"] == "add"
    assert described["function"].get_deserialized()(1, 2) == 3
    assert "return x + y" in described["function_string"]
    assert described["metadata"]["retries"] == 2


def test_a_graph_can_be_built_by_hand() -> None:
    graph = TransportGraph()

    first = add.add_collection_node_to_graph(graph, "first")
    second = add.add_collection_node_to_graph(graph, "second")
    add.connect_node_with_others(first, "x", 5, "arg", 0, graph)
    add.connect_node_with_others(second, "y", [1], "kwarg", None, graph)
    add.connect_node_with_others(second, "x", 3, "arg", None, graph)

    assert [node.name for node in graph.nodes] == [
        "first", "second", ":parameter:5", ":parameter:[1]", ":parameter:3",
    ]  # fmt: skip
    assert graph.edges == [(2, 0, "arg[0]"), (4, 1, "arg[0]"), (3, 1, "y")]
    with pytest.raises(WrongSetting, match="param_type must be 'arg' or 'kwarg'"):
        add.connect_node_with_others(first, "y", 5, "argument", 0, graph)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"limit": 0}, "limit must be a whole number from 1 to 1000, not 0"),
        ({"limit": 1001}, "limit must be"),
        ({"limit": "3"}, "limit must be"),
        ({"status": "DONE"}, "status must be one of NEW_OBJECT, PENDING, "),
    ],
)
def test_a_list_of_dispatches_that_cannot_be(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(WrongSetting, match=reason):
        ct.list_dispatches(**settings)


def test_a_backend_is_an_executor() -> None:
    local = ct.executor.LocalExecutor(retries=1)

    with pytest.warns(DeprecationWarning, match=r"write executor=\.\.\.") as caught:
        thing = ct.electron(backend=local)
    assert caught[0].filename == __file__
    assert thing(abs).executor is local
    with pytest.warns(DeprecationWarning, match="is deprecated"):
        assert ct.lattice(max, backend="local").get_metadata("executor") == "local"


def test_an_unknown_setting_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'retrys'"):
        ct.electron(retrys=1)  # type: ignore[call-overload]
