"""Removing old dispatches from a running engine's store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence, Set
from typing import Protocol, TypeVar

from qcov.classical.engine.channel import Message
from qcov.classical.engine.environments import Environments
from qcov.store.blobs import INLINE_LIMIT
from qcov.store.changes import TERMINAL, Changes
from qcov.store.pruning import (
    alone,
    digests_in,
    last_commits,
    named_in,
    old_dispatches,
    remaining,
    removal,
    unreferenced,
)
from qcov.store.store import Store

_AT_ONCE = 200  # dispatches or payloads in one transaction: others must not wait long
_FRESH = 3600.0  # seconds: a younger file may be named by what is not committed yet

_T = TypeVar("_T")


class Writing(Protocol):
    """What is needed of the engine."""

    store: Store

    def reused(self) -> Set[str]:
        """Dispatches whose values those that run take over."""
        ...

    async def committed(self, changes: Changes) -> None:
        """Write `changes`; return when they are on disk."""
        ...


class Pruner:
    """Removes old dispatches, then the payloads that nothing refers to any more.

    Args:
        engine: Whose store it is.
        environments: Those with packages of electrons; old ones go too.
    """

    def __init__(self, engine: Writing, environments: Environments) -> None:
        self._engine = engine
        self._environments = environments
        self._named: set[str] | None = None  # payloads that were named since it looked
        self._lock = asyncio.Lock()

    def note(self, changes: Changes) -> None:
        """Heed what is written in the meantime: its payloads stay."""
        if self._named is not None:
            self._named.update(named_in(changes))

    def keep(self, manifest: Message) -> None:
        """Heed a graph that is about to be run once more: its payloads stay."""
        if self._named is not None:
            self._named.update(digests_in(manifest))

    async def prune(
        self, ended_before: float, statuses: Sequence[str] = TERMINAL, dry_run: bool = False
    ) -> Message:
        """Remove dispatches that ended before then, with all that is theirs.

        Args:
            ended_before: Seconds since the epoch, UTC.
            statuses: Which of the ended ones.
            dry_run: Only say what would be removed.

        Returns:
            `dispatches`, sublattices not counted; `environments`; `blobs` and `bytes` of payloads.
            The last three are not known of a dry run. And `damaged`, dispatches that cannot be read
            and were not removed: while there are any, no payloads go, for these may need them.
        """
        async with self._lock:
            return await self._prune(ended_before, statuses, dry_run=dry_run)

    async def _prune(
        self, ended_before: float, statuses: Sequence[str], *, dry_run: bool
    ) -> Message:
        store, needed = self._engine.store, self._engine.reused()
        families = await asyncio.to_thread(old_dispatches, store, ended_before, statuses, needed)
        counted: Message = {"dispatches": len(families), "environments": 0, "blobs": 0, "bytes": 0}
        if dry_run:
            return counted
        counted["damaged"] = []
        ids = [each for family in families for each in family]
        for start in range(0, len(ids), _AT_ONCE):
            await self._delete(("dispatch_pruned", "trigger_pruned"), "of_dispatch", ids[start:])
        counted["environments"] = await asyncio.to_thread(self._environments.prune, ended_before)
        old = {"of_time": ended_before}
        await self._engine.committed({"fired_pruned": [old], "memo_pruned": [old]})
        if store.leases is not None and await asyncio.to_thread(store.leases.others_run):
            return counted  # what they are about to refer to is not known here
        self._named = set()  # before the commit: what comes after it is either seen, or noted
        try:
            seen = await asyncio.to_thread(last_commits, store)
            await self._engine.committed({**alone(store), "structures_pruned": [{}]})
            found, counted["damaged"] = await asyncio.to_thread(unreferenced, store)
            for start in range(0, len(found), _AT_ONCE):
                await self._remove(found[start : start + _AT_ONCE], seen, counted)
        finally:
            self._named = None
        return counted

    async def _delete(self, statements: Sequence[str], name: str, values: Sequence[str]) -> None:
        changes: Changes = {}
        for statement in statements:
            changes[statement] = [{name: value} for value in values[:_AT_ONCE]]
        await self._engine.committed(changes)

    async def _remove(
        self, found: Sequence[tuple[str, int]], seen: Sequence[str], counted: Message
    ) -> None:
        assert self._named is not None
        store = self._engine.store
        chosen = [(digest, size) for digest, size in found if digest not in self._named]
        large = [digest for digest, size in chosen if size > INLINE_LIMIT]
        written = await self._asked(store.payloads.ages, large)
        kept = {digest for digest, when in written.items() if time.time() - when < _FRESH}
        removed = {digest: size for digest, size in chosen if digest not in kept | self._named}
        await self._engine.committed(removal(store, removed, seen))
        for digest in await asyncio.to_thread(remaining, store, list(removed)):
            del removed[digest]
        gone = [each for each in written if each in removed and each not in self._named]
        await self._asked(store.payloads.remove, gone)
        counted["blobs"] += len(removed)
        counted["bytes"] += sum(removed.values())

    async def _asked(self, question: Callable[[Sequence[str]], _T], digests: Sequence[str]) -> _T:
        """Ask a server in a thread, a folder here: in the meantime nothing can name a payload."""
        if self._engine.store.payloads.remote:
            return await asyncio.to_thread(question, digests)
        return question(digests)
