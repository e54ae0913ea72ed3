"""Which workers a cluster has: how it gets fewer of them, and how they are.

Dask ends workers with what they run when it is scaled down. Here they take nothing new and go once
their slots have ended, which the engine lets them as electrons end. Only a cluster's own process
imports this.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

from qcov.classical.engine import cluster_memory, cluster_queue
from qcov.classical.executors.dask_worker import exceeded

_log = logging.getLogger("distributed.qcov")  # it goes where Dask's goes

_LOOKS_EVERY = 0.25  # seconds
_ANSWERS = 5.0  # seconds that a worker has to end an electron
_COME_WITHIN = 10.0  # seconds that who scales waits for workers to come
_GOES_WITHIN = 3.0  # the same for workers without electrons to go
#: So long after a worker takes no more, what it runs is known: what else it has it never begins.
_SETTLED = 5.0
_REVIVES_EVERY = 5.0
_GONE = {"closed", "failed"}  # how nannies are that start nothing any more

Message = dict[str, Any]


class Members:
    """The workers of a cluster.

    Args:
        cluster: A `SpecCluster` of Dask's, started.
        client: A client of it.
        say: Tells the engine something.
        limited: Whether electrons are held to the workers' limits of memory.
    """

    def __init__(
        self, cluster: Any, client: Any, say: Callable[[Message], None], *, limited: bool
    ) -> None:
        self._cluster, self._client, self._say, self._limited = cluster, client, say, limited
        self._leaving: dict[Any, float] = {}  # names of workers, and since when they take no more
        self._drained = asyncio.Event()  # none of them is left
        self._ending: set[int] = set()  # processes of workers that are to end an electron
        self._told, self._revived = -1, 0.0

    @property
    def count(self) -> int:
        """How many take slots."""
        return sum(ws.name not in self._leaving for ws in self._known())

    async def scale(self, count: int, busy: Collection[int]) -> Message:
        """Have so many workers.

        Args:
            count: How many.
            busy: The processes of workers that run electrons, each as often as it runs one.
        """
        spec = self._cluster.worker_spec
        staying = [name for name in spec if name not in self._leaving]
        if len(staying) <= count:
            self._cluster.scale(len(spec) + count - len(staying))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._come(count), _COME_WITHIN)
        else:
            self._let_go(self._least_busy(staying, busy)[: len(staying) - count])
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._drained.wait(), _GOES_WITHIN)
        coming = max(0, count - self.count)
        return {"workers": count, "coming": coming, "leaving": len(self._leaving)}

    async def _come(self, count: int) -> None:
        while self.count < count:  # noqa: ASYNC110  # Dask has no event for it
            await asyncio.sleep(_LOOKS_EVERY)

    async def about(self) -> list[Message]:
        """How they are."""
        known = self._known()
        memory = await asyncio.to_thread(cluster_memory.used, [ws.pid for ws in known])
        return [
            {
                "address": ws.address,
                "name": str(ws.name),
                "pid": ws.pid,
                "threads": ws.nthreads,
                "memory_limit": ws.memory_limit,
                "memory": memory[ws.pid].total,
                "leaving": ws.name in self._leaving,
            }
            for ws in known
        ]

    async def watch(self) -> None:
        """Look after them for as long as the cluster runs."""
        async with asyncio.TaskGroup() as ending:
            while True:
                try:
                    await self._look(ending)
                except Exception:  # noqa: BLE001  # what one look makes of a worker must not end the others
                    _log.exception("the workers could not be looked after")
                await asyncio.sleep(_LOOKS_EVERY)

    async def _look(self, ending: asyncio.TaskGroup) -> None:
        await self._drain()
        self._revive()
        if self.count != self._told:
            self._told = self.count
            self._say({"members": self._told})
        if cluster_queue.others_wait(self._cluster.scheduler):
            self._say({"crowded": True})
        limits = {ws.pid: ws.memory_limit for ws in self._known() if ws.processing}
        if self._limited and limits and all(limits.values()):
            for over in await asyncio.to_thread(lambda: [*cluster_memory.excess(limits)]):
                if not over.beside:
                    self._say({"over": over.told})
                elif over.worker not in self._ending:
                    self._ending.add(over.worker)
                    ending.create_task(self._end(over))

    def _revive(self) -> None:
        """Have Dask make anew what it has given up, such as one that was away for long."""
        if self._now() - self._revived < _REVIVES_EVERY:
            return
        self._revived = self._now()
        spec, workers = self._cluster.worker_spec, self._cluster.workers
        for name in [name for name, nanny in workers.items() if nanny.status.name in _GONE]:
            if name in spec:
                del workers[name]
        if spec.keys() - workers.keys():
            self._cluster.scale(len(spec))

    async def _end(self, over: cluster_memory.Excess) -> None:
        """End an electron that the engine does not know, as what runs it is a task of Dask's.

        Its worker may swap, and not answer: nothing else waits for it, and the next look asks anew.
        """
        where = [ws.address for ws in self._known() if ws.pid == over.worker]
        try:
            await asyncio.wait_for(self._client.run(exceeded, **over.told, workers=where), _ANSWERS)
        except TimeoutError:
            _log.warning("worker %s, over its limit of memory, does not answer", over.worker)
        except Exception:  # noqa: BLE001  # it has gone, say
            _log.exception("an electron of worker %s could not be ended", over.worker)
        finally:
            self._ending.remove(over.worker)

    # -- its own

    def _known(self) -> list[Any]:
        return [*self._cluster.scheduler.workers.values()]

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _least_busy(self, names: list[Any], busy: Collection[int]) -> list[Any]:
        """Those that are not there yet come first, and those that run most last."""
        known, electrons = {ws.name: ws for ws in self._known()}, Counter(busy)

        def load(name: Any) -> tuple[bool, int, int]:
            ws = known.get(name)
            return (False, 0, 0) if ws is None else (True, electrons[ws.pid], len(ws.processing))

        return sorted(names, key=load)

    def _let_go(self, names: Collection[Any]) -> None:
        self._leaving |= dict.fromkeys(names, self._now())
        self._drained.clear()
        for ws in self._known():
            if ws.name in self._leaving:
                self._take_no_more(ws)
        self._say_who_leaves()

    def _say_who_leaves(self) -> None:
        leaving = [ws.pid for ws in self._known() if ws.name in self._leaving]
        self._say({"leaving": leaving})

    def _take_no_more(self, ws: Any) -> None:
        """As Dask does with one that retires, but what runs there is not ended."""
        scheduler, why = self._cluster.scheduler, f"qcov-scale-{self._now()}"
        scheduler.handle_worker_status_change("closing_gracefully", ws, why)
        told = {"op": "worker-status-change", "status": ws.status.name, "stimulus_id": why}
        scheduler.stream_comms[ws.address].send(told)

    async def _drain(self) -> None:
        """End those that are to go and have nothing left."""
        if not self._leaving:
            return
        known = {ws.name: ws for ws in self._known()}
        gone = [name for name in self._leaving if self._has_ended(name, known.get(name))]
        if gone:
            await self._cluster.scale_down(gone)
        for name in gone:
            del self._leaving[name]
        if gone:  # another process may get its number
            self._say_who_leaves()
        if not self._leaving:
            self._drained.set()

    def _has_ended(self, name: Any, ws: Any) -> bool:
        if ws is None:  # one that starts would be given slots before Dask could end it
            return name in self._cluster.workers or name not in self._cluster.worker_spec
        if ws.status.name == "init":
            return False
        if ws.status.name == "running":  # it has just come up, maybe not for the first time
            self._let_go([name])
            return False
        if not ws.processing:
            return True
        return not ws.executing and self._now() - self._leaving[name] > _SETTLED
