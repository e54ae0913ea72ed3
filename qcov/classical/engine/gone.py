"""What a run has of its engine once another engine has taken it over: nothing has effects."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING

from qcov.classical.engine.channel import Message
from qcov.classical.engine.reuse import Known
from qcov.classical.engine.spawn import Environment
from qcov.classical.engine.tasks import Task
from qcov.classical.status import Status
from qcov.store.changes import Changes

if TYPE_CHECKING:
    from qcov.classical.engine.run import Run


class Gone:
    """Services (see `services`) without an engine behind them."""

    traces = False  #: No spans are sent.

    def commit(self, changes: Changes, then: Callable[[], None] | None = None) -> None:
        """Nothing is written."""

    def seal(self, digest: str, *place: object) -> str:  # noqa: ARG002
        """Nothing will be written."""
        return ""

    def blobs(self, digests: Collection[str], then: Callable[[Mapping[str, bytes]], None]) -> None:
        """Nobody needs them."""

    def keep_blob(self, digest: str, data: bytes | None) -> None:
        """Nobody needs it."""

    def remembered(
        self, keys: Collection[str], then: Callable[[Mapping[str, Known]], None]
    ) -> None:
        """Nothing is taken over."""

    def submit_task(self, task: Task) -> None:
        """Nothing starts."""

    @property
    def has_dask(self) -> bool:
        """Nothing runs any more."""
        return False

    def dask_runs(self) -> bool:
        """Nothing runs anywhere."""
        return False

    def stop_task(self, key: tuple[str, int, int]) -> bool:  # noqa: ARG002
        """All tasks have been stopped."""
        return True

    def cancel_jobs(
        self, dispatch_id: str, nodes: Collection[int], environment: Environment
    ) -> None:
        """They are the other engine's."""

    def start_child(
        self, run: Run, node: int, manifest: Message, began: float, changes: Changes
    ) -> None:
        """Nothing starts."""

    def child_of(self, run: Run, node: int) -> Run | None:
        """Its children have gone as well."""

    def parent_of(self, run: Run) -> Run | None:
        """Its parent has gone as well."""

    def note_started(self, run: Run, node: int, attempt: int) -> None:
        """Nobody is told."""

    def note_ended(self, run: Run, node: int) -> None:
        """Nobody is told."""

    def announce(self, run: Run, node: int | None, status: Status) -> None:
        """Nobody is told."""

    def run_ended(self, run: Run) -> None:
        """The engine has forgotten it already."""
