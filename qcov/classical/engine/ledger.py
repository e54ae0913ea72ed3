"""What is written of a run: the rows of what became of its nodes, and of its end."""

from __future__ import annotations

from collections.abc import Mapping

from qcov.classical.engine import outcomes
from qcov.classical.engine.channel import Message
from qcov.classical.engine.reuse import Values
from qcov.classical.graph import Node
from qcov.classical.status import Status
from qcov.store.changes import Changes


class Ledger:
    """Adds the rows of one dispatch to what is committed, and remembers what failed.

    Args:
        dispatch_id: The dispatch.
        nodes: Its nodes by number.
        values: Where nodes have their values from, if they did not run.
        seal: The store's seal.
    """

    def __init__(
        self,
        dispatch_id: str,
        nodes: Mapping[int, Node],
        values: Values,
        seal: outcomes.Seal,
    ) -> None:
        self._id, self._nodes, self._values, self._seal = dispatch_id, nodes, values, seal
        self._failures: dict[int, tuple[str, str]] = {}  #: by node: its name, what went wrong
        self.error: str | None = None  #: why the dispatch failed, once it has

    def failed(self, number: int, name: str, error: str) -> None:
        """Take note of a failure, by which the dispatch will fail."""
        self._failures[number] = name, error

    def error_of(self, number: int) -> str | None:
        """Why a node has failed, if it has."""
        return self._failures.get(number, (None, None))[1]

    def settled(
        self,
        changes: Changes,
        number: int,
        status: Status,
        attempt: int,
        report: Message | None,
        *,
        as_keyed: bool,
    ) -> None:
        """A node has ended.

        Args:
            changes: What is to be committed.
            number: The node.
            status: As what it has ended.
            attempt: How often it was tried.
            report: What came of it; None if it did not run.
            as_keyed: Whether its value may be kept for others under its key.
        """
        row = outcomes.key_of(self._id, number, attempt)
        if report is None:
            outcomes.add(changes, "node_status", row | {"new_status": status.value})
            return
        if status is Status.CANCELLED:
            report = {**report, "error": None}
        row |= outcomes.finished(status, report, self._seal, (self._id, number))
        row["new_reused_from"] = self._values.origin(number)
        key = self._values.key_to_keep(number)
        if key is not None and status is Status.COMPLETED and as_keyed:
            outcomes.add(changes, "memo", outcomes.kept(key, report, self._seal, self._id))
        outcomes.add(changes, "node_finished", row)
        if status is Status.FAILED:
            self.failed(number, self._nodes[number].name, str(report["error"]))

    def requeued(self, changes: Changes, number: int, attempt: int, report: Message) -> None:
        """A node failed, and waits for its try number `attempt`."""
        outcomes.add(changes, "node_attempt", outcomes.tried(self._id, number, attempt - 1, report))
        row = outcomes.key_of(self._id, number, attempt - 1)
        row |= {"new_status": "PENDING", "new_attempt": attempt}
        outcomes.add(changes, "node_requeued", row | outcomes.retried(report))

    def cancelling(self, changes: Changes, number: int, attempt: int) -> None:
        """A node that runs is to be stopped."""
        row = outcomes.key_of(self._id, number, attempt)
        outcomes.add(changes, "node_status", row | {"new_status": "CANCELING"})

    def ended(self, changes: Changes, status: Status, result: Message) -> None:
        """The dispatch has ended, with this result if it has completed."""
        if status is Status.FAILED:
            self.error = outcomes.dispatch_error(
                [(number, *why) for number, why in self._failures.items()]
            )
        digest = result.get("output") if status is Status.COMPLETED else None
        row = {
            "of_dispatch": self._id,
            "new_status": status.value,
            "new_ended": outcomes.now(),
            "new_error": self.error,
            "new_result": digest,
            "new_result_seal": None if digest is None else self._seal(digest, self._id, "result"),
            "new_result_repr": result.get("repr"),
        }
        outcomes.add(changes, "dispatch_ended", row)
