"""The dispatches that an engine runs: found, made from what is stored, and forgotten."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from qcov.classical.engine import outcomes
from qcov.classical.engine.channel import Message
from qcov.classical.engine.intake import settle_environment
from qcov.classical.engine.reuse import Earlier
from qcov.classical.engine.run import Run
from qcov.classical.engine.services import Services
from qcov.classical.status import Status
from qcov.errors import EnvironmentMismatch, QcovError
from qcov.store.changes import Changes
from qcov.store.store import Store


class Runs:
    """Those that have not ended, by id, and which of them are sublattices of which.

    Args:
        services: What runs need of their engine.
        store: Where they live.
    """

    def __init__(self, services: Services, store: Store) -> None:
        self._services, self._store = services, store
        self._runs: dict[str, Run] = {}
        self._children: dict[tuple[str, int], str] = {}

    def __len__(self) -> int:
        return len(self._runs)

    def __contains__(self, dispatch_id: str) -> bool:
        return dispatch_id in self._runs

    def get(self, dispatch_id: str) -> Run | None:
        """The run of this dispatch, if it is under way."""
        return self._runs.get(dispatch_id)

    def add(self, run: Run) -> None:
        """It is under way from now on."""
        self._runs[run.id] = run
        if run.parent_id is not None and run.parent_node is not None:
            self._children[run.parent_id, run.parent_node] = run.id

    def forget(self, run: Run) -> None:
        """It has ended: the store has all of it."""
        self._runs.pop(run.id, None)
        if self._store.leases is not None:
            self._store.leases.forget(run.id)
        if run.parent_id is not None and run.parent_node is not None:
            self._children.pop((run.parent_id, run.parent_node), None)

    def drop(self, dispatch_id: str) -> None:
        """Run a dispatch no more, nor its sublattices: another engine has taken it over."""
        dropped = [dispatch_id]
        for each in dropped:
            if self._store.leases is not None:
                self._store.leases.forget(each)
            # they may not even be stored
            dropped += [child for (parent, _), child in self._children.items() if parent == each]
            run = self._runs.get(each)
            if run is not None:
                self.forget(run)
                run.leave()

    def child_of(self, run: Run, node: int) -> Run | None:
        """The sublattice that a node has started, if it has."""
        return self._runs.get(self._children.get((run.id, node), ""))

    def parent_of(self, run: Run) -> Run | None:
        """The run that waits for this one."""
        return None if run.parent_id is None else self._runs.get(run.parent_id)

    def reused(self) -> set[str]:
        """Dispatches whose values those that run take over."""
        return {run.reuses for run in self._runs.values() if run.reuses is not None}

    # -- from the store

    def go_on(self, rows: Sequence[Message]) -> Collection[str]:
        """Run dispatches of an earlier engine; return the roots of those that cannot run here."""
        unfit: set[str] = set()
        for row in rows:
            if row["status"] == Status.NEW_OBJECT:  # it waits to be started
                continue
            try:
                self._restore(row)
            except EnvironmentMismatch:
                unfit.add(row["root_id"])
            except Exception as error:  # noqa: BLE001  # it is damaged; the others are not
                self._refuse(row, error)
        for row in rows:
            if row["root_id"] in unfit:
                self.drop(row["id"])
        runs = [self._runs[row["id"]] for row in rows if row["id"] in self._runs]
        for run in runs:
            changes: Changes = {}
            self._services.commit(changes, run.start(changes))
        for run in runs:
            run.cancel_again()
        return unfit

    def stored(self, row: Message, **more: Any) -> Run:
        """A dispatch as it is stored, not yet under way.

        Args:
            row: Its row.
            more: What its manifest says besides.
        """
        nodes = self._store.get_nodes(row["id"])
        self._store.outputs(row["id"])  # refuses what was tampered with
        manifest = self._store.manifest(row["id"]) | more
        if self._store.leases is not None:  # it may come from another machine
            settle_environment(manifest["environment"])
        try:
            earlier = self.earlier(manifest)
        except QcovError:  # it is gone, or was damaged: what it had computed runs again
            earlier = None
        return Run(self._services, row, manifest, nodes, earlier)

    def earlier(self, manifest: Message) -> Earlier | None:
        """What another dispatch has computed that this one takes over, or goes on to take over."""
        dispatch_id = manifest.get("reuses")
        if dispatch_id is None:
            return None
        outputs = self._store.outputs(dispatch_id)  # refuses what was tampered with
        rows = self._store.get_nodes(dispatch_id)
        return Earlier(dispatch_id, self._store.manifest(dispatch_id), rows, outputs)

    def _restore(self, row: Message) -> None:
        run = self.stored(row)
        for digest, data in self._store.inline_blobs(run.known_inputs()):
            self._services.keep_blob(digest, data)
        self.add(run)

    def _refuse(self, row: Message, error: Exception) -> None:
        """A dispatch cannot go on, nor can those that wait for it."""
        self._store.put(outcomes.dispatch_refused(row["id"], error))
        self._runs.pop(row["id"], None)
        if row["parent_id"] in self._runs:
            self._refuse(self._store.get_dispatch(row["parent_id"]), error)
