"""Removing old dispatches from a running engine's store."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping, Sequence, Set
from typing import Protocol, TypeVar

from qcov.classical.engine.channel import Message
from qcov.classical.engine.environments import Environments
from qcov.errors import DispatchNotFound
from qcov.store.blobs import INLINE_LIMIT
from qcov.store.changes import TERMINAL, Changes
from qcov.store.pruning import (
    alone,
    last_commits,
    named_in,
    old_dispatches,
    remaining,
    removal,
    sizes_of,
    still_named,
    stray_files,
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
        self._used: Counter[str] = Counter()  # dispatches that something is taken over from
        self._removing = set[str]()  # dispatches that are on their way out
        self._lock = asyncio.Lock()

    def note(self, changes: Changes) -> None:
        """Heed what is written in the meantime: its payloads stay."""
        if self._named is not None:
            self._named.update(named_in(changes))

    @contextlib.contextmanager
    def using(self, dispatch_id: str) -> Generator[None, None, None]:
        """Keep a dispatch, with all that it refers to, while something is taken over from it.

        Raises `DispatchNotFound` for one that is just being removed.
        """
        if dispatch_id in self._removing:
            raise DispatchNotFound(dispatch_id=dispatch_id, where=self._engine.store.where)
        self._used[dispatch_id] += 1
        try:
            yield
        finally:
            self._used -= Counter([dispatch_id])

    def keep(self, digests: Iterable[str]) -> None:
        """Heed payloads that something is about to refer to: they stay."""
        if self._named is not None:
            self._named.update(digests)

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
        store = self._engine.store
        families = await asyncio.to_thread(
            old_dispatches, store, ended_before, statuses, self._needed()
        )
        counted: Message = {"dispatches": len(families), "environments": 0, "blobs": 0, "bytes": 0}
        if dry_run:
            return counted
        counted |= {"dispatches": await self._remove_dispatches(families), "damaged": []}
        counted["environments"] = await asyncio.to_thread(self._environments.prune, ended_before)
        old = {"of_time": ended_before}
        await self._engine.committed({"fired_pruned": [old], "memo_pruned": [old]})
        async with self._heeding() as seen:
            if seen is None:
                return counted
            more: Changes = {"structures_pruned": [{}], "environments_pruned": [{}]}
            await self._engine.committed({**alone(store), **more})
            found, counted["damaged"] = await asyncio.to_thread(unreferenced, store)
            await self._remove_all(found, seen, counted)
            await self._remove_strays(counted)
        return counted

    async def free(self, digests: set[str]) -> set[str]:
        """Remove those of some payloads that nothing refers to any more.

        Returns:
            Those that are too young: what refers to them may not have been committed yet.

        Raises:
            IntegrityError: A graph cannot be read, which may refer to any of them.
        """
        store, counted = self._engine.store, {"blobs": 0, "bytes": 0}
        async with self._lock, self._heeding() as seen:
            if seen is None:
                return set()
            if fence := alone(store):
                await self._engine.committed(fence)
            named = await asyncio.to_thread(still_named, store, digests)
            found = await asyncio.to_thread(sizes_of, store, digests - named)
            return await self._remove_all(found, seen, counted)

    @contextlib.asynccontextmanager
    async def _heeding(self) -> AsyncGenerator[list[str] | None, None]:
        """Note what is named from here on; gives what other engines have committed last.

        None if others run: what they are about to refer to is not known here.
        """
        store = self._engine.store
        if store.leases is not None and await asyncio.to_thread(store.leases.others_run):
            yield None
            return
        self._named = set()  # before the look: what comes after it is either seen, or noted
        try:
            yield await asyncio.to_thread(last_commits, store)
        finally:
            self._named = None

    async def _remove_all(
        self, found: Sequence[tuple[str, int]], seen: Sequence[str], counted: Message
    ) -> set[str]:
        young: set[str] = set()
        for start in range(0, len(found), _AT_ONCE):
            young |= await self._remove(found[start : start + _AT_ONCE], seen, counted)
        return young

    def _needed(self) -> set[str]:
        return {*self._used, *self._engine.reused()}

    async def _remove_dispatches(self, families: Iterable[Sequence[str]]) -> int:
        """Remove families, as long as nobody needs anything of them; how many."""
        removed, waiting = 0, deque(families)
        while waiting:
            needed = self._needed()
            chosen = [waiting.popleft() for _ in range(min(_AT_ONCE, len(waiting)))]
            free = [family for family in chosen if needed.isdisjoint(family)]
            await self._delete([each for family in free for each in family])
            removed += len(free)
        return removed

    async def remove(self, family: Sequence[str]) -> bool:
        """Remove a dispatch that has ended, and its sublattices; False if any is needed."""
        if not self._needed().isdisjoint(family):
            return False
        await self._delete(family)
        return True

    async def _delete(self, dispatch_ids: Sequence[str]) -> None:
        self._removing.update(dispatch_ids)
        try:
            for start in range(0, len(dispatch_ids), _AT_ONCE):
                some = dispatch_ids[start : start + _AT_ONCE]
                rows: list[Mapping[str, str]] = [{"of_dispatch": each} for each in some]
                await self._engine.committed({"dispatch_pruned": rows, "trigger_pruned": rows})
        finally:
            self._removing.difference_update(dispatch_ids)

    async def _remove(
        self, found: Sequence[tuple[str, int]], seen: Sequence[str], counted: Message
    ) -> set[str]:
        """Remove payloads; those that are too young stay, and are returned."""
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
        return kept

    async def _remove_strays(self, counted: Message) -> None:
        """Remove files that nothing ever came to name, because their writer was killed."""
        assert self._named is not None
        before = time.time() - _FRESH
        for path in await asyncio.to_thread(stray_files, self._engine.store, before):
            with contextlib.suppress(FileNotFoundError):
                about = path.stat()
                if about.st_mtime < before and path.name not in self._named:  # still
                    path.unlink()
                    counted["blobs"] += 1
                    counted["bytes"] += about.st_size

    async def _asked(self, question: Callable[[Sequence[str]], _T], digests: Sequence[str]) -> _T:
        """Ask a server in a thread, a folder here: in the meantime nothing can name a payload."""
        if self._engine.store.payloads.remote:
            return await asyncio.to_thread(question, digests)
        return question(digests)
