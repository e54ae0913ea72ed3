"""The schedule: a pure state machine, tried with graphs and events of every kind."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from qcov.classical.engine.schedule import (
    RESULT,
    CancelRequested,
    NodeFinished,
    NodeStarted,
    Schedule,
    Step,
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
        with pytest.raises(StateError, match=f"node 0 is already {first}"):
            schedule.apply(event)
    assert schedule.status[0] is first


# -- graphs of every kind


@st.composite
def graphs(draw: st.DrawFn) -> list[Node]:
    nodes: list[Node] = []
    for number in range(draw(st.integers(0, 12))):
        before = st.integers(0, number - 1) if number else st.nothing()
        some = draw(st.lists(before, max_size=3)) if number else []
        runs = [node.id for node in nodes if node.kind in (Kind.ELECTRON, Kind.ELEMENT)]
        kinds = ["electron", "electron", "parameter", "collection"] + ["element"] * bool(runs)
        kind = draw(st.sampled_from(kinds))
        if kind == "electron":
            after = draw(st.lists(before, max_size=2)) if number else []
            retries = draw(st.integers(0, 2))
            nodes.append(electron(number, *some, after=after, retries=retries))
        elif kind == "element":
            after = draw(st.lists(before, max_size=1))
            nodes.append(element(number, draw(st.sampled_from(runs)), after=after))
        else:
            nodes.append(parameter(number) if kind == "parameter" else collection(number, *some))
    return nodes


def parts(nodes: list[Node], origin: int) -> list[int]:
    """The elements that are cut from an electron, in order."""
    found = [origin]
    for node in nodes:
        if node.source in found:
            found.append(node.id)
    return found[1:]


class Running(RuleBasedStateMachine):
    """An engine that does what the schedule says, and reports whatever may happen."""

    def __init__(self) -> None:
        super().__init__()
        self.nodes: list[Node] = []
        self.out: set[int] = set()
        self.terminal: dict[int, Status] = {}
        self.runs: dict[int, int] = {}
        self.stopped: set[int] = set()
        self.cancelled = False
        self.ended: list[Status] = []

    @initialize(nodes=graphs())
    def start(self, nodes: list[Node]) -> None:
        self.nodes = nodes
        self.schedule = Schedule(nodes)
        self.take(self.schedule.start())

    def take(self, step: Step) -> None:
        for number, status in step.settled:
            assert number not in self.terminal, "a node ended twice"
            self.terminal[number] = status
        for number in (*step.ready, *step.retry):
            assert number not in self.terminal
            assert number not in self.stopped, "a node runs again that was to be stopped"
            assert not self.cancelled
            self.out.add(number)
        for number in step.ready:
            self.runs[number] = self.runs.get(number, 0) + 1
            if number != RESULT:
                node = self.nodes[number]
                for source in (*node.inputs(), *node.after):
                    assert self.schedule.status[source] is Status.COMPLETED
        for number in step.retry:
            self.runs[number] += 1
        assert set(step.stop) <= self.out
        self.stopped |= set(step.stop)
        if step.ended is not None:
            self.ended.append(step.ended)

    def handed_out(self, data: st.DataObject) -> int:
        return data.draw(st.sampled_from(sorted(self.out)))

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        self.take(self.schedule.apply(NodeStarted(node=self.handed_out(data))))

    @precondition(lambda self: self.out)
    @rule(data=st.data(), status=st.sampled_from(["COMPLETED", "COMPLETED", "FAILED"]))
    def finish(self, data: st.DataObject, status: str) -> None:
        number = self.handed_out(data)
        if status == "COMPLETED":
            self.cut(number, data)
        self.out.discard(number)
        self.take(self.schedule.apply(done(number, Status(status))))

    def cut(self, number: int, data: st.DataObject) -> None:
        """Report the elements of a value, before the value itself; some do not exist."""
        failed: set[int] = set()
        for part in parts(self.nodes, number):
            if self.nodes[part].source in failed or self.schedule.status[part].terminal:
                failed.add(part)
                continue
            good = data.draw(st.booleans())
            failed |= set() if good else {part}
            status = Status.COMPLETED if good else Status.FAILED
            self.take(self.schedule.apply(done(part, status)))

    @rule(data=st.data())
    def cancel_some(self, data: st.DataObject) -> None:
        numbers = data.draw(st.sets(st.integers(-1, len(self.nodes) + 1), max_size=3))
        self.take(self.schedule.apply(CancelRequested(nodes=numbers)))

    @rule()
    def cancel_all(self) -> None:
        self.take(self.schedule.apply(CancelRequested()))
        self.cancelled = True

    @invariant()
    def terminal_states_never_change(self) -> None:
        if hasattr(self, "schedule"):
            for number, status in self.terminal.items():
                assert self.schedule.status[number] is status
                assert number not in self.out

    @invariant()
    def retries_are_bounded(self) -> None:
        for number, runs in self.runs.items():
            allowed = self.nodes[number].retries if number != RESULT else 0
            assert runs <= 1 + allowed

    @invariant()
    def it_ends_once_and_when_nothing_runs(self) -> None:
        if not hasattr(self, "schedule"):
            return
        assert len(self.ended) <= 1
        assert bool(self.ended) == (not self.out)
        assert self.schedule.ended == (self.ended[0] if self.ended else None)
        if self.ended:
            states = set(self.schedule.status.values())
            assert not states & {Status.RUNNING, Status.PENDING, Status.CANCELING}
            assert (self.ended[0] is Status.COMPLETED) == (
                self.schedule.status[RESULT] is Status.COMPLETED
            )

    def teardown(self) -> None:
        """Let all that runs end: then the dispatch must have."""
        if hasattr(self, "schedule"):
            while self.out:
                number = min(self.out)
                self.out.discard(number)
                self.take(self.schedule.apply(done(number, Status.FAILED)))
            assert self.ended


Running.TestCase.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
TestRunning = Running.TestCase


@given(graphs(), st.data())
@settings(deadline=None)
def test_a_restart_at_any_moment_runs_only_what_had_not_ended(
    nodes: list[Node], data: st.DataObject
) -> None:
    """What was on disk when the engine died is all that the next one knows."""
    finished: dict[int, Status] = {}
    ran: list[int] = []
    for _ in range(3):
        schedule = Schedule(nodes, finished)
        out = set()
        step = schedule.start()
        for number in finished:
            assert number not in step.ready
        for _ in range(data.draw(st.integers(0, 6))):
            finished |= {n: status for n, status in step.settled if n != RESULT}
            out |= {*step.ready, *step.retry}
            if not out - {RESULT}:
                break
            number = data.draw(st.sampled_from(sorted(out - {RESULT})))
            out.discard(number)
            assert number not in ran
            ran.append(number)
            step = Step()
            for part in (*parts(nodes, number), number):
                more = schedule.apply(done(part))
                step.ready += more.ready
                step.settled += more.settled
        finished |= {n: status for n, status in step.settled if n != RESULT}

    schedule = Schedule(nodes, finished)
    step = schedule.start()
    while schedule.ended is None:
        number = step.ready.pop(0)
        for part in (*parts(nodes, number), number) if number != RESULT else (RESULT,):
            step.ready += schedule.apply(done(part)).ready
    assert schedule.ended is Status.COMPLETED
