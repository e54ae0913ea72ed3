"""The triggers of an engine: kept in its store, each watching in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

from qcov.classical.engine.channel import Message
from qcov.classical.engine.intake import settle_environment
from qcov.classical.engine.outcomes import now
from qcov.classical.engine.pool import Pool
from qcov.classical.engine.reading import Reading
from qcov.classical.engine.spawn import Environment
from qcov.classical.engine.tasks import Key, Task
from qcov.errors import (
    EngineError,
    InvalidRequest,
    QcovError,
    TriggerFailed,
    VersionMismatch,
    WorkerLost,
)
from qcov.store.changes import Changes
from qcov.store.store import Store
from qcov.store.triggers import get_trigger, list_triggers, runs_of
from qcov.transport import address, check_header

_log = logging.getLogger("qcov.engine")

_MOST = 256  # triggers that watch at a time, a process each
_LEAVE_WITHIN = 10.0  # seconds that a trigger which is stopped is waited for
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0  # seconds until one that has failed watches again


class Dispatcher(Protocol):
    """What triggers need of their engine."""

    store: Store
    read: Reading

    async def committed(self, changes: Changes) -> None:
        """Write `changes`; return when they are on disk."""
        ...

    def blobs(self, digests: Collection[str], then: Callable[[Mapping[str, bytes]], None]) -> None:
        """Call `then` with those of the blobs that are small: the others are in files."""
        ...


class Triggers:
    """Registers, watches and stops triggers.

    Args:
        engine: Their engine.
        settings: What every worker process is told.
    """

    def __init__(self, engine: Dispatcher, settings: Message) -> None:
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        self._pool = Pool(size=_MOST, settings=settings)
        self._watching: dict[str, _Watch] = {}
        self._writing: set[asyncio.Task[None]] = set()
        self._settled: set[str] = set()  # of these, the ones that the store has as ours

    @property
    def busy(self) -> bool:
        """True while any of them watches: the engine must stay."""
        return bool(self._watching)

    def watched(self) -> set[str]:
        """Those that watch here."""
        return set(self._watching)

    async def register(self, described: Message) -> str:
        """Keep a trigger and let it watch; return its id once it is on disk, and watches.

        Raises `TriggerFailed` if it ends at once.

        Args:
            described: `id`, `dispatch_id`, `name`, `object` (a blob), `environment`, `elsewhere`
                (whether another engine has the dispatch) and maybe `variables`.
        """
        environment = _environment(described)
        with contextlib.suppress(VersionMismatch):  # its own interpreter may be able to load it
            check_header(described["object"])
        if described["id"] in self._watching:  # the request comes twice
            return described["id"]
        if not described["elsewhere"]:
            await self._engine.read(self._engine.store.get_dispatch, described["dispatch_id"])
        known = await self._engine.read(self._engine.store.triggers_of, described["dispatch_id"])
        if any(row["id"] == described["id"] for row in known):  # maybe stopped since
            return described["id"]
        if len(self._watching) >= _MOST:
            raise EngineError(
                f"{_MOST} triggers watch already, the most that one engine has. "
                "Stop some with qcov.stop_triggers."
            )
        blob: bytes = described["object"]
        digest, store = address(blob), self._engine.store
        row = {
            "id": described["id"],
            "dispatch_id": described["dispatch_id"],
            "name": described["name"],
            "object": digest,
            "object_seal": store.seal(digest, described["id"], "trigger"),
            "environment": json.dumps(environment),
            "status": "ACTIVE",
            "error": None,
            "created": now(),
        }
        kept = await asyncio.to_thread(store.blob_row, digest, blob)
        await self._engine.committed({"blob": [kept], "trigger": [row]})
        # the beat may have found it already
        watch = self._watching.get(described["id"]) or self._watch(
            row, described.get("variables", {})
        )
        if watch is not None:
            try:
                await watch.ready
            except TriggerFailed:
                if not watch.returned or not await self.runs(described["id"], limit=1):
                    raise
            watch.keep()
        return described["id"]

    async def stop_those_of(self, dispatch_id: str) -> bool:
        """Stop what watches for a dispatch; False if nothing does."""
        rows = await self._engine.read(self._engine.store.triggers_of, dispatch_id)
        if all(row["status"] != "ACTIVE" for row in rows):
            return False
        await self.stop([dispatch_id])
        return True

    async def stop(self, dispatch_ids: Sequence[str]) -> None:
        """Stop all triggers of these dispatches, and wait until those at work have left."""
        read, store = self._engine.read, self._engine.store
        rows = {each: await read(store.triggers_of, each) for each in dispatch_ids}
        for dispatch_id, found in rows.items():
            if not found:
                await read(store.get_dispatch, dispatch_id)
        leaving: list[asyncio.Future[None]] = []
        for row in (row for found in rows.values() for row in found):
            await self._end(row["id"], "STOPPED")
            watch = self._watching.pop(row["id"], None)
            if watch is not None:
                watch.stop()
                leaving.append(watch.gone)
        if leaving:
            await asyncio.wait(leaving, timeout=_LEAVE_WITHIN)

    async def page(self, **window: Any) -> Message:
        """A window of all triggers, newest first: `triggers`, and their `total`.

        Args:
            **window: `limit`, and maybe `offset`, `status` and `dispatch_id`.
        """
        rows, total = await asyncio.to_thread(list_triggers, self._engine.store, **window)
        return {"triggers": rows, "total": total}

    async def get(self, trigger_id: str) -> Message:
        """One of them. Raises `TriggerNotFound`."""
        return await asyncio.to_thread(get_trigger, self._engine.store, trigger_id)

    async def check_watches(self, trigger_id: str) -> None:
        """Raise `TriggerFailed` for one that was stopped, or has ended."""
        row = await self.get(trigger_id)
        if row["status"] != "ACTIVE":
            raise TriggerFailed(trigger=row["name"], reason=f"it is {row['status']}")

    async def runs(
        self, trigger_id: str, limit: int | None = None, offset: int = 0
    ) -> list[Message]:
        """What one of them has started, oldest first. Raises `TriggerNotFound`."""
        await self.get(trigger_id)
        store = self._engine.store
        return await asyncio.to_thread(runs_of, store, trigger_id, limit=limit, offset=offset)

    async def note_fired(self, trigger_id: str, dispatch_id: str) -> None:
        """A trigger has started this dispatch, which another engine has.

        Raises `TriggerNotFound`.
        """
        await self.get(trigger_id)
        row = {"trigger_id": trigger_id, "dispatch_id": dispatch_id, "created": now()}
        await self._engine.committed({"trigger_fired": [row]})

    def resume(self, rows: Iterable[Message]) -> None:
        """Watch on, after another engine or an earlier one has watched."""
        for row in rows:
            if row["id"] not in self._watching:
                watch = self._watch(row, {})
                if watch is not None:
                    watch.keep()

    def keep(self, own: Collection[str]) -> None:
        """Watch no more what other engines watch now, or were asked to stop."""
        for trigger_id in set(self._settled) - set(own):
            self._settled.discard(trigger_id)
            watch = self._watching.pop(trigger_id, None)
            if watch is not None:
                watch.stop()
        self._settled = set(own) & self._watching.keys()

    def close(self) -> None:
        """Stop watching, for now."""
        self._pool.close()

    def _watch(self, row: Message, variables: Message) -> _Watch | None:
        try:
            self._engine.store.check_trigger(row)
            environment = _environment({"environment": json.loads(row["environment"])})
            made = Environment.from_json(environment, variables)
        except (QcovError, ValueError, TypeError) as error:  # it is damaged; others are not
            self._failed(row["id"], str(error))
            return None
        watch = _Watch(row, made, self._pool, failed=self._failed, told=self._told)
        self._watching[row["id"]] = watch
        self._engine.blobs([row["object"]], watch.begin)
        return watch

    def _failed(self, trigger_id: str, error: str) -> None:
        """A trigger watches no more, of its own accord."""
        _log.warning("trigger %s has ended: %s", trigger_id, error)
        self._watching.pop(trigger_id, None)
        self._note(trigger_id, "FAILED", error)

    def _told(self, trigger_id: str, error: str) -> None:
        """A trigger has failed, and watches again in a while."""
        _log.warning("trigger %s watches again in a while: %s", trigger_id, error)
        self._note(trigger_id, "ACTIVE", error)

    def _note(self, trigger_id: str, status: str, error: str) -> None:
        writing = self._loop.create_task(self._end(trigger_id, status, error))
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)

    async def _end(self, trigger_id: str, status: str, error: str | None = None) -> None:
        row = {"of_trigger": trigger_id, "new_status": status, "new_error": error}
        await self._engine.committed({"trigger_ended": [row]})


def _environment(described: Message) -> Message:
    """A trigger's environment, fit for this machine. Raises `InvalidRequest` for what is none."""
    try:
        environment = dict(described["environment"])
        Environment.from_json(environment, {})
        settle_environment(environment)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, QcovError):
            raise
        reason = f"this is no environment: {type(error).__name__}: {error}."
        raise InvalidRequest(reason=reason) from error
    return environment


