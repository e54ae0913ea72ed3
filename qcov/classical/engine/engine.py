"""The engine: it takes dispatches, runs them, and answers for them."""

from __future__ import annotations

import asyncio

from qcov.classical.engine.cancelling import Cancelling
from qcov.classical.engine.channel import Message
from qcov.classical.engine.deleting import Deleting
from qcov.classical.engine.exporting import Exporting
from qcov.classical.engine.following import Following
from qcov.classical.engine.printing import Printing
from qcov.classical.engine.runner import Runner
from qcov.classical.engine.starting import Starting
from qcov.classical.engine.tracing import Tracer
from qcov.store.store import Store


class Engine:
    """The verbs that clients know, over what runs the dispatches of one store.

    `submit`, `start` and `rerun` are those of `Starting`; `wait`, `outcome` and `progress` those of
    `Following`; `cancel` is that of `Cancelling`, `delete` that of `Deleting`, `export` that of
    `Exporting`, `streams` that of `Printing`.

    Args:
        store: Where they live.
        workers: How many electrons run at a time.
        tracer: What sends spans of them.
    """

    def __init__(self, store: Store, *, workers: int, tracer: Tracer | None = None) -> None:
        self._runner = runner = Runner(store, workers=workers, tracer=tracer)
        self.store, self.read = store, runner.read
        self.breakers = runner.breakers
        self.triggers, self.pruner, self.events = runner.triggers, runner.pruner, runner.events
        self._starting = starting = Starting(runner)
        self.submit, self.start, self.rerun = starting.submit, starting.start, starting.rerun
        self.stop_triggers = starting.stop_triggers
        following = Following(runner)
        self.wait, self.outcome = following.wait, following.outcome
        self.progress = following.progress
        self._deleting = Deleting(runner)
        self.cancel, self.delete = Cancelling(runner).cancel, self._deleting.delete
        self.export = Exporting(store).export
        self.streams = Printing(runner).streams
        self.use_dask, self.look_at_dask = runner.use_dask, runner.look_at_dask
        self.on_dask = runner.on_dask
        self.cluster = _no_cluster  #: how its Dask cluster is, and the workers of that
        self.inside, self.recover = runner.inside, runner.recover

    def close(self) -> None:
        """Stop the workers; what ran will run again when the store is next opened."""
        self._deleting.close()
        self._runner.close()

    def take_dispatches(self, *, taken: bool) -> None:
        """Take dispatches, or only have triggers from now on."""
        self._starting.takes_dispatches = taken

    @property
    def busy(self) -> bool:
        """True while dispatches run."""
        return self._runner.busy

    @property
    def broken(self) -> asyncio.Future[None]:
        """Fails when an outcome could not be stored: this engine must not go on."""
        return self._runner.commits.broken


async def _no_cluster() -> Message:
    return {"status": "none"}
