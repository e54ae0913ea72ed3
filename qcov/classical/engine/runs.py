"""The dispatches that an engine runs: found, made from what is stored, and forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qcov.classical.engine import outcomes
from qcov.classical.engine.channel import Message
from qcov.classical.engine.intake import settle_environment
from qcov.classical.engine.reuse import Earlier
from qcov.classical.engine.run import Run
from qcov.classical.engine.services import Services
from qcov.classical.status import Status
from qcov.errors import EnvironmentMismatch, QcovError, StoreUnavailable
from qcov.store.changes import Changes
from qcov.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What is stored of a dispatch that has not ended."""

    row: Message
    manifest: Message
    nodes: Sequence[Message]
    earlier: Earlier | None  #: whose values it takes over


#: A dispatch's row, and all that is stored of it, or what is wrong with that.
Found = tuple[Message, Stored | Exception]


def is_held(status: str) -> bool:
    """True for the status of a dispatch that waits to be started."""
    return status == Status.NEW_OBJECT


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

    def root_of(self, dispatch_id: str) -> str:
        """The dispatch that one which is under way is a part of, or is itself."""
        run = self._runs.get(dispatch_id)
        return dispatch_id if run is None else run.root_id

    def reused(self) -> set[str]:
        """Dispatches whose values those that run take over."""
        return {run.reuses for run in self._runs.values() if run.reuses is not None}

    # -- from the store

    def read(self, row: Message) -> Stored:
        """All that is stored of a dispatch. Any thread may ask."""
        nodes = self._store.get_nodes(row["id"])
        self._store.outputs(row["id"])  # refuses what was tampered with
        manifest = self._store.manifest(row["id"])
        try:
            earlier = self.earlier(manifest)
        except StoreUnavailable:
            raise
        except QcovError:  # it is gone, or was damaged: what it had computed runs again
            earlier = None
        return Stored(row=row, manifest=manifest, nodes=nodes, earlier=earlier)

    def read_all(self, rows: Iterable[Message]) -> list[Found]:
        """All that is stored of dispatches, or what is wrong with them. Any thread may ask."""
        found: list[Found] = []
        for row in rows:
            try:
                found.append((row, self.read(row)))
            except StoreUnavailable:
                raise
            except Exception as error:  # noqa: BLE001  # it is damaged; the others are not
                found.append((row, error))
        return found

    def earlier(self, manifest: Message) -> Earlier | None:
        """What another dispatch has computed that this one takes over, or goes on to take over."""
        dispatch_id = manifest.get("reuses")
        if dispatch_id is None:
            return None
        outputs = self._store.outputs(dispatch_id)  # refuses what was tampered with
        rows = self._store.get_nodes(dispatch_id)
        return Earlier(dispatch_id, self._store.manifest(dispatch_id), rows, outputs)

    def settle(self, stored: Stored) -> None:
        """Fit a dispatch to this machine, if it may come from another one."""
        if self._store.leases is not None:
            settle_environment(stored.manifest["environment"])

    def made(self, stored: Stored, **more: Any) -> Run:
        """A dispatch as it is stored, not yet under way.

        Args:
            stored: What was read.
            more: What its manifest says besides.
        """
        manifest = stored.manifest | more
        return Run(self._services, stored.row, manifest, stored.nodes, stored.earlier)

    def go_on(self, found: Sequence[Found]) -> Mapping[str, EnvironmentMismatch]:
        """Run dispatches of an earlier engine; return the roots of those that cannot run here."""
        unfit: dict[str, EnvironmentMismatch] = {}
        damaged: dict[str, Exception] = {}
        for row, stored in found:
            try:
                self._restore(stored)
            except EnvironmentMismatch as error:
                unfit[row["root_id"]] = error
            except Exception as error:  # noqa: BLE001  # as above
                damaged[row["id"]] = error
        for row, _ in found:
            if row["root_id"] in unfit:
                self.drop(row["id"])
        fit = [each for each in found if each[0]["root_id"] not in unfit]
        self._give_up(fit, damaged)
        self._begin([row for row, _ in fit], damaged)
        return unfit

    def _begin(self, rows: Sequence[Message], damaged: Mapping[str, Exception]) -> None:
        """Start what was restored; what has waited for something damaged goes on without it."""
        runs = [self._runs[row["id"]] for row in rows if row["id"] in self._runs]
        begun = list[tuple[Changes, Callable[[], None]]]()
        for run in runs:
            changes: Changes = {}
            begun.append((changes, run.start(changes)))
        for row in rows:
            parent = self._runs.get(row["parent_id"])
            if row["id"] in damaged and parent is not None:  # before it is built once more
                parent.child_lost(row["parent_node"], damaged[row["id"]])
        for changes, follows in begun:
            self._services.commit(changes, follows)
        for run in runs:
            run.cancel_again()

    def _give_up(self, found: Iterable[Found], damaged: Mapping[str, Exception]) -> None:
        """End what is damaged, and the sublattices that it alone has waited for."""
        gone = set[str]()
        for row, stored in found:  # a sublattice comes after what waits for it
            number, parent = row["id"], row["parent_id"]
            if number in damaged:
                status, reason = Status.FAILED, outcomes.told(damaged[number])
            elif parent in gone:
                status, reason = Status.CANCELLED, f"Dispatch {parent}, which waits for it, ended."
            else:
                continue
            gone.add(number)
            nodes = stored.nodes if isinstance(stored, Stored) else self._store.get_nodes(number)
            self._store.put(outcomes.given_up(number, nodes, status, reason))
            self.drop(number)

    def _restore(self, stored: Stored | Exception) -> None:
        if isinstance(stored, Exception):
            raise stored
        self.settle(stored)
        run = self.made(stored)
        if self._store.leases is None:  # else they are read when they are needed
            for digest, data in self._store.inline_blobs(run.known_inputs()):
                self._services.keep_blob(digest, data)
        self.add(run)
