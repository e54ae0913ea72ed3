"""Which nodes may run, and how a dispatch ends: a pure state machine.

It is told what happened and answers what follows; clock, processes and database are the runner's.
Structural nodes (constants, containers, elements) take no time of their own: a container completes
with its last part, an element is reported together with the electron that it is cut from.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from qcov.classical.graph import Kind, Node
from qcov.classical.status import Status
from qcov.errors import StateError

#: The number of the step that puts the result together, after all nodes.
RESULT = -1

_HANDED_OUT = (Status.PENDING, Status.RUNNING, Status.CANCELING)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStarted:
    """A worker has begun with a node."""

    node: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFinished:
    """A node came to its end: COMPLETED, FAILED or CANCELLED."""

    node: int
    status: Status
    final: bool = False  #: do not try again


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRequested:
    """The user wants these nodes, or all of them, not to run."""

    nodes: Collection[int] | None = None


Event = NodeStarted | NodeFinished | CancelRequested


@dataclass(slots=True, kw_only=True)
class Step:
    """What follows from an event."""

    ready: list[int] = field(default_factory=list[int])  #: to be run now, in this order
    retry: list[int] = field(default_factory=list[int])  #: to be run again, after their delay
    settled: list[tuple[int, Status]] = field(default_factory=list[tuple[int, Status]])
    stop: list[int] = field(default_factory=list[int])  #: running ones to be stopped
    ended: Status | None = None  #: the dispatch has come to its end


class Schedule:
    """The state of one dispatch.

    Args:
        nodes: The graph's nodes.
        finished: Nodes that had ended when an earlier engine stopped, with their status.
    """

    def __init__(self, nodes: Iterable[Node], finished: Mapping[int, Status] | None = None) -> None:
        self._nodes = {node.id: node for node in nodes}
        self.status = dict.fromkeys(self._nodes, Status.NEW_OBJECT) | {RESULT: Status.NEW_OBJECT}
        self.attempt = dict.fromkeys(self.status, 1)
        self._waits = dict.fromkeys(self.status, 0)
        self._consumers: dict[int, list[int]] = {number: [] for number in self.status}
        self._open = 0  # handed out and not ended
        self._cancelled = False
        self._ended: Status | None = None
        self._finished = dict(finished or {})
        for node in self._nodes.values():
            self._link(node.id, {*node.inputs(), *node.after, *self._ordered_by_elements(node)})
        self._link(RESULT, self._nodes)

    def _link(self, number: int, sources: Iterable[int]) -> None:
        for source in sources:
            self._consumers[source].append(number)
            self._waits[number] += 1

    def _ordered_by_elements(self, node: Node) -> Iterator[int]:
        """What a node's elements were told to wait for: they have no turn of their own."""
        for number in node.inputs():
            source = self._nodes[number]
            while source.source is not None:
                yield from source.after
                source = self._nodes[source.source]

    def start(self) -> Step:
        """What can run at once."""
        step = Step()
        for number, status in self._finished.items():
            self.status[number] = status
            if status is Status.COMPLETED:
                self._release(number, step, quiet=True)
        for number in (*self._nodes, RESULT):
            if self._waits[number] == 0 and self.status[number] is Status.NEW_OBJECT:
                self._arrive(number, self._nodes.get(number), step)
        return self._close(step)

    def apply(self, event: Event) -> Step:
        """Take note of an event; return what follows from it.

        Raises `StateError` for an event about a node that has ended, for terminal states never
        change, and about one that has not been handed out.
        """
        if isinstance(event, CancelRequested):
            return self._cancel(event.nodes)
        if not self._expects(event):
            status = self.status.get(event.node, "not in the graph")
            raise StateError(what=f"node {event.node}", status=status, event=repr(event))
        step = Step()
        if isinstance(event, NodeStarted):
            if self.status[event.node] is not Status.CANCELING:
                self.status[event.node] = Status.RUNNING
        else:
            self._finish(event, step)
        return self._close(step)

    def _expects(self, event: NodeStarted | NodeFinished) -> bool:
        status, node = self.status.get(event.node), self._nodes.get(event.node)
        if node is not None and node.kind is Kind.ELEMENT:
            return status is Status.NEW_OBJECT and isinstance(event, NodeFinished)
        return status in _HANDED_OUT

    @property
    def ended(self) -> Status | None:
        """How the dispatch ended, None while it goes on."""
        return self._ended

    # -- what happens to a node

    def _arrive(self, number: int, node: Node | None, step: Step) -> None:
        """All that the node waited for is there."""
        kind = node.kind if node else Kind.ELECTRON
        if kind is Kind.PARAMETER or kind is Kind.COLLECTION:
            self._settle(number, Status.COMPLETED, step)
            self._release(number, step)
        elif kind is not Kind.ELEMENT:  # an element ends with the electron that it is cut from
            self._hand_out(number, step)

    def _hand_out(self, number: int, step: Step) -> None:
        if self._cancelled:
            self._settle(number, Status.CANCELLED, step)
            return
        self._open += 1
        self.status[number] = Status.PENDING
        step.ready.append(number)

    def _finish(self, event: NodeFinished, step: Step) -> None:
        number, status = event.node, event.status
        node = self._nodes.get(number)
        if node is not None and node.kind is Kind.ELEMENT:
            self._settle(number, status, step)
            if status is Status.COMPLETED:
                self._release(number, step)
            return
        cancelling = self.status[number] is Status.CANCELING
        again = status is Status.FAILED and not cancelling and not event.final
        if again and node is not None and self._may_retry(node):
            self.attempt[number] += 1
            self.status[number] = Status.PENDING
            step.retry.append(number)
            return
        self._open -= 1
        self._settle(number, Status.CANCELLED if cancelling else status, step)
        if status is Status.COMPLETED and not cancelling:
            self._release(number, step)

    def _may_retry(self, node: Node) -> bool:
        return not self._cancelled and self.attempt[node.id] <= node.retries

    def _release(self, number: int, step: Step, *, quiet: bool = False) -> None:
        """Let those that waited for a completed node go on."""
        for consumer in self._consumers[number]:
            self._waits[consumer] -= 1
            ready = self._waits[consumer] == 0 and self.status[consumer] is Status.NEW_OBJECT
            if ready and not quiet:
                self._arrive(consumer, self._nodes.get(consumer), step)

    def _settle(self, number: int, status: Status, step: Step) -> None:
        self.status[number] = status
        step.settled.append((number, status))

    # -- the whole

    def _cancel(self, chosen: Collection[int] | None) -> Step:
        step = Step()
        if self._ended is not None:
            return step
        self._cancelled = self._cancelled or chosen is None
        for number in list(self.status) if chosen is None else chosen:
            status = self.status.get(number)
            if status in (Status.RUNNING, Status.PENDING):
                self.status[number] = Status.CANCELING
                step.stop.append(number)
            elif status is Status.NEW_OBJECT:
                self._settle(number, Status.CANCELLED, step)
        return self._close(step)

    def _close(self, step: Step) -> Step:
        """See whether that was the end."""
        if self._open or self._ended is not None or step.ready or step.retry:
            return step
        states = set(self.status.values())
        if self.status[RESULT] is Status.COMPLETED:
            self._ended = Status.COMPLETED
        elif self._cancelled:
            self._ended = Status.CANCELLED
        elif Status.FAILED in states:
            self._ended = Status.FAILED
        elif Status.CANCELLED in states:
            self._ended = Status.CANCELLED
        else:  # nothing can run, and nothing is wrong: rather failed than running for ever
            self._ended = Status.FAILED
        step.ended = self._ended
        return step
