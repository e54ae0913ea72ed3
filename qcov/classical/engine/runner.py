"""What runs dispatches: a thin shell around pure parts.

`schedule` decides, `pool` runs, the store remembers. It lives in one event loop; what it does not
do is load anybody's pickles.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import uuid
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence

from qcov.classical.engine import outcomes
from qcov.classical.engine.blob_cache import BlobCache
from qcov.classical.engine.breakers import Breakers
from qcov.classical.engine.channel import Message
from qcov.classical.engine.commits import Commits
from qcov.classical.engine.environments import Environments
from qcov.classical.engine.events import Events
from qcov.classical.engine.intake import add_dispatch, understanding
from qcov.classical.engine.link import Link
from qcov.classical.engine.noticing import Noticing
from qcov.classical.engine.pool import Pool
from qcov.classical.engine.pruning import Pruner
from qcov.classical.engine.reading import Reading
from qcov.classical.engine.remote_jobs import RemoteJobs
from qcov.classical.engine.reuse import Earlier, Known
from qcov.classical.engine.run import Run
from qcov.classical.engine.runs import Runs, is_held
from qcov.classical.engine.sharing import LOOK_AGAIN, Sharing
from qcov.classical.engine.spawn import Environment, Spawner, WorkerProcess
from qcov.classical.engine.tasks import Task
from qcov.classical.engine.tracing import Tracer
from qcov.classical.engine.triggers import Triggers
from qcov.classical.status import Status
from qcov.errors import QcovError, StoreUnavailable
from qcov.headline import headline
from qcov.store.changes import Changes
from qcov.store.store import Store

_log = logging.getLogger("qcov.engine")

#: Electrons on executors of users' own that are under way at a time. They mostly wait.
_HOSTED = 64
#: What becomes of dispatches that the log has, and of nodes if it is a failure.
_LOGGED = (Status.RUNNING, Status.COMPLETED, Status.FAILED, Status.CANCELLED)
_STARTED_AFTER = 0.02  # seconds that a node runs before its beginning is told


class Runner:
    """Runs the dispatches of one store (see `services.Services`).

    Args:
        store: Where they live.
        workers: How many electrons run at a time.
        tracer: What sends spans of them.
    """

    def __init__(self, store: Store, *, workers: int, tracer: Tracer | None = None) -> None:
        self.store, self.read = store, Reading(store)
        self._tracer = tracer
        self._loop = asyncio.get_running_loop()
        cores = max(1, (os.cpu_count() or 1) // workers)
        settings = self._settings = {"payloads": store.payloads.location, "cores": cores}
        self.breakers = Breakers()
        trouble = self.breakers.note
        self._pool = Pool(size=workers, settings=settings, on_trouble=trouble)
        self._hosts = Pool(size=_HOSTED, settings=settings, on_trouble=trouble)
        self._environments = Environments(store.folder / "environments")
        self._remote_jobs = RemoteJobs()
        self.blobs_used = BlobCache(store.inline_blob)
        self.events = Events()
        self.runs = Runs(self, store)
        self.triggers = Triggers(self, settings)
        self.pruner = Pruner(self, self._environments)
        self.sharing = None if store.leases is None else Sharing(self, self.runs, store)
        spoilt = None if self.sharing is None else self.sharing.spoilt
        self.commits = Commits(store, self._note, self.runs.drop, spoilt)
        self._noticing = Noticing(self.events, self.runs.root_of, self.commits.after)
        self._dask: Pool | None = None  # in a cluster of ours
        self._dask_is_up: Callable[[], bool] = lambda: False
        self._started: dict[tuple[str, int], tuple[Run, int, float]] = {}

    def dask_runs(self) -> bool:
        """Whether electrons that name no executor run on a Dask cluster now."""
        return self._dask_is_up()

    @property
    def has_dask(self) -> bool:
        """Whether a cluster of ours is there, or comes up."""
        return self._dask is not None

    def use_dask(self, spawner: Callable[[Message], Spawner], is_up: Callable[[], bool]) -> None:
        """Have a Dask cluster, in which a spawner starts workers, whose settings that is given."""
        self._dask = Pool(
            size=0,
            settings=self._settings,
            on_trouble=self.breakers.note,
            spawner=spawner(self._settings),
            takes=is_up,
        )
        self._dask_is_up = is_up

    def look_at_dask(self) -> None:
        """The Dask cluster has come up or ended: electrons that may run here do while it is not."""
        if self._dask is not None:
            self._dask.look()

    def on_dask(self) -> list[WorkerProcess]:
        """The workers that run electrons in the Dask cluster now."""
        return [] if self._dask is None else self._dask.working()

    @property
    def _pools(self) -> list[Pool]:
        return [pool for pool in (self._pool, self._hosts, self._dask) if pool is not None]

    def recover(self) -> None:
        """Go on with what an earlier engine left; keep what it had finished."""
        if self.sharing is not None:
            return self.sharing.recover()
        rows = [row for row in self.store.unfinished() if not is_held(row["status"])]
        self.runs.go_on(self.runs.read_all(rows))
        return self.triggers.resume(self.store.active_triggers())

    @property
    def traces(self) -> bool:
        """Whether spans of dispatches are sent."""
        return self._tracer is not None

    @property
    def busy(self) -> bool:
        """True while dispatches run."""
        recovering = self.sharing is not None and self.sharing.recovering
        running = bool(self.runs) or bool(self.commits.waiting)
        return running or recovering or self.triggers.busy or self._remote_jobs.busy

    def close(self) -> None:
        """Stop the workers; what ran will run again when the store is next opened."""
        if self.sharing is not None:
            self.sharing.close()
        self.read.close()
        self._environments.close()
        self.triggers.close()
        for pool in self._pools:
            pool.close()

    # -- dispatches that do not run here

    def is_elsewhere(self, status: str) -> bool:
        """True for the status of a dispatch that another engine runs."""
        return self.sharing is not None and not Status(status).terminal

    async def held(
        self, dispatch_id: str, variables: Message | None = None, *, settle: bool = True
    ) -> Run | None:
        """A dispatch that waits to be started, as ours; None if it has been started."""
        while True:
            row = await self.read(self.store.get_dispatch, dispatch_id)
            if dispatch_id in self.runs or not is_held(row["status"]):
                return None
            stored = await self.read(self.runs.read, row)
            if settle:
                self.runs.settle(stored)
            run = self.runs.made(stored, variables=variables or {})
            leases = self.store.leases  # last: what is taken must be started
            if leases is None or await asyncio.to_thread(leases.take_held, dispatch_id):
                return run
            await asyncio.sleep(LOOK_AGAIN)  # somebody starts it just now, or fails to

    # -- what runs need

    def commit(self, changes: Changes, then: Callable[[], None] | None = None) -> None:
        """Write `changes`, then call `then`."""
        self.commits.put(changes, then)

    async def committed(self, changes: Changes) -> None:
        """Write `changes`; return when they are on disk."""
        await self.commits.made(changes)

    def _note(self, changes: Changes) -> None:
        self.pruner.note(changes)
        self._noticing.note(changes)

    def reused(self) -> set[str]:
        """Dispatches whose values those that run take over."""
        return self.runs.reused()

    def seal(self, digest: str, *place: object) -> str:
        """The store's seal."""
        return self.store.seal(digest, *place)

    def blobs(self, digests: Collection[str], then: Callable[[Mapping[str, bytes]], None]) -> None:
        """Call `then` with those of the blobs that are small: workers read the others' files."""
        missing = [] if self.sharing is None else self.blobs_used.missing(digests)
        known = {digest: self.blobs_used.get(digest) for digest in digests if digest not in missing}
        if not missing:
            return then(_small(known))

        def came(found: Mapping[str, bytes | None]) -> None:
            for digest, data in found.items():
                self.blobs_used.keep(digest, data)
            then(_small({**known, **found}))

        def refused(_: QcovError) -> None:  # the worker will say what it misses
            then(_small(known))

        return self.read.then(
            lambda: dict(self.store.inline_blobs(missing)), follows=came, refused=refused
        )

    def keep_blob(self, digest: str, data: bytes | None) -> None:
        """Remember a blob that will be needed soon; None says that it is in a file."""
        self.blobs_used.keep(digest, data)

    def keep_blobs(self, manifest: Message) -> None:
        """Remember those that come with a graph."""
        for digest, data in manifest["blobs"].items():
            self.blobs_used.keep(digest, data)

    def remembered(
        self, keys: Collection[str], then: Callable[[Mapping[str, Known]], None]
    ) -> None:
        """Call `then` with the values that were kept for equal electrons, by key."""

        def came(rows: Sequence[Message]) -> None:
            self.pruner.keep(row["output"] for row in rows)
            then(
                {
                    row["key"]: Known(
                        output=row["output"],
                        key=row["output_key"],
                        text=row["value_repr"],
                        dispatch_id=row["dispatch_id"],
                    )
                    for row in rows
                }
            )

        def refused(_: QcovError) -> None:  # then they are computed
            then({})

        self.read.then(lambda: list(self.store.remembered(keys)), follows=came, refused=refused)

    @contextlib.contextmanager
    def inside(self, electron: tuple[str, int] | None) -> Generator[None, None, None]:
        """While an electron waits for something, another one takes its place."""
        if electron is None:
            yield
            return
        with contextlib.ExitStack() as blocked:
            for pool in self._pools:
                blocked.enter_context(pool.blocked(*electron))
            yield

    def running(self, dispatch_id: str, node_id: int) -> Link | None:
        """The worker that runs this electron now, if one does."""
        found = (pool.running(dispatch_id, node_id) for pool in self._pools)
        return next((link for link in found if link is not None), None)

    def submit_task(self, task: Task) -> None:
        """Hand an electron to the workers, once the packages that it needs are there."""
        pool = self._hosts if task.hosted else self._pool
        if task.on_dask and self._dask is not None:
            pool = self._dask
        if task.packages:
            self._environments.provide(task, pool.submit)
        else:
            pool.submit(task)

    def stop_task(self, key: tuple[str, int, int]) -> bool:
        """Stop an electron; False if the workers do not have it."""
        self._environments.drop(key)
        return any(pool.stop(key) for pool in self._pools)

    def cancel_jobs(
        self, dispatch_id: str, nodes: Collection[int], environment: Environment
    ) -> None:
        """Cancel what electrons have at providers of quantum computers."""
        self._remote_jobs.cancel(dispatch_id, nodes, environment)

    def start_child(
        self, run: Run, node: int, manifest: Message, began: float, changes: Changes
    ) -> None:
        """Store a sublattice and its link to the parent in one transaction, then start it."""
        manifest["environment"] = run.environment
        manifest["variables"] = run.variables
        manifest["keyed"] = min(manifest["keyed"], run.keyed)  # its values are the parent's too
        manifest["reuses"] = run.earlier_child(node)

        def start(earlier: Earlier | None) -> None:
            if not run.lost:
                self._start_child(run, node, manifest, changes, began=began, earlier=earlier)

        def refused(error: QcovError) -> None:
            if isinstance(error, StoreUnavailable):
                run.child_refused(node, error)
            else:  # the earlier one is gone, or damaged: it is computed
                start(None)

        if manifest["reuses"] is None:
            return start(None)
        return self.read.then(self.runs.earlier, manifest, follows=start, refused=refused)

    def _start_child(
        self,
        run: Run,
        node: int,
        manifest: Message,
        changes: Changes,
        *,
        began: float,
        earlier: Earlier | None,
    ) -> None:
        child_id = str(uuid.uuid4())
        try:
            with understanding():
                manifest |= run.traced(node)
                row = add_dispatch(changes, self.store, manifest, child_id, (run, node))
                child = Run(self, row, manifest, earlier=earlier)
        except QcovError as error:
            return run.child_refused(node, error)
        link = {"new_sub_dispatch_id": child_id, "new_started": began}
        attempt = run.attempt_of(node)
        outcomes.add(changes, "node_child", outcomes.key_of(run.id, node, attempt) | link)
        # It is built sooner than its beginning would be told of, and runs until the child ends.
        is_news = run.began(node, attempt, began, changes)
        self.runs.add(child)
        self.keep_blobs(manifest)
        child.need_parts(run.parts_of(node))
        follows = child.start(changes)

        def begin() -> None:
            follows()
            if is_news:
                self.announce(run, node, Status.RUNNING)
            run.child_began(node, child, began)

        return self.commit(changes, begin)

    def child_of(self, run: Run, node: int) -> Run | None:
        """The sublattice that a node has started, if it has."""
        return self.runs.child_of(run, node)

    def parent_of(self, run: Run) -> Run | None:
        """The run that waits for this one."""
        return self.runs.parent_of(run)

    def note_started(self, run: Run, node: int, attempt: int) -> None:
        """A node has begun. Most end so soon that nobody needs to hear of their beginning."""
        self._started[run.id, node] = (run, attempt, outcomes.now())
        if len(self._started) == 1:
            self._loop.call_later(_STARTED_AFTER, self._tell_started)

    def note_ended(self, run: Run, node: int) -> None:
        """A node has ended."""
        self._started.pop((run.id, node), None)

    def _tell_started(self) -> None:
        noted, self._started = self._started, {}
        of_runs: dict[Run, list[tuple[int, int, float]]] = {}
        for (_, node), (run, attempt, when) in noted.items():
            of_runs.setdefault(run, []).append((node, attempt, when))
        for run, nodes in of_runs.items():
            self._tell_begun(run, nodes)

    def _tell_begun(self, run: Run, nodes: Iterable[tuple[int, int, float]]) -> None:
        changes: Changes = {}
        begun = [node for node, attempt, when in nodes if run.began(node, attempt, when, changes)]

        def tell() -> None:
            for node in begun:
                self.announce(run, node, Status.RUNNING)

        if begun:
            self.commit(changes, tell)

    def announce(self, run: Run, node: int | None, status: Status) -> None:
        """Tell whoever watches, and the log."""
        self.events.announce(run.id, run.root_id, node, status)
        if self._tracer is not None:
            self._tracer.note(run.id, node, status)
        if status in _LOGGED and (node is None or status is Status.FAILED):
            what = "the dispatch" if node is None else f"node {node} ({run.name_of(node)})"
            level = logging.WARNING if status is Status.FAILED else logging.INFO
            whose = {"dispatch": run.id, "node": node}
            why = headline(run.error if node is None else run.error_of(node))
            told = f"{status.value}: {why}" if why else status.value
            _log.log(level, "%s is %s", what, told, extra=whose)

    def run_ended(self, run: Run) -> None:
        """Forget a run: the store has all of it."""
        self.runs.forget(run)


def _small(blobs: Mapping[str, bytes | None]) -> dict[str, bytes]:
    return {digest: data for digest, data in blobs.items() if data is not None}
