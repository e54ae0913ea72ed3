"""What a run needs of its engine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Protocol

from qcov.classical.engine.channel import Message
from qcov.classical.engine.reuse import Known
from qcov.classical.engine.spawn import Environment
from qcov.classical.engine.tasks import Task
from qcov.classical.status import Status
from qcov.store.changes import Changes

if TYPE_CHECKING:
    from qcov.classical.engine.run import Run


class Services(Protocol):
    """What a run needs of its engine."""

    @property
    def traces(self) -> bool:
        """Whether spans of dispatches are sent."""
        ...

    def dask_runs(self) -> bool:
        """Whether electrons that name no executor run on a Dask cluster now."""
        ...

    @property
    def has_dask(self) -> bool:
        """Whether a Dask cluster of the engine's own is there, or comes up."""
        ...

    def commit(self, changes: Changes, then: Callable[[], None] | None = None) -> None:
        """Write `changes`, then call `then`."""
        ...

    def seal(self, digest: str, *place: object) -> str:
        """Bind a blob to a place in the store."""
        ...

    def blobs(self, digests: Collection[str], then: Callable[[Mapping[str, bytes]], None]) -> None:
        """Call `then` with those of the blobs that are small: the others are in files."""
        ...

    def keep_blob(self, digest: str, data: bytes | None) -> None:
        """Remember a blob that will be needed soon."""
        ...

    def remembered(
        self, keys: Collection[str], then: Callable[[Mapping[str, Known]], None]
    ) -> None:
        """Call `then` with the values that were kept for equal electrons, by key."""
        ...

    def submit_task(self, task: Task) -> None:
        """Hand an electron to the workers."""
        ...

    def stop_task(self, key: tuple[str, int, int]) -> bool:
        """Stop an electron; False if the workers do not have it."""
        ...

    def cancel_jobs(
        self, dispatch_id: str, nodes: Collection[int], environment: Environment
    ) -> None:
        """Cancel what electrons have at providers of quantum computers."""
        ...

    def start_child(
        self, run: Run, node: int, manifest: Message, began: float, changes: Changes
    ) -> None:
        """Store a sublattice, then start it."""
        ...

    def child_of(self, run: Run, node: int) -> Run | None:
        """The sublattice that a node has started."""
        ...

    def parent_of(self, run: Run) -> Run | None:
        """The run that waits for this one."""
        ...

    def note_started(self, run: Run, node: int, attempt: int) -> None:
        """A node has begun."""
        ...

    def note_ended(self, run: Run, node: int) -> None:
        """A node has ended."""
        ...

    def announce(self, run: Run, node: int | None, status: Status) -> None:
        """Tell whoever watches."""
        ...

    def run_ended(self, run: Run) -> None:
        """The dispatch has come to its end."""
        ...
