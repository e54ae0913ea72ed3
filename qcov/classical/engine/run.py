"""One dispatch as it runs: between the schedule, the workers and the store.

Whatever happens is first applied to the schedule, then committed, and only then acted upon: nobody
hears of an outcome, and no electron starts because of it, before it is on disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from qcov.classical.engine import outcomes
from qcov.classical.engine.bundles import Bundles
from qcov.classical.engine.channel import Message
from qcov.classical.engine.gone import Gone
from qcov.classical.engine.launching import Launcher
from qcov.classical.engine.ledger import Ledger
from qcov.classical.engine.reuse import Earlier, Known, Values, keys_of
from qcov.classical.engine.schedule import (
    RESULT,
    CancelRequested,
    NodeFinished,
    NodeStarted,
    Schedule,
    Step,
)
from qcov.classical.engine.services import Services
from qcov.classical.engine.spawn import Environment
from qcov.classical.engine.tasks import Task
from qcov.classical.graph import Node, check_acyclic, parse_nodes
from qcov.classical.status import Status
from qcov.errors import DispatchFailed, NodeNotFound, QcovError, StateError, TimeLimitExceeded
from qcov.store.changes import Changes
from qcov.tracing import SpanId, span_of, trace_of

#: What came of nodes, by number.
_Details = dict[int, Message]


class Run:
    """A dispatch that has not ended yet, or has just ended.

    Args:
        services: The engine.
        row: The dispatch's row.
        manifest: Its graph.
        rows: Its nodes' rows, as an earlier engine left them.
        earlier: A dispatch whose values it takes over.
    """

    def __init__(
        self,
        services: Services,
        row: Mapping[str, Any],
        manifest: Message,
        rows: Sequence[Mapping[str, Any]] = (),
        earlier: Earlier | None = None,
    ) -> None:
        self.id: str = row["id"]
        self.parent_id: str | None = row["parent_id"]
        self.parent_node: int | None = row["parent_node"]
        self.root_id: str = row["root_id"]
        self.environment: Message = manifest["environment"]
        self.variables: Message = manifest.get("variables", {})
        self._environment = Environment.from_json(self.environment, self.variables)
        self.status = Status(row["status"])
        self.reuses: str | None = manifest.get("reuses")  #: whose values it takes over
        self.verdict: QcovError | None = None  #: why it was stopped, if not by the user
        self.result: Message = {}  #: where the result is, once it is there
        self.done: asyncio.Future[Status] = asyncio.get_running_loop().create_future()
        self.lost = False  #: whether another engine has taken it over
        self._services = services
        self._manifest = manifest
        traceparent = manifest.get("traceparent")
        traces = services.traces or traceparent is not None
        self._trace = trace_of(traceparent, self.id) if traces else None
        nodes = parse_nodes(manifest)
        check_acyclic(nodes)
        self._nodes = {node.id: node for node in nodes}
        self._bundles = Bundles(self._nodes, manifest)
        self._outputs = self._bundles.outputs
        self._values = Values(self.id, self._bundles, earlier)
        self._bundles.keys |= keys_of(rows)
        self._ledger = Ledger(self.id, self._nodes, self._values, services.seal)
        self._began: dict[int, float] = {}  # sublattices that an earlier engine has started
        self._text: str | None = None  # the repr of the node that is the result
        self._needed: list[Node] = []
        #: Whether all that it has computed is what its keys say, as far as this engine has seen.
        self.as_keyed = not any(row["started"] is not None for row in rows)
        self._cancelling = [row["node_id"] for row in rows if row["status"] == "CANCELING"]
        self._schedule = Schedule(self._nodes.values(), self._restore(rows))
        for left in rows:
            self._schedule.attempt[left["node_id"]] = left["attempt"]
        self._launcher = Launcher(
            self.id,
            owner=self,
            services=services,
            bundles=self._bundles,
            schedule=self._schedule,
            environment=self._environment,
        )

    def _restore(self, rows: Iterable[Mapping[str, Any]]) -> dict[int, Status]:
        """Take over what an earlier engine has finished."""
        over = dict.fromkeys(self._outputs, Status.COMPLETED)
        for row in rows:
            status, number = Status(row["status"]), row["node_id"]
            if status.terminal:
                over[number] = status
            if row["sub_dispatch_id"] is not None:
                self._began[number] = row["started"]
            if row["output"] is not None:
                self._outputs[number] = row["output"]
            if status is Status.FAILED:
                self._ledger.failed(number, row["name"], row["error"])
            if self._manifest["result"] == {"node": number}:
                self._text = row["value_repr"]
        return over

    @property
    def keyed(self) -> int:
        """Since when code may be newer than its keys, in nanoseconds since the epoch."""
        return self._bundles.keyed

    @property
    def error(self) -> str | None:
        """Why it failed, once it has."""
        return self._ledger.error

    # -- what the engine asks

    def start(self, changes: Changes) -> Callable[[], None]:
        """Begin, or go on after a restart; returns what follows once `changes` are on disk."""
        step = self._schedule.start()
        if self.status not in (Status.NEW_OBJECT, Status.PENDING):
            return self._prepare(step, changes, {})
        self.status = Status.RUNNING
        row = {"of_dispatch": self.id, "new_status": "RUNNING", "new_started": outcomes.now()}
        outcomes.add(changes, "dispatch_started", row)
        return self._telling(Status.RUNNING, self._prepare(step, changes, {}))

    def cancel(
        self, changes: Changes, nodes: Iterable[int] | None = None
    ) -> tuple[Callable[[], None], set[int]]:
        """Stop what runs, and do not start what waits.

        Returns what follows once `changes` are on disk, and the nodes that it is about. Raises
        `NodeNotFound` for a node that the graph does not have.
        """
        chosen = None if nodes is None else frozenset(nodes)
        for number in chosen or ():
            if number not in self._nodes:
                raise NodeNotFound(dispatch_id=self.id, node_id=number)
        step = self._schedule.apply(CancelRequested(nodes=chosen))
        stopped = {*step.stop, *(number for number, _ in step.settled)}
        self._services.cancel_jobs(self.id, step.stop, self._environment)
        if chosen is None and step.ended is None and not self.status.terminal:
            self.status = Status.CANCELING
            row = {"of_dispatch": self.id, "new_status": "CANCELING"}
            outcomes.add(changes, "dispatch_status", row)
            return self._telling(Status.CANCELING, self._prepare(step, changes, {})), stopped
        return self._prepare(step, changes, {}), stopped

    def stop(self, nodes: Iterable[int] | None = None) -> None:
        """Cancel, without anybody who waits for it."""
        changes: Changes = {}
        follows, _ = self.cancel(changes, nodes)
        self._services.commit(changes, follows)

    def cancel_again(self) -> None:
        """Stop what was to be stopped when an earlier engine came to its end."""
        if self.status is Status.CANCELING:
            self.stop()
        elif self._cancelling:
            self.stop(self._cancelling)

    def known_inputs(self) -> set[str]:
        """The blobs that nodes which have not ended will need, as far as they are there."""
        left = (node for number, node in self._nodes.items() if not self._is_over(number))
        needed = {source for node in left for source in node.inputs()}
        return {self._outputs[source] for source in needed & self._outputs.keys()}

    def leave(self) -> None:
        """Stop what runs and have no more effects: another engine runs the dispatch now."""
        self.lost = True
        for number, attempt in self._schedule.attempt.items():
            self._services.stop_task((self.id, number, attempt))
        self._services = self._launcher.services = Gone()
        if not self.done.done():
            self.done.set_result(self.status)

    def traced(self, node: int) -> Message:
        """What lets a node's own traces be below its span; empty if nothing is traced."""
        if self._trace is None:
            return {}
        span = span_of(self.id, node, self.attempt_of(node))
        return {"traceparent": str(SpanId(self._trace, span))}

    def name_of(self, node: int) -> str:
        """The name of a node."""
        return self._nodes[node].name

    def error_of(self, node: int) -> str | None:
        """Why a node has failed, if it has."""
        return self._ledger.error_of(node)

    def attempt_of(self, node: int) -> int:
        """How often the node has been tried, this time included."""
        return self._schedule.attempt[node]

    def child_began(self, node: int, child: Run, since: float) -> None:
        """A sublattice is stored, and has begun; `since` is when its building began."""
        if self._schedule.status[node] in (Status.CANCELING, Status.CANCELLED):
            child.stop()
            return
        limit = self._nodes[node].time_limit
        if limit is not None:
            left = max(0.0, since + limit - outcomes.now())
            asyncio.get_running_loop().call_later(left, self._child_overran, node, child)

    def _child_overran(self, node: int, child: Run) -> None:
        if not child.status.terminal:
            name, limit = self._nodes[node].name, self._nodes[node].time_limit
            child.verdict = TimeLimitExceeded(electron=name, seconds=limit or 0.0)
            child.stop()

    def began(self, node: int, attempt: int, when: float, changes: Changes) -> bool:
        """Take note of a node that runs, and not for a moment only; False if it is over."""
        if self._schedule.status[node] is not Status.PENDING:
            return False
        self._schedule.apply(NodeStarted(node=node))
        self._launcher.note_place(node, attempt, changes)
        row = outcomes.key_of(self.id, node, attempt)
        outcomes.add(changes, "node_started", row | {"new_status": "RUNNING", "new_started": when})
        return True

    def need_parts(self, parts: list[Node]) -> None:
        """The parent's electrons need these elements of the result."""
        self._needed = parts

    def earlier_child(self, node: int) -> str | None:
        """The sublattice of the earlier dispatch that stood in a node's place."""
        return self._values.earlier_child(self._nodes[node])

    def reuse_nothing(self) -> None:
        """The earlier dispatch has gone: compute all that was not taken over yet."""
        self._values.forget_earlier()

    def parts_of(self, node: int) -> list[Node]:
        """The element nodes that are cut from a node, directly or through other elements."""
        return self._bundles.parts_of(node)

    # -- what the pool reports (see `pool.Owner`)

    def task_started(self, task: Task) -> None:
        """A worker has begun with a node."""
        _, node, attempt = task.key
        if node != RESULT:
            self._services.note_started(self, node, attempt)

    def task_progressed(self, task: Task, report: Message) -> None:
        """A node has printed, or run circuits."""
        node = task.key[1]
        changes: Changes = {}
        outcomes.circuit_rows(changes, self.id, node, report["circuits"])
        outcomes.add(changes, "node_printed", self._printed(task, report))
        self._services.commit(changes)

    def _printed(self, task: Task, report: Message) -> Message:
        printed = {"new_stdout": report["stdout"], "new_stderr": report["stderr"]}
        return outcomes.key_of(self.id, task.key[1], task.key[2]) | printed

    def task_ended(self, task: Task, outcome: Message) -> None:
        """A node has come to its end."""
        node = task.key[1]
        self.as_keyed = self.as_keyed and not outcome.get("newer")
        self._services.note_ended(self, node)
        changes: Changes = {}
        self._launcher.note_place(node, task.key[2], changes)
        outcomes.circuit_rows(changes, self.id, node, outcome.get("circuits", []))
        if self._is_over(node):
            return self._services.commit(changes)
        cancelled = node != RESULT and self._schedule.status[node] is Status.CANCELING
        if outcome["status"] == Status.FAILED and not cancelled and self._values.drop(node):
            return self._services.commit(changes, lambda: self._compute(node))
        if node == RESULT:
            return self._result_came(outcome, changes)
        if "manifest" in outcome:
            outcomes.add(changes, "node_printed", self._printed(task, outcome))
            began = outcome["started"]
            return self._services.start_child(self, node, outcome["manifest"], began, changes)
        return self._finish(node, outcome, changes)

    def task_died(self, task: Task, error: QcovError, printed: Message | None = None) -> None:
        """A node's process has ended before it did; what it had printed by then, if anything."""
        if not self._is_over(task.key[1]):
            report = {"status": "FAILED", "error": outcomes.told(error)}
            self.task_ended(task, report | {"ended": outcomes.now()} | (printed or {}))

    def _child_ended(self, node: int, child: Run, changes: Changes) -> tuple[Step, _Details]:
        """A sublattice ends, in the same transaction as this run's node."""
        report: Message = {"status": child.status.value, "ended": outcomes.now()}
        self.as_keyed = self.as_keyed and child.as_keyed
        if child.status is Status.COMPLETED:
            report |= child.result
        else:
            error = child.verdict or DispatchFailed(
                dispatch_id=child.id, status=child.status.value, error=child.error
            )
            report |= {"status": "FAILED", "error": outcomes.told(error)}
        return self._take_note({node: report}, changes, final=True)

    def child_lost(self, node: int, error: Exception) -> None:
        """The sublattice that a node has started cannot go on; it stands, so it is the last try."""
        report = {"status": "FAILED", "error": outcomes.told(error), "ended": outcomes.now()}
        changes: Changes = {}
        step, details = self._take_note({node: report}, changes, final=True)
        self._services.commit(changes, self._prepare(step, changes, details))

    def child_refused(self, node: int, error: QcovError) -> None:
        """The sublattice could not be stored."""
        report = {"status": "FAILED", "error": outcomes.told(error)}
        self._finish(node, report | {"ended": outcomes.now()}, {})

    # -- outcomes

    def _finish(self, node: int, report: Message, changes: Changes) -> None:
        self._services.commit(changes, self._conclude({node: report}, changes))

    def _conclude(self, reports: Mapping[int, Message], changes: Changes) -> Callable[[], None]:
        """Let electrons have ended; returns what follows once `changes` are on disk."""
        step, details = self._take_note(reports, changes)
        return self._prepare(step, changes, details)

    def _take_note(
        self, reports: Mapping[int, Message], changes: Changes, *, final: bool = False
    ) -> tuple[Step, _Details]:
        """Take note of what came of electrons, and of the parts that were cut from their values."""
        details: _Details = {}
        step = Step()
        for node, report in reports.items():
            whole = report["status"] == Status.COMPLETED
            for cut in report.get("cuts", []) if whole else ():
                status = Status.FAILED if "error" in cut else Status.COMPLETED
                part = report | dict.fromkeys(("error", "stdout", "stderr")) | cut
                self._note(cut["node"], status, part, changes, details)
                _join(step, self._apply(NodeFinished(node=cut["node"], status=status)))
            status = Status(report["status"])
            self._note(node, status, report, changes, details)
            _join(step, self._apply(NodeFinished(node=node, status=status, final=final)))
        return step, details

    def _apply(self, event: NodeFinished) -> Step:
        try:
            return self._schedule.apply(event)
        except StateError:  # it was cancelled while its outcome was under way
            return Step()

    def _note(
        self,
        node: int,
        status: Status,
        report: Message,
        changes: Changes,
        details: _Details,
    ) -> None:
        details[node] = report
        if status is Status.COMPLETED:
            self._outputs[node] = report["output"]
            if report["key"] is not None:
                self._bundles.keys[node] = report["key"]
            if "size" in report:  # else it is another node's, and stored already
                self._services.keep_blob(report["output"], report["data"])
                outcomes.add(changes, "blob", outcomes.blob_row(report))
            if self._manifest["result"] == {"node": node}:
                self._text = report["repr"]

    def _result_came(self, outcome: Message, changes: Changes) -> None:
        status = Status(outcome["status"])
        if status is Status.COMPLETED:
            outcomes.add(changes, "blob", outcomes.blob_row(outcome))
            for cut in outcome["cuts"]:
                if "error" not in cut:
                    outcomes.add(changes, "blob", outcomes.blob_row(cut))
            wanted = ("output", "key", "data", "size", "repr", "cuts")
            self.result = {name: outcome[name] for name in wanted}
        else:
            self._ledger.failed(RESULT, "the result", outcome["error"])
        self._commit(self._apply(NodeFinished(node=RESULT, status=status)), changes)

    # -- committing, then acting

    def _commit(self, step: Step, changes: Changes) -> None:
        self._services.commit(changes, self._prepare(step, changes, {}))

    def _prepare(self, step: Step, changes: Changes, details: _Details) -> Callable[[], None]:
        """Add a step's rows to `changes`; return what follows once they are on disk.

        What ends with this dispatch ends along with it: those that it is a sublattice of, one after
        the other, for there may be more of them than calls can be nested.
        """
        run, steps = self, list[tuple[Run, Step]]()
        while True:
            run._record(step, changes, details)
            steps.append((run, step))
            parent = None if step.ended is None else run._services.parent_of(run)
            if parent is None or run.parent_node is None:
                return lambda: _act_on(steps)
            step, details = parent._child_ended(run.parent_node, run, changes)
            run = parent

    def _telling(self, status: Status, follows: Callable[[], None]) -> Callable[[], None]:
        """What follows once a new status is on disk: who hears of it may read it."""

        def then() -> None:
            self._services.announce(self, None, status)
            follows()

        return then

    def _record(self, step: Step, changes: Changes, details: _Details) -> None:
        """Add a step's rows to `changes`."""
        if RESULT in step.ready and self._result_is_there():
            step.ready.remove(RESULT)
            _join(step, self._apply(NodeFinished(node=RESULT, status=Status.COMPLETED)))
        ledger, attempt = self._ledger, self._schedule.attempt
        for number, status in step.settled:
            if number != RESULT:
                report = details.get(number)
                ledger.settled(
                    changes, number, status, attempt[number], report, as_keyed=self.as_keyed
                )
        for number in step.retry:
            ledger.requeued(changes, number, attempt[number], details.get(number, {}))
        for number in step.stop:
            if number != RESULT:
                ledger.cancelling(changes, number, attempt[number])
        if step.ended is not None:
            self.status = step.ended
            ledger.ended(changes, step.ended, self.result)

    def _act(self, step: Step) -> None:
        """What was decided is on disk: let it happen."""
        for number, status in step.settled:
            if number != RESULT:
                self._services.announce(self, number, status)
        self._begin(step.ready)
        for number in step.retry:
            self._services.announce(self, number, Status.PENDING)
            delay = self._nodes[number].retry_delay
            asyncio.get_running_loop().call_later(delay, self._launch, number)
        for number in step.stop:
            self._stop(number)
        if step.ended is not None:
            self._services.announce(self, None, step.ended)
            self._services.run_ended(self)
            if not self.done.done():
                self.done.set_result(step.ended)

    def _stop(self, number: int) -> None:
        child = self._services.child_of(self, number)
        if child is not None:
            child.stop()
            return
        held = self._services.stop_task((self.id, number, self._schedule.attempt[number]))
        if not held and not self._is_over(number):  # between two tries
            self._finish(number, {"status": "CANCELLED", "ended": outcomes.now()}, {})

    def _is_over(self, number: int) -> bool:
        return self._schedule.status[number].terminal

    # -- starting

    def _begin(self, numbers: Sequence[int]) -> None:
        """Run nodes, or let them have values that are known, once it is known which are."""
        known, asked = self._values.find(self._functions(numbers))
        if not asked:
            return self._run_others(numbers, known)
        return self._services.remembered(
            set(asked.values()),
            lambda kept: self._run_others(numbers, known | self._values.remember(asked, kept)),
        )

    def _run_others(self, numbers: Sequence[int], known: Mapping[int, Known]) -> None:
        for number in numbers:
            if number not in known:
                self._launch(number)
        self._take_over(known)

    def _launch(self, number: int) -> None:
        if self._schedule.status[number] is not Status.PENDING:
            return None  # cancelled in the meantime
        if number == RESULT:
            return self._launcher.put_together(self._needed, self.parent_node)
        child = self._services.child_of(self, number)
        if child is not None:  # built before a restart: go on with the child that stands
            child.need_parts(self.parts_of(number))
            return self.child_began(number, child, self._began[number])
        return self._compute(number)

    def _compute(self, number: int) -> None:
        if not self._is_over(number):
            self._launcher.run(self._nodes[number], self.traced(number))

    def _functions(self, numbers: Iterable[int]) -> Iterator[Node]:
        """Those of the nodes that have no child yet, and have not been cancelled meanwhile."""
        for number in numbers:
            pending = self._schedule.status[number] is Status.PENDING
            if number != RESULT and pending and self._services.child_of(self, number) is None:
                yield self._nodes[number]

    def _take_over(self, known: Mapping[int, Known]) -> None:
        """Let electrons have values that are known; a worker cuts the parts of them."""
        now, reports = outcomes.now(), dict[int, Message]()
        for number, value in known.items():
            if self._is_over(number):  # cancelled in the meantime
                continue
            if self.parts_of(number):
                self._launcher.cut_parts(self._nodes[number], value.output)
            else:
                report = {"status": "COMPLETED", "output": value.output, "key": value.key}
                reports[number] = report | {"repr": value.text, "started": now, "ended": now}
        if reports:
            changes: Changes = {}
            self._services.commit(changes, self._conclude(reports, changes))

    def _result_is_there(self) -> bool:
        """True if the result is an electron's value as it stands: nothing to put together."""
        source = self._manifest["result"].get("node")
        if source not in self._outputs or self._needed:
            return False
        outcome = {"status": "COMPLETED", "output": self._outputs[source], "data": None}
        outcome["key"] = self._bundles.keys.get(source)
        self.result = outcome | {"repr": self._text, "cuts": []}
        return True


def _act_on(steps: Iterable[tuple[Run, Step]]) -> None:
    for run, step in steps:
        run._act(step)  # pyright: ignore[reportPrivateUsage]


def _join(step: Step, more: Step) -> None:
    step.ready += more.ready
    step.retry += more.retry
    step.settled += more.settled
    step.stop += more.stop
    step.ended = step.ended or more.ended
