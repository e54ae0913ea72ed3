"""The triggers of an engine: kept in its store, each watching in a process of its own."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

from qcov.classical.engine.channel import Message
from qcov.classical.engine.intake import settle_environment
from qcov.classical.engine.outcomes import now
from qcov.classical.engine.pool import Pool
from qcov.classical.engine.spawn import Environment
from qcov.classical.engine.tasks import Key, Task
from qcov.errors import EngineError, InvalidRequest, QcovError
from qcov.store.changes import Changes
from qcov.store.store import Store
from qcov.transport import address

_log = logging.getLogger("qcov.engine")

_MOST = 256  # triggers that watch at a time, a process each
_SOON = 0.3  # seconds: a trigger that raises at once has done so by then
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0  # seconds until one whose process has died watches again


class Dispatcher(Protocol):
    """What triggers need of their engine."""

    store: Store

    async def committed(self, changes: Changes) -> None:
        """Write `changes`; return when they are on disk."""
        ...

    def blob(self, digest: str) -> bytes | None:
        """A small blob; None for one in a file."""
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
        self._settled: set[str] = set()  # of these, the ones that the store has as ours

    @property
    def busy(self) -> bool:
        """True while any of them watches: the engine must stay."""
        return bool(self._watching)

    async def register(self, described: Message) -> str:
        """Keep a trigger and let it watch; return its id once it is on disk, and watches.

        Raises `EngineError` if it ends at once.

        Args:
            described: `id`, `dispatch_id`, `name`, `object` (a blob), `environment`, `elsewhere`
                (whether another engine has the dispatch) and maybe `variables`.
        """
        environment = _environment(described)
        if described["id"] in self._watching:  # the request comes twice
            return described["id"]
        if not described["elsewhere"]:
            self._engine.store.get_dispatch(described["dispatch_id"])
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
        watch = self._watch(row, described.get("variables", {}))
        if watch is not None:
            await watch.ready
            await watch.outlive(_SOON)
        return described["id"]

    async def stop(self, dispatch_ids: Sequence[str]) -> None:
        """Stop all triggers of these dispatches."""
        rows = {each: self._engine.store.triggers_of(each) for each in dispatch_ids}
        for dispatch_id, found in rows.items():
            if not found:
                self._engine.store.get_dispatch(dispatch_id)
        for row in (row for found in rows.values() for row in found):
            await self._end(row["id"], "STOPPED")
            watch = self._watching.pop(row["id"], None)
            if watch is not None:
                watch.stop()

    async def note_fired(self, trigger_id: str, dispatch_id: str) -> None:
        """A trigger has started this dispatch, which another engine has."""
        row = {"trigger_id": trigger_id, "dispatch_id": dispatch_id, "created": now()}
        await self._engine.committed({"trigger_fired": [row]})

    def resume(self, chosen: Collection[str] | None = None) -> None:
        """Watch on, after the engine was started again: all triggers, or the chosen ones."""
        for row in self._engine.store.active_triggers():
            if chosen is None or row["id"] in chosen:
                self._watch(row, {})

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
        blob = self._engine.blob(row["object"])
        blobs = {} if blob is None else {row["object"]: blob}
        watch = _Watch(row, made, blobs, self._pool, self._failed)
        self._watching[row["id"]] = watch
        watch.start()
        return watch

    def _failed(self, trigger_id: str, error: str) -> None:
        """A trigger watches no more, of its own accord."""
        _log.warning("trigger %s has ended: %s", trigger_id, error)
        self._watching.pop(trigger_id, None)
        ending = self._end(trigger_id, "FAILED", error)
        self._endings = self._loop.create_task(ending)

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
        blobs: dict[str, bytes],
        pool: Pool,
        failed: Callable[[str, str], None],
    ) -> None:
        self._id, self._name, self._object = row["id"], row["name"], row["object"]
        self._environment, self._blobs, self._pool = environment, blobs, pool
        self._failed = failed
        #: Done when it watches; an `EngineError` if it has ended before that.
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ready.add_done_callback(_heed)  # nobody may wait for it
        self._ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._attempt = 0
        self._pause = _FIRST_PAUSE
        self._stopped = False

    @property
    def _key(self) -> Key:
        return (self._id, 0, self._attempt)

    def start(self) -> None:
        if self._stopped:
            return
        self._attempt += 1
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

    async def outlive(self, seconds: float) -> None:
        """Raise `EngineError` if it ends within so many seconds."""
        await asyncio.wait([self._ended], timeout=seconds)
        if self._ended.done():
            raise EngineError(f"the trigger {self._name} has ended: {self._ended.result()}")

    def stop(self) -> None:
        self._stopped = True
        self._pool.stop(self._key)

    # what the pool reports (see `tasks.Owner`)

    def task_started(self, task: Task) -> None:
        """It watches."""

    def task_progressed(self, task: Task, report: Message) -> None:
        """It watches, or has printed something."""
        self._is_ready()
        text = f"{report['stdout']}{report['stderr']}".strip()
        if text:
            _log.info("trigger %s (%s): %s", self._id, task.name, text)

    def task_ended(self, task: Task, outcome: Message) -> None:
        """It has come to its end by itself."""
        error = outcome.get("error") or "its `observe` has returned"
        self._is_ready(EngineError(f"the trigger {task.name} has ended: {error}"))
        if not self._ended.done():
            self._ended.set_result(error)
        self.task_progressed(task, outcome)
        if not self._stopped:
            self._failed(self._id, error)

    def _is_ready(self, error: EngineError | None = None) -> None:
        if not self.ready.done():
            if error is None:
                self.ready.set_result(None)
            else:
                self.ready.set_exception(error)

    def task_died(self, task: Task, error: QcovError, printed: Message | None = None) -> None:
        """Its process has died: it watches again in a while."""
        self._is_ready()
        if self._stopped:
            return
        _log.warning("trigger %s (%s): %s %s", self._id, task.name, error, printed or "")
        asyncio.get_running_loop().call_later(self._pause, self.start)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
