"""The schedule: a pure state machine. `test_schedule_histories` tries what is not told here."""

from __future__ import annotations

import pytest

from qcov.classical.engine.schedule import (
    RESULT,
    CancelRequested,
    NodeFinished,
    NodeStarted,
    Schedule,
)
from qcov.classical.graph import Kind, Node
from qcov.classical.status import Status
from qcov.errors import StateError


def electron(number: int, *args: int, **fields: object) -> Node:
    return Node(id=number, name=f"e{number}", kind=Kind.ELECTRON, args=list(args), **fields)


def parameter(number: int) -> Node:
    return Node(id=number, name="p", kind=Kind.PARAMETER, value="digest")


def element(number: int, source: int, **fields: object) -> Node:
    return Node(id=number, name="x", kind=Kind.ELEMENT, source=source, item="digest", **fields)


def collection(number: int, *parts: int) -> Node:
    recipe = {"list": [{"node": part} for part in parts]}
    return Node(id=number, name="c", kind=Kind.COLLECTION, recipe=recipe)


def done(node: int, status: Status = Status.COMPLETED) -> NodeFinished:
    return NodeFinished(node=node, status=status)


def test_an_electron_starts_when_its_inputs_are_there() -> None:
    schedule = Schedule([electron(0), parameter(1), electron(2, 0, 1)])

    assert schedule.start().ready == [0]
    assert schedule.apply(done(0)).ready == [2]
    assert schedule.apply(done(2)).ready == [RESULT]
    assert schedule.apply(done(RESULT)).ended is Status.COMPLETED


def test_an_empty_graph_has_only_a_result() -> None:
    schedule = Schedule([])

    assert schedule.start().ready == [RESULT]
    assert schedule.apply(done(RESULT)).ended is Status.COMPLETED


def test_a_container_completes_with_its_last_part() -> None:
    schedule = Schedule([electron(0), electron(1), collection(2, 0, 1), electron(3, 2)])
    schedule.start()

    assert schedule.apply(done(1)).settled == [(1, Status.COMPLETED)]
    step = schedule.apply(done(0))
    assert step.settled == [(0, Status.COMPLETED), (2, Status.COMPLETED)]
    assert step.ready == [3]


def test_an_element_ends_with_what_it_is_cut_from() -> None:
    schedule = Schedule([electron(0), element(1, 0), element(2, 1), electron(3, 2)])

    assert schedule.start().ready == [0]
    assert schedule.apply(done(1)).ready == []
    assert schedule.apply(done(2)).ready == [3]
    assert schedule.apply(done(0)).ready == []


def test_who_uses_an_element_that_waits_waits_too() -> None:
    nodes = [electron(0), electron(1), element(2, 0, after=[1]), element(3, 2), electron(4, 3)]
    schedule = Schedule(nodes)
    schedule.start()
    for number in (2, 3, 0):
        assert schedule.apply(done(number)).ready == []

    assert schedule.apply(done(1)).ready == [4]


def test_a_failure_stops_its_branch_and_ends_when_all_else_has() -> None:
    schedule = Schedule([electron(0), electron(1, 0), electron(2)])
    schedule.start()

    assert schedule.apply(done(0, Status.FAILED)).ended is None
    step = schedule.apply(done(2))
    assert step.ended is Status.FAILED
    assert schedule.status[1] is Status.NEW_OBJECT


def test_retries_are_counted() -> None:
    schedule = Schedule([electron(0, retries=2)])
    schedule.start()

    for attempt in (2, 3):
        assert schedule.apply(done(0, Status.FAILED)).retry == [0]
        assert schedule.attempt[0] == attempt
    assert schedule.apply(done(0, Status.FAILED)).ended is Status.FAILED


def test_a_final_failure_is_not_tried_again() -> None:
    schedule = Schedule([electron(0, retries=2)])
    schedule.start()

    final = NodeFinished(node=0, status=Status.FAILED, final=True)
    assert schedule.apply(final).ended is Status.FAILED


@pytest.mark.parametrize("outcome", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
def test_what_comes_of_a_cancelled_electron_is_cancelled(outcome: Status) -> None:
    schedule = Schedule([electron(0, retries=3), electron(1, 0)])
    schedule.start()
    schedule.apply(NodeStarted(node=0))

    step = schedule.apply(CancelRequested())
    assert (step.stop, step.settled) == ([0], [(1, Status.CANCELLED), (RESULT, Status.CANCELLED)])
    step = schedule.apply(done(0, outcome))
    assert (step.settled, step.retry, step.ended) == (
        [(0, Status.CANCELLED)], [], Status.CANCELLED,
    )  # fmt: skip


def test_cancelling_one_node_lets_the_others_end() -> None:
    schedule = Schedule([electron(0), electron(1), electron(2, 0)])
    schedule.start()

    assert schedule.apply(CancelRequested(nodes=[0])).stop == [0]
    schedule.apply(done(0, Status.FAILED))
    assert schedule.apply(done(1)).ended is Status.CANCELLED


@pytest.mark.parametrize("first", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
@pytest.mark.parametrize("second", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
def test_terminal_states_never_change(first: Status, second: Status) -> None:
    schedule = Schedule([electron(0), electron(1)])
    schedule.start()
    schedule.apply(done(0, first))

    for event in (done(0, second), NodeStarted(node=0)):
        with pytest.raises(StateError, match=f"node 0 is {first}"):
            schedule.apply(event)
    assert schedule.status[0] is first


@pytest.mark.parametrize("node", [0, 1, 2, 4, RESULT], ids=["p", "c", "electron", "unknown", "end"])
def test_what_was_not_handed_out_cannot_begin_or_end(node: int) -> None:
    schedule = Schedule([parameter(0), collection(1, 3), electron(2, 1), electron(3)])
    schedule.start()

    for event in (done(node), done(node, Status.FAILED), NodeStarted(node=node)):
        with pytest.raises(StateError, match=f"node {node} is .*was ignored"):
            schedule.apply(event)
    assert schedule.apply(done(3)).ready == [2]
    assert schedule.apply(done(2)).ready == [RESULT]
    assert schedule.apply(done(RESULT)).ended is Status.COMPLETED


def test_an_element_does_not_begin() -> None:
    schedule = Schedule([electron(0), element(1, 0)])
    schedule.start()

    with pytest.raises(StateError, match="node 1 is NEW_OBJECT"):
        schedule.apply(NodeStarted(node=1))
