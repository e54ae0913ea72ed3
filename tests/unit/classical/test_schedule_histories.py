"""The schedule, with graphs and histories of every kind: events in any order, and crashes."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
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

RUNS = (Kind.ELECTRON, Kind.SUBLATTICE)
OPEN = (Status.PENDING, Status.RUNNING, Status.CANCELING)


@dataclass(frozen=True)
class Workflow:
    """A graph, and what comes of its nodes if they run."""

    nodes: list[Node]
    failures: list[int]  #: how many tries of a node fail before one does not; of elements: 0 or 1

    def verdict(self, number: int, attempt: int) -> Status:
        failures = 0 if number == RESULT else self.failures[number]
        return Status.FAILED if attempt <= failures else Status.COMPLETED

    def parts(self, origin: int) -> list[int]:
        """The elements that are cut from a node's value, in order."""
        found = [origin]
        for node in self.nodes:
            if node.source in found:
                found.append(node.id)
        return found[1:]


@st.composite
def workflows(draw: st.DrawFn) -> Workflow:
    nodes: list[Node] = []
    for number in range(draw(st.integers(0, 10))):
        before = st.integers(0, number - 1) if number else st.nothing()
        some = draw(st.lists(before, max_size=3)) if number else []
        after = draw(st.lists(before, max_size=2)) if number else []
        sources = [node.id for node in nodes if node.kind in (*RUNS, Kind.ELEMENT)]
        kinds = ["electron", "electron", "sublattice", "parameter", "collection"]
        kind = Kind(draw(st.sampled_from(kinds + ["element"] * 2 * bool(sources))))
        fields: dict[str, object] = {}
        if kind in RUNS:
            fields = {"args": some, "after": after, "retries": draw(st.integers(0, 2))}
        elif kind is Kind.ELEMENT:
            source = draw(st.sampled_from(sources))
            fields = {"source": source, "item": "digest", "after": after[:1]}
        elif kind is Kind.COLLECTION:
            fields = {"recipe": {"list": [{"node": part} for part in some]}}
        else:
            fields = {"value": "digest"}
        nodes.append(Node(id=number, name=f"n{number}", kind=kind, **fields))
    failures = st.sampled_from([0, 0, 0, 1, 2, 3]) if draw(st.booleans()) else st.just(0)
    return Workflow(nodes, [draw(failures) for _ in nodes])


@dataclass
class Disk:
    """What of a dispatch has been committed."""

    settled: dict[int, Status] = field(default_factory=dict)
    attempts: dict[int, int] = field(default_factory=dict)
    stopping: set[int] = field(default_factory=set)
    cancelled: bool = False
    ended: Status | None = None


