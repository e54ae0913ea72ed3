"""The engine: it takes dispatches, runs them, and answers for them.

A thin shell around pure parts: `schedule` decides, `pool` runs, the store remembers. It lives in
one event loop; what it does not do is load anybody's pickles.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import uuid
from collections.abc import (
    Callable,
    Collection,
    Coroutine,
    Generator,
    Iterable,
    Mapping,
    Sequence,
)
from typing import Any

from qcov.classical.engine import outcomes
from qcov.classical.engine.blob_cache import BlobCache
from qcov.classical.engine.channel import Message
from qcov.classical.engine.commits import Commits
from qcov.classical.engine.environments import Environments
from qcov.classical.engine.events import Events
from qcov.classical.engine.intake import add_dispatch, settle_environment, understanding
from qcov.classical.engine.pool import Pool
from qcov.classical.engine.pruning import Pruner
from qcov.classical.engine.reading import Reading
from qcov.classical.engine.reuse import Earlier, Known
from qcov.classical.engine.run import Run
from qcov.classical.engine.runs import Runs
from qcov.classical.engine.sharing import LOOK_AGAIN, Sharing
from qcov.classical.engine.tasks import Task
from qcov.classical.engine.triggers import Triggers
from qcov.classical.status import Status
from qcov.errors import (
    EngineError,
    IntegrityError,
    KeyTaken,
    NodeNotFound,
    QcovError,
    StoreError,
    StoreUnavailable,
    WrongSetting,
)
from qcov.store.blobs import INLINE_LIMIT, spill
from qcov.store.changes import Changes
from qcov.store.store import Store

_ALL_OF_IT = "left out, to cancel all of a dispatch that was only stored"
_SAME_REQUEST = ("name", "fingerprint")  # what two dispatches with one key must share
#: Electrons on executors of users' own that are under way at a time. They mostly wait.
_HOSTED = 64
_STARTED_AFTER = 0.02  # seconds that a node runs before its beginning is told


class Engine:
    """Runs the dispatches of one store.

    Args:
        store: Where they live.
        workers: How many electrons run at a time.
    """

    def __init__(self, store: Store, *, workers: int) -> None:
        self.store, self.read = store, Reading(store)
        self._loop = asyncio.get_running_loop()
        cores = max(1, (os.cpu_count() or 1) // workers)
        settings = {"payloads": store.payloads.location, "cores": cores}
        self._pool = Pool(size=workers, settings=settings)
        self._hosts = Pool(size=_HOSTED, settings=settings)
        self._environments = Environments(store.folder / "environments")
        self.triggers = Triggers(self, settings)
        self.pruner = Pruner(self, self._environments)
        self.takes_dispatches = True  #: false for one that only has triggers
        self._runs = Runs(self, store)
        self._submitting: dict[str, asyncio.Task[str]] = {}  # by key or id
        self._cancelling: set[asyncio.Task[str]] = set()
        self._blobs = BlobCache(store.inline_blob)
        self.events = Events()
        self._sharing = None if store.leases is None else Sharing(self, self._runs, store)
        spoilt = None if self._sharing is None else self._sharing.spoilt
        self._commits = Commits(store, self.pruner.note, self._runs.drop, spoilt)
        self._started: dict[tuple[str, int], tuple[Run, int, float]] = {}

    # -- verbs

    async def submit(self, manifest: Message, *, first: bool = False) -> str:
        """Store a dispatch and start it; return its id once it is on disk.

        The id is the client's, so that a request which is sent twice is one dispatch; the client
        may say that it is the `first` one, so that nobody need look for it. With a `key`
        in the manifest, the dispatch that has this key already is the one; unless it
        has failed or was cancelled, then a new one takes the key over.
        """
        self._check_open()
        settle_environment(manifest["environment"])
        dispatch_id = str(uuid.UUID(manifest["id"]))
        asked = manifest.get("key") or dispatch_id
        return await self._alone(asked, lambda: self._submit(manifest, dispatch_id, first))

    async def _alone(self, asked: str, doing: Callable[[], Coroutine[Any, Any, str]]) -> str:
        """Do what is asked of a dispatch once all that was asked before is done."""
        while (other := self._submitting.get(asked)) is not None:
            await asyncio.wait([other])
        task = self._loop.create_task(doing())
        self._submitting[asked] = task
        task.add_done_callback(lambda _: self._submitting.pop(asked))
        return await asyncio.shield(task)  # a client that goes away does not stop it

    async def start(self, dispatch_id: str, variables: Message) -> str:
        """Start a dispatch that was stored to be started later; return its id.

        One that has been started goes on, or has ended.
        """
        self._check_open()
        return await self._alone(dispatch_id, lambda: self._start(dispatch_id, variables))

    async def _start(
        self, dispatch_id: str, variables: Message, more: Changes | None = None
    ) -> str:
        run = await self._held(dispatch_id, variables)
        if run is not None:
            changes: Changes = dict(more or {})
            begin = run.start(changes)
            self._runs.add(run)
            await self._commits.made(changes, begin)
        elif more:  # somebody else has just started it
            await self.committed(more)
        return dispatch_id

    async def rerun(
        self, dispatch_id: str, new_id: str, variables: Message, trigger_id: str | None = None
    ) -> str:
        """Run a dispatch that was stored, or run it once more as `new_id`; return its id.

        The graph is the stored one: no code of the user's is needed for it.
        """
        self._check_open()
        new_id = str(uuid.UUID(new_id))
        return await self._alone(
            dispatch_id, lambda: self._rerun(dispatch_id, new_id, variables, trigger_id)
        )

    async def _rerun(
        self, dispatch_id: str, new_id: str, variables: Message, trigger_id: str | None
    ) -> str:
        if await self.read(self.store.has_dispatch, new_id):  # the request comes twice
            return new_id
        if _is_held(await self.read(self.store.status, dispatch_id)):
            return await self._start(dispatch_id, variables, _fired(trigger_id, dispatch_id))
        manifest = await asyncio.to_thread(self.store.manifest, dispatch_id)
        manifest |= {"id": new_id, "variables": variables, "blobs": {}}
        for name in ("key", "fingerprint", "reuses"):
            manifest.pop(name, None)
        settle_environment(manifest["environment"])
        self.pruner.keep(manifest)
        await self._store_and_start(manifest, new_id, _fired(trigger_id, new_id))
        return new_id

    def _check_open(self) -> None:
        if not self.takes_dispatches:
            raise EngineError(
                "This server only has triggers (`qcov start --triggers-only`): "
                "dispatch to another one."
            )

    async def wait(self, dispatch_id: str, timeout: float | None = None) -> str:
        """Wait until a dispatch has ended, or for `timeout` seconds; return its status."""
        until = None if timeout is None else self._loop.time() + timeout
        while True:
            run = self._runs.get(dispatch_id)
            if run is not None:
                left = None if until is None else max(0.0, until - self._loop.time())
                await asyncio.wait([run.done], timeout=left)
                if not run.lost:
                    return run.status.value
            status = await self.read.patiently(self.store.status, dispatch_id, until=until)
            over = until is not None and self._loop.time() >= until
            if over or not (_is_held(status) or self._is_elsewhere(status)):
                return status
            await self._happens(dispatch_id, until)

    def _is_elsewhere(self, status: str) -> bool:
        """True for the status of a dispatch that another engine runs."""
        return self._sharing is not None and not Status(status).terminal

    async def _happens(self, root: str, until: float | None, after: int | None = None) -> None:
        """Wait until something happens to a dispatch, maybe at another engine; or until then."""
        if self._sharing is not None:  # what others do is seen by looking
            soon = self._loop.time() + LOOK_AGAIN
            until = soon if until is None else min(soon, until)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self.events.wait_for(root, self.events.number if after is None else after)

    async def outcome(self, dispatch_id: str, until: float | None = None) -> Message:
        """A dispatch's row, and its result if it has one that is not in a file.

        A server that is away is waited for, until then by the loop's clock.
        """
        row = await self.read.patiently(self.store.get_dispatch, dispatch_id, until=until)
        result: Message | None = None
        with contextlib.suppress(IntegrityError):  # whoever reads the result will be told
            digest = self.store.checked_result(row)
            if digest is not None and self._blobs.missing([digest]):
                read = await self.read.patiently(self.store.inline_blob, digest, until=until)
                self._blobs.keep(digest, read)
            data = None if digest is None else self._blobs.get(digest)
            result = None if data is None else {"digest": digest, "data": data}
        return {"dispatch": row, "result": result}

    @contextlib.contextmanager
    def inside(self, electron: tuple[str, int] | None) -> Generator[None, None, None]:
        """While an electron waits for something, another one takes its place."""
        if electron is None:
            yield
            return
        with self._pool.blocked(*electron), self._hosts.blocked(*electron):
            yield

    async def cancel(self, dispatch_id: str, node_ids: list[int] | None = None) -> str:
        """Cancel a dispatch, or some of its nodes; say what was done, once it is on disk."""
        doing = self._loop.create_task(self._cancel(dispatch_id, node_ids))
        self._cancelling.add(doing)
        doing.add_done_callback(self._cancelling.discard)
        return await asyncio.shield(doing)  # a client that goes away does not stop it

    async def _cancel(self, dispatch_id: str, node_ids: list[int] | None) -> str:
        run, stopped_triggers = self._runs.get(dispatch_id), False
        if run is None:
            try:
                run = await self._held_to_cancel(dispatch_id, node_ids)
            except IntegrityError as error:  # it cannot be started either
                if self.store.leases is not None:
                    await asyncio.to_thread(self.store.leases.take_held, dispatch_id)
                await self.committed(outcomes.dispatch_refused(dispatch_id, error))
                return f"Dispatch {dispatch_id} is damaged, and has ended as FAILED."
            if run is not None:
                stopped_triggers = await self.triggers.stop_those_of(dispatch_id)
        if run is not None and run.status.terminal:  # its end is on its way to the disk
            await asyncio.shield(run.done)
            run = None
        if run is None:
            status = await self.read(self.store.status, dispatch_id)
            if self._is_elsewhere(status):
                assert self._sharing is not None
                await self._sharing.cancel(dispatch_id, node_ids)
                status = Status(await self.read(self.store.status, dispatch_id))
                if node_ids is not None or status is Status.CANCELLED or not status.terminal:
                    return _cancelled(dispatch_id, node_ids)
                # it has ended before the other engine came to heed it
            return f"Dispatch {dispatch_id} is already {status}."
        changes: Changes = {}
        follows, stopped = run.cancel(changes, node_ids)
        await self._commits.made(changes, follows)
        if node_ids is None:
            told = _cancelled(dispatch_id)
            return f"{told} Its triggers were stopped." if stopped_triggers else told
        over = sorted(set(node_ids) - stopped)
        told = _cancelled(dispatch_id, stopped)
        return told if not over else f"{told} {_named(over)} had ended."

    async def _held_to_cancel(self, dispatch_id: str, node_ids: list[int] | None) -> Run | None:
        """A dispatch that waits to be started, and never will be; None if it has been started."""
        if node_ids is not None and _is_held(await self.read(self.store.status, dispatch_id)):
            got = f"given for dispatch {dispatch_id}, which has not been started"
            raise WrongSetting(setting="task_ids", got=got, expected=_ALL_OF_IT)
        run = await self._held(dispatch_id, settle=False)
        if run is not None:
            self._runs.add(run)  # so that nobody starts it meanwhile
        return run

    def heed(self, dispatch_id: str, node_ids: list[int] | None) -> None:
        """Cancel what runs here, as another engine was asked to."""
        run = self._runs.get(dispatch_id)
        if run is None or run.status.terminal:  # it begins, or ends
            return
        changes: Changes = {}
        follows: Callable[[], None] | None = None
        with contextlib.suppress(NodeNotFound):  # whoever asked was told
            follows, _ = run.cancel(changes, node_ids)
        outcomes.add(changes, "cancel_heeded", {"of_dispatch": dispatch_id})
        self.commit(changes, follows)

    async def progress(
        self, dispatch_id: str, after: int = 0, timeout: float | None = None
    ) -> Message:
        """Say how far a dispatch is, once something has happened since event number `after`.

        Or after `timeout` seconds. Sublattices count too.

        Returns:
            `seq`, the number of the last event; `status`; `done` and `total`, its electrons.
        """
        until = None if timeout is None else self._loop.time() + timeout
        row = await self.read.patiently(self.store.get_dispatch, dispatch_id, until=until)
        waits = _is_held(row["status"]) or self._is_elsewhere(row["status"])
        if dispatch_id in self._runs or waits:
            await self._happens(row["root_id"], until, after)
        seen = self.events.number
        state = await self.read.at_length(self.store.progress, dispatch_id, until=until)
        return {"seq": seen, **state}

    def recover(self) -> None:
        """Go on with what an earlier engine left; keep what it had finished."""
        if self._sharing is not None:
            return self._sharing.recover()
        rows = [row for row in self.store.unfinished() if not _is_held(row["status"])]
        self._runs.go_on(self._runs.read_all(rows))
        return self.triggers.resume(self.store.active_triggers())

    async def _held(
        self, dispatch_id: str, variables: Message | None = None, *, settle: bool = True
    ) -> Run | None:
        """A dispatch that waits to be started, as ours; None if it has been started."""
        while True:
            row = await self.read(self.store.get_dispatch, dispatch_id)
            if dispatch_id in self._runs or not _is_held(row["status"]):
                return None
            stored = await self.read(self._runs.read, row)
            if settle:
                self._runs.settle(stored)
            run = self._runs.made(stored, variables=variables or {})
            leases = self.store.leases  # last: what is taken must be started
            if leases is None or await asyncio.to_thread(leases.take_held, dispatch_id):
                return run
            await asyncio.sleep(LOOK_AGAIN)  # somebody starts it just now, or fails to

    @property
    def busy(self) -> bool:
        """True while dispatches run."""
        recovering = self._sharing is not None and self._sharing.recovering
        running = bool(self._runs) or bool(self._commits.waiting)
        return running or recovering or self.triggers.busy

    def close(self) -> None:
        """Stop the workers; what ran will run again when the store is next opened."""
        if self._sharing is not None:
            self._sharing.close()
        self.read.close()
        self._environments.close()
        self.triggers.close()
        for pool in (self._pool, self._hosts):
            pool.close()

    # -- taking a dispatch

    async def _submit(self, manifest: Message, dispatch_id: str, first: bool) -> str:
        if dispatch_id in self._runs:
            return dispatch_id
        if not first and await self.read(self.store.has_dispatch, dispatch_id):
            return dispatch_id
        try:
            return await self._take_in(manifest, dispatch_id)
        except StoreUnavailable:
            raise
        except StoreError:
            if self._sharing is None or manifest.get("key") is None:
                raise
            # another engine has just given the key to a dispatch of its own
            return await self._take_in(manifest, dispatch_id)

    async def _take_in(self, manifest: Message, dispatch_id: str) -> str:
        changes: Changes = {}
        key: str | None = manifest.get("key")
        row = None if key is None else await self.read(self.store.find_key, key)
        if row is not None:
            if row["status"] not in ("FAILED", "CANCELLED"):
                earlier = await asyncio.to_thread(self.store.manifest, row["id"])
                if any(earlier.get(name) != manifest.get(name) for name in _SAME_REQUEST):
                    raise KeyTaken(key=str(key), dispatch_id=row["id"], inputs=row["inputs_repr"])
                if _is_held(row["status"]) and not manifest.get("held"):
                    return await self._start(row["id"], manifest.get("variables", {}))
                return str(row["id"])
            changes["key_released"] = [{"of_dispatch": row["id"]}]
        await self._store_and_start(manifest, dispatch_id, changes)
        return dispatch_id

    async def _store_and_start(self, manifest: Message, dispatch_id: str, changes: Changes) -> None:
        earlier = None
        if manifest.get("reuses") is not None:  # else the way to a thread and back is for nothing
            earlier = await asyncio.to_thread(self._runs.earlier, manifest)
        with understanding():
            manifest = await self._without_large(manifest)
            row = add_dispatch(changes, self.store, manifest, dispatch_id)
            run = Run(self, row, manifest, earlier=earlier)
        if manifest.get("held"):
            await self._commits.ask(changes)
            return
        begin = run.start(changes)
        self._runs.add(run)
        self._keep_blobs(manifest)
        try:
            await self._commits.ask(changes)
        except QcovError:
            self.run_ended(run)
            raise
        begin()

    async def _without_large(self, manifest: Message) -> Message:
        """The same once large blobs, which clients send over HTTP, are written: not in the loop."""
        if any(len(blob) > INLINE_LIMIT for blob in manifest["blobs"].values()):
            return await asyncio.to_thread(spill, manifest, self.store.payloads.write)
        return manifest

    # -- what runs need (see `run.Services`)

    def commit(self, changes: Changes, then: Callable[[], None] | None = None) -> None:
        """Write `changes`, then call `then`."""
        self._commits.put(changes, then)

    async def committed(self, changes: Changes) -> None:
        """Write `changes`; return when they are on disk."""
        await self._commits.made(changes)

    @property
    def broken(self) -> asyncio.Future[None]:
        """Fails when an outcome could not be stored: this engine must not go on."""
        return self._commits.broken

    def reused(self) -> set[str]:
        """Dispatches whose values those that run take over."""
        return self._runs.reused()

    def seal(self, digest: str, *place: object) -> str:
        """The store's seal."""
        return self.store.seal(digest, *place)

    def blobs(self, digests: Collection[str], then: Callable[[Mapping[str, bytes]], None]) -> None:
        """Call `then` with those of the blobs that are small: workers read the others' files."""
        missing = [] if self._sharing is None else self._blobs.missing(digests)
        known = {digest: self._blobs.get(digest) for digest in digests if digest not in missing}
        if not missing:
            return then(_small(known))

        def came(found: Mapping[str, bytes | None]) -> None:
            for digest, data in found.items():
                self._blobs.keep(digest, data)
            then(_small({**known, **found}))

        def refused(_: QcovError) -> None:  # the worker will say what it misses
            then(_small(known))

        return self.read.then(
            lambda: dict(self.store.inline_blobs(missing)), follows=came, refused=refused
        )

    def keep_blob(self, digest: str, data: bytes | None) -> None:
        """Remember a blob that will be needed soon; None says that it is in a file."""
        self._blobs.keep(digest, data)

    def _keep_blobs(self, manifest: Message) -> None:
        for digest, data in manifest["blobs"].items():
            self._blobs.keep(digest, data)

    def remembered(
        self, keys: Collection[str], then: Callable[[Mapping[str, Known]], None]
    ) -> None:
        """Call `then` with the values that were kept for equal electrons, by key."""

        def came(rows: Iterable[Message]) -> None:
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

    def submit_task(self, task: Task) -> None:
        """Hand an electron to the workers, once the packages that it needs are there."""
        pool = self._hosts if task.hosted else self._pool
        if task.packages:
            self._environments.provide(task, pool.submit)
        else:
            pool.submit(task)

    def stop_task(self, key: tuple[str, int, int]) -> bool:
        """Stop an electron; False if the workers do not have it."""
        self._environments.drop(key)
        return self._pool.stop(key) or self._hosts.stop(key)

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
            run.child_refused(node, error)

        if manifest["reuses"] is None:
            return start(None)
        return self.read.then(self._runs.earlier, manifest, follows=start, refused=refused)

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
                row = add_dispatch(changes, self.store, manifest, child_id, (run, node))
                child = Run(self, row, manifest, earlier=earlier)
        except QcovError as error:
            return run.child_refused(node, error)
        link = {"new_sub_dispatch_id": child_id, "new_started": began}
        attempt = run.attempt_of(node)
        outcomes.add(changes, "node_child", outcomes.key_of(run.id, node, attempt) | link)
        self._runs.add(child)
        self._keep_blobs(manifest)
        child.need_parts(run.parts_of(node))
        follows = child.start(changes)

        def begin() -> None:
            follows()
            run.child_began(node, child, began)

        return self.commit(changes, begin)

    def child_of(self, run: Run, node: int) -> Run | None:
        """The sublattice that a node has started, if it has."""
        return self._runs.child_of(run, node)

    def parent_of(self, run: Run) -> Run | None:
        """The run that waits for this one."""
        return self._runs.parent_of(run)

    def note_started(self, run: Run, node: int, attempt: int) -> None:
        """A node has begun. Most end so soon that nobody needs to hear of their beginning."""
        self._started[run.id, node] = (run, attempt, outcomes.now())
        if len(self._started) == 1:
            self._loop.call_later(_STARTED_AFTER, self._tell_started)

    def note_ended(self, run: Run, node: int) -> None:
        """A node has ended."""
        self._started.pop((run.id, node), None)

    def _tell_started(self) -> None:
        noted = list(self._started.items())
        self._started.clear()
        changes: Changes = {}
        for (_, node), (run, attempt, when) in noted:
            if run.began(node, attempt, when, changes):
                self.announce(run, node, Status.RUNNING)
        if changes:
            self.commit(changes)

    def announce(self, run: Run, node: int | None, status: Status) -> None:
        """Tell whoever watches."""
        self.events.announce(run.id, run.root_id, node, status)

    def run_ended(self, run: Run) -> None:
        """Forget a run: the store has all of it."""
        self._runs.forget(run)


def _small(blobs: Mapping[str, bytes | None]) -> dict[str, bytes]:
    return {digest: data for digest, data in blobs.items() if data is not None}


def _fired(trigger_id: str | None, dispatch_id: str) -> Changes:
    if trigger_id is None:
        return {}
    row = {"trigger_id": trigger_id, "dispatch_id": dispatch_id, "created": outcomes.now()}
    return {"trigger_fired": [row]}


def _is_held(status: str) -> bool:
    """True for the status of a dispatch that waits to be started."""
    return status == Status.NEW_OBJECT


def _cancelled(dispatch_id: str, nodes: Iterable[int] | None = None) -> str:
    if nodes is None:
        return f"Dispatch {dispatch_id} cancelled."
    numbers = [*nodes]
    return f"{_named(numbers)} of dispatch {dispatch_id} cancelled."


def _named(numbers: Sequence[int]) -> str:
    return f"{'Node' if len(numbers) == 1 else 'Nodes'} {_listed(numbers)}"


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(numbers))) or "none"
