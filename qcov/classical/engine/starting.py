"""How dispatches begin: taken in, started later, run again."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from qcov.classical.engine import outcomes
from qcov.classical.engine.channel import Message
from qcov.classical.engine.intake import add_dispatch, settle_environment, understanding
from qcov.classical.engine.reuse import Earlier
from qcov.classical.engine.run import Run
from qcov.classical.engine.runner import Runner
from qcov.classical.engine.runs import is_held
from qcov.errors import EngineError, KeyTaken, QcovError, StoreError, StoreUnavailable
from qcov.store.blobs import INLINE_LIMIT, spill
from qcov.store.changes import Changes

_SAME_REQUEST = ("name", "fingerprint")  # what two dispatches with one key must share


class Starting:
    """Starts the dispatches of one engine, each once.

    Args:
        runner: What runs them.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner, self._runs, self._commits = runner, runner.runs, runner.commits
        self._store, self._read = runner.store, runner.read
        self.takes_dispatches = True  #: false for one that only has triggers
        self._submitting: dict[str, asyncio.Task[str]] = {}  # by key or id

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
        task = asyncio.get_running_loop().create_task(doing())
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
        run = await self._runner.held(dispatch_id, variables)
        if run is not None:
            changes: Changes = dict(more or {})
            begin = run.start(changes)
            self._runs.add(run)
            await self._commits.made(changes, begin)
        elif more:  # somebody else has just started it
            await self._commits.made(more)
        return dispatch_id

    async def rerun(
        self,
        dispatch_id: str,
        new_id: str,
        variables: Message,
        trigger_id: str | None = None,
        *,
        reuse: bool = False,
        watching: bool = False,
    ) -> str:
        """Run a dispatch that was stored, or run it once more as `new_id`; return its id.

        The graph is the stored one: no code of the user's is needed for it. With `reuse`, what
        the earlier run has computed is taken over. A trigger says whether it is `watching`: when
        it was stopped before, it starts nothing more, which raises `TriggerFailed`.
        """
        self._check_open()
        new_id = str(uuid.UUID(new_id))

        async def doing() -> str:
            if watching and trigger_id is not None:
                await self._runner.triggers.check_watches(trigger_id)
            return await self._rerun(dispatch_id, new_id, variables, trigger_id, reuse)

        return await self._alone(dispatch_id, doing)

    async def stop_triggers(self, dispatch_ids: Sequence[str]) -> None:
        """Stop all triggers of these dispatches: when it returns, what they start has started."""
        await self._runner.triggers.stop(dispatch_ids)
        for dispatch_id in dispatch_ids:
            while (other := self._submitting.get(dispatch_id)) is not None:
                await asyncio.wait([other])

    async def _rerun(
        self, dispatch_id: str, new_id: str, variables: Message, trigger_id: str | None, reuse: bool
    ) -> str:
        if await self._read(self._store.has_dispatch, new_id):  # the request comes twice
            return new_id
        if is_held(await self._read(self._store.status, dispatch_id)):
            return await self._start(dispatch_id, variables, _fired(trigger_id, dispatch_id))
        with self._runner.pruner.using(dispatch_id):
            manifest = await asyncio.to_thread(self._store.manifest, dispatch_id)
            manifest |= {"id": new_id, "variables": variables, "blobs": {}}
            for name in ("key", "fingerprint", "reuses"):
                manifest.pop(name, None)
            settle_environment(manifest["environment"])
            changes = _fired(trigger_id, new_id)
            if reuse:
                manifest["reuses"] = dispatch_id
                await self._reusing(dispatch_id, manifest, new_id, changes)
            else:
                await self._store_and_start(manifest, new_id, changes)
        return new_id

    async def _submit(self, manifest: Message, dispatch_id: str, first: bool) -> str:
        if dispatch_id in self._runs:
            return dispatch_id
        if not first and await self._read(self._store.has_dispatch, dispatch_id):
            return dispatch_id
        try:
            return await self._take_in(manifest, dispatch_id)
        except StoreUnavailable:
            raise
        except StoreError:
            if self._runner.sharing is None or manifest.get("key") is None:
                raise
            # another engine has just given the key to a dispatch of its own
            return await self._take_in(manifest, dispatch_id)

    async def _take_in(self, manifest: Message, dispatch_id: str) -> str:
        changes: Changes = {}
        key: str | None = manifest.get("key")
        row = None if key is None else await self._read(self._store.find_key, key)
        if row is not None:
            if row["status"] not in ("FAILED", "CANCELLED"):
                earlier = await asyncio.to_thread(self._store.manifest, row["id"])
                if any(earlier.get(name) != manifest.get(name) for name in _SAME_REQUEST):
                    raise KeyTaken(key=str(key), dispatch_id=row["id"], inputs=row["inputs_repr"])
                if is_held(row["status"]) and not manifest.get("held"):
                    return await self._start(row["id"], manifest.get("variables", {}))
                return str(row["id"])
            changes["key_released"] = [{"of_dispatch": row["id"]}]
        if (reused := manifest.get("reuses")) is not None:
            await self._reusing(reused, manifest, dispatch_id, changes)
        else:
            await self._store_and_start(manifest, dispatch_id, changes)
        return dispatch_id

    async def _reusing(
        self, reused: str, manifest: Message, dispatch_id: str, changes: Changes
    ) -> None:
        """Start a dispatch that takes over what another one has computed."""
        with self._runner.pruner.using(reused):
            earlier = await asyncio.to_thread(self._runs.earlier, manifest)
            await self._store_and_start(manifest, dispatch_id, changes, earlier)
            if self._runner.sharing is None or await self._read(self._store.has_dispatch, reused):
                return
            # another engine has removed it before it could know that it is needed
            if (run := self._runs.get(dispatch_id)) is not None:
                run.reuse_nothing()

    async def _store_and_start(
        self,
        manifest: Message,
        dispatch_id: str,
        changes: Changes,
        earlier: Earlier | None = None,
    ) -> None:
        with understanding():
            manifest = await self._without_large(manifest)
            row = add_dispatch(changes, self._store, manifest, dispatch_id)
            run = Run(self._runner, row, manifest, earlier=earlier)
        if manifest.get("held"):
            await self._commits.ask(changes)
            return
        begin = run.start(changes)
        self._runs.add(run)
        self._runner.keep_blobs(manifest)
        try:
            await self._commits.ask(changes, begin)
        except QcovError:
            self._runner.run_ended(run)
            raise

    async def _without_large(self, manifest: Message) -> Message:
        """The same once large blobs, which clients send over HTTP, are written: not in the loop."""
        if any(len(blob) > INLINE_LIMIT for blob in manifest["blobs"].values()):
            return await asyncio.to_thread(spill, manifest, self._store.payloads.write)
        return manifest

    def _check_open(self) -> None:
        if not self.takes_dispatches:
            raise EngineError(
                "This server only has triggers (`qcov start --triggers-only`): "
                "dispatch to another one."
            )


def _fired(trigger_id: str | None, dispatch_id: str) -> Changes:
    if trigger_id is None:
        return {}
    row = {"trigger_id": trigger_id, "dispatch_id": dispatch_id, "created": outcomes.now()}
    return {"trigger_fired": [row]}