def _heed(ready: asyncio.Future[None]) -> None:
    if not ready.cancelled():
        ready.exception()


class _Watch:
    """One trigger, in its process; it is the owner of its task."""

    def __init__(
        self,
        row: Message,
        environment: Environment,
        pool: Pool,
        *,
        failed: Callable[[str, str], None],
        told: Callable[[str, str], None],
    ) -> None:
        self._id, self._name, self._object = row["id"], row["name"], row["object"]
        self._environment, self._pool = environment, pool
        self._blobs: Mapping[str, bytes] = {}
        self._failed, self._told = failed, told
        self._kept = False
        self.returned = False  #: whether it has ended without an error
        #: Done when it watches; a `TriggerFailed` if it has ended before that.
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ready.add_done_callback(_heed)  # nobody may wait for it
        #: Done when it has been stopped, and does nothing more.
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._attempt = 0
        self._pause, self._since = _FIRST_PAUSE, 0.0
        self._stopped = False

    @property
    def _key(self) -> Key:
        return (self._id, 0, self._attempt)

    def begin(self, blobs: Mapping[str, bytes]) -> None:
        self._blobs = blobs
        self.start()

    def start(self) -> None:
        if self._stopped:
            return
        self._attempt += 1
        self._since = asyncio.get_running_loop().time()
        bundle: dict[str, Any] = {
            "kind": "trigger",
            "name": self._name,
            "trigger": self._object,
            "blobs": self._blobs,
            "workdir": None,
        }
        self._pool.submit(
            Task(
                key=self._key,
                name=self._name,
                environment=self._environment,
                bundle=bundle,
                function=None,
                time_limit=None,
                owner=self,
                hosted=True,
            )
        )

    def keep(self) -> None:
        """It has watched: from now on an error does not end it."""
        self._kept = True

    def stop(self) -> None:
        self._stopped = True
        if not self._pool.stop(self._key):  # it is between two attempts
            self._has_gone()
        self._is_ready(TriggerFailed(trigger=self._name, reason="it was stopped"))

    def _has_gone(self) -> None:
        if self._stopped and not self.gone.done():
            self.gone.set_result(None)

    # what the pool reports (see `tasks.Owner`)

    def task_started(self, task: Task) -> None:
        """It watches."""

    def task_progressed(self, task: Task, report: Message) -> None:
        """It watches, or has printed something."""
        if report.get("watches"):
            self.keep()
            self._is_ready()
        text = f"{report['stdout']}{report['stderr']}".strip()
        if text:
            _log.info("trigger %s (%s): %s", self._id, task.name, text)

    def task_ended(self, task: Task, outcome: Message) -> None:
        """It has come to its end by itself; one that was kept ends only by returning."""
        self._has_gone()
        if self._kept and outcome.get("error") is not None:
            self.task_progressed(task, outcome)
            return self._watch_again(outcome["error"])
        self.returned = outcome.get("error") is None
        error = outcome.get("error") or "its `observe` has returned"
        self._is_ready(TriggerFailed(trigger=task.name, reason=error))
        self.task_progressed(task, outcome)
        return None if self._stopped else self._failed(self._id, error)

    def _is_ready(self, error: TriggerFailed | None = None) -> None:
        if not self.ready.done():
            if error is None:
                self.ready.set_result(None)
            else:
                self.ready.set_exception(error)

    def task_died(self, task: Task, error: QcovError, printed: Message | None = None) -> None:
        """Its process has died."""
        self._has_gone()
        self._is_ready()
        self.task_progressed(task, {"stdout": "", "stderr": "", **(printed or {})})
        reason = error.reason if isinstance(error, WorkerLost) else f"{error}"
        self._watch_again(f"its process died: {reason}")

    def _watch_again(self, error: str) -> None:
        if self._stopped:
            return
        loop = asyncio.get_running_loop()
        if loop.time() - self._since > _LONGEST_PAUSE:  # it was well for a while
            self._pause = _FIRST_PAUSE
        loop.call_later(self._pause, self.start)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        self._told(self._id, error)