class History(RuleBasedStateMachine):
    """An engine that does what the schedule says, and that dies now and then.

    A dead engine's work goes on from what was committed: the last few steps may be lost.
    """

    def __init__(self) -> None:
        super().__init__()
        self.disks: list[Disk] = []
        self.out: set[int] = set()

    @initialize(workflow=workflows(), calm=st.booleans())
    def begin(self, workflow: Workflow, calm: bool) -> None:
        self.workflow, self.nodes = workflow, workflow.nodes
        self.calm = calm  # nobody cancels anything
        self.disks = [Disk()]
        self.live()

    def live(self) -> None:
        """Start from what is on disk, as `Run` does."""
        self.disk = copy.deepcopy(self.disks[-1])
        self.out, self.handed, self.stopped, self.cancelled = set(), set(), set(), False
        constants = {node.id for node in self.nodes if node.kind is Kind.PARAMETER}
        over = dict.fromkeys(constants, Status.COMPLETED) | self.disk.settled
        self.terminal = dict(over)
        self.schedule = Schedule(self.nodes, over)
        self.schedule.attempt.update(self.disk.attempts)
        self.take(self.schedule.start())
        if self.disk.cancelled or self.disk.stopping:
            nodes = None if self.disk.cancelled else self.disk.stopping
            self.take(self.schedule.apply(CancelRequested(nodes=nodes)))
            assert self.stopped >= self.out & self.disk.stopping
            assert not self.disk.cancelled or self.stopped >= self.out
            self.cancelled = self.disk.cancelled

    # -- what follows from a step

    def take(self, *steps: Step) -> None:
        for step in steps:
            self.settle(step)
            self.hand_out(step)
            assert set(step.stop) <= self.out
            self.stopped |= set(step.stop)
            self.disk.stopping |= set(step.stop) - {RESULT}
            if step.ended is not None:
                assert self.disk.ended is None, "it ended twice"
                self.disk.ended = step.ended
        self.disks.append(copy.deepcopy(self.disk))

    def settle(self, step: Step) -> None:
        for number, status in step.settled:
            assert number not in self.terminal, "a node ended twice"
            assert number not in self.stopped or status is Status.CANCELLED
            self.terminal[number] = status
            if number != RESULT:
                self.disk.settled[number] = status

    def hand_out(self, step: Step) -> None:
        for number in step.retry:
            assert self.nodes[number].kind is Kind.ELECTRON  # a sublattice's failure is final
        for number in (*step.ready, *step.retry):
            assert not self.cancelled
            attempt = self.schedule.attempt[number]
            assert number not in self.terminal
            assert number not in self.stopped, "a node runs again that was to be stopped"
            assert (number, attempt) not in self.handed, "one attempt was handed out twice"
            assert number == RESULT or attempt <= self.nodes[number].retries + 1
            self.handed.add((number, attempt))
            self.out.add(number)
            self.disk.attempts[number] = attempt
        for number in step.ready:
            for source in self.waits_for(number):
                assert self.schedule.status[source] is Status.COMPLETED

    def waits_for(self, number: int) -> list[int]:
        if number == RESULT:
            return [node.id for node in self.nodes]
        return [*self.nodes[number].inputs(), *self.nodes[number].after]

    # -- what happens

    def chosen(self, data: st.DataObject) -> int:
        return data.draw(st.sampled_from(sorted(self.out)))

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def start_one(self, data: st.DataObject) -> None:
        self.take(self.schedule.apply(NodeStarted(node=self.chosen(data))))

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def finish_one(self, data: st.DataObject) -> None:
        self.finish(self.chosen(data))

    def finish(self, number: int) -> None:
        status = self.workflow.verdict(number, self.schedule.attempt[number])
        cut = self.cut(number) if status is Status.COMPLETED else []
        final = number != RESULT and self.nodes[number].kind is Kind.SUBLATTICE
        self.out.discard(number)
        event = NodeFinished(node=number, status=status, final=final)
        self.take(*cut, self.schedule.apply(event))

    def cut(self, number: int) -> list[Step]:
        """Report the elements of a value, before the value itself; some do not exist."""
        failed: set[int] = set()
        steps: list[Step] = []
        for part in self.workflow.parts(number):
            if self.nodes[part].source in failed or self.schedule.status[part].terminal:
                failed.add(part)
                continue
            status = self.workflow.verdict(part, 1)
            failed |= {part} if status is Status.FAILED else set()
            steps.append(self.schedule.apply(NodeFinished(node=part, status=status)))
        return steps

    @precondition(lambda self: not self.calm)
    @rule(data=st.data())
    def cancel_some(self, data: st.DataObject) -> None:
        numbers = data.draw(st.sets(st.integers(-1, len(self.nodes) + 1), max_size=2))
        self.take(self.schedule.apply(CancelRequested(nodes=numbers)))

    @precondition(lambda self: not self.calm)
    @rule()
    def cancel_all(self) -> None:
        self.cancelled = True
        self.disk.cancelled = self.disk.ended is None
        self.take(self.schedule.apply(CancelRequested()))

    @rule(lost=st.integers(0, 3))
    def crash(self, lost: int) -> None:
        """The engine dies; its last steps were not committed, and nothing has come of them."""
        del self.disks[max(1, len(self.disks) - lost) :]
        if self.disks[-1].ended is None:
            self.live()
        else:
            self.disk, self.out = copy.deepcopy(self.disks[-1]), set()

    @rule(data=st.data(), status=st.sampled_from(["COMPLETED", "FAILED", "CANCELLED", None]))
    def report_what_cannot_be(self, data: st.DataObject, status: str | None) -> None:
        """A late or a wrong report changes nothing."""
        number = data.draw(st.integers(RESULT, len(self.nodes)))
        node = self.nodes[number] if 0 <= number < len(self.nodes) else None
        begins = status is None
        waits = node is not None and node.kind is Kind.ELEMENT and number not in self.terminal
        if number in self.out or (waits and not begins):
            return
        event = NodeStarted(node=number) if begins else _finished(number, status)
        before = dict(self.schedule.status)
        with pytest.raises(StateError, match=f"node {number} is"):
            self.schedule.apply(event)
        assert self.schedule.status == before

    # -- what holds

    @invariant()
    def terminal_states_never_change(self) -> None:
        if self.disks and self.disk.ended is None:
            for number, status in self.terminal.items():
                assert self.schedule.status[number] is status
                assert number not in self.out

    @invariant()
    def it_ends_when_nothing_runs(self) -> None:
        if self.disks:
            assert bool(self.disk.ended) == (not self.out)

    def teardown(self) -> None:
        """Let all that runs end: then the dispatch has, as one to which nothing has happened."""
        if not self.disks:
            return
        while self.out:
            self.finish(min(self.out))
        assert self.disk.ended is not None
        assert not set(self.schedule.status.values()) & set(OPEN)
        completed = self.terminal.get(RESULT) is Status.COMPLETED
        assert (self.disk.ended is Status.COMPLETED) == completed
        assert not self.disk.cancelled or self.disk.ended in (Status.CANCELLED, Status.COMPLETED)
        if self.calm:
            quiet = History()
            quiet.begin(self.workflow, calm=True)
            while quiet.out:
                quiet.finish(min(quiet.out))
            assert (quiet.disk.ended, quiet.disk.settled) == (self.disk.ended, self.disk.settled)


def _finished(number: int, status: str | None) -> NodeFinished:
    return NodeFinished(node=number, status=Status(status))


History.TestCase.settings = settings(max_examples=400, stateful_step_count=25, deadline=None)
TestHistory = History.TestCase
