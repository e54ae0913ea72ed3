"""What happens at other engines of the same database, told to who watches this one.

An engine tells only of its own dispatches. Where several share a database, each looks now and then
at what the others run, as long as somebody watches: what has begun or ended since the last look is
told as if it had happened here.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from qcov.classical.engine.events import Events
from qcov.classical.status import Status
from qcov.errors import QcovError
from qcov.store.asking import Row
from qcov.store.leases import Leases

_log = logging.getLogger("qcov.engine")

_REMEMBERED = 1000  #: dispatches whose end has been told
_PAUSE = 0.5  #: seconds between two looks
_OVERLAP = 10.0  #: seconds that are looked at again: what happened may be committed later


@dataclass(slots=True)
class _Known:
    """What was last told of a dispatch at another engine."""

    status: str
    root: str
    latest: float = 0.0  #: the latest beginning or end of a node, by that engine's clock
    nodes: dict[int, str] = field(default_factory=dict[int, str])


class Neighbours:
    """Watches the other engines of a database.

    Args:
        events: Where what they do is told.
        leases: What knows whose a dispatch is.
    """

    def __init__(self, events: Events, leases: Leases) -> None:
        self._events, self._leases = events, leases
        self._known: dict[str, _Known] = {}
        self._ended: deque[str] = deque(maxlen=_REMEMBERED)

    async def watch(self) -> None:
        """Look, until this is cancelled."""
        while True:
            await asyncio.sleep(_PAUSE)
            if not self._events.watched:
                self._known.clear()  # who comes to watch reads everything first
                continue
            try:
                await self._look()
            except QcovError as error:  # it is tried again
                _log.debug("other engines could not be watched: %s", error)

    async def _look(self) -> None:
        asked = list(self._known)
        found = await asyncio.to_thread(self._leases.elsewhere, asked)
        self._forget({*asked}.difference(row["id"] for row in found))
        for row in found:
            if row["id"] in self._ended:
                continue
            known = self._known.get(row["id"])
            if known is None:
                known = self._known[row["id"]] = _Known("", row["root_id"])
            await self._tell_nodes(row, known)
            if row["status"] != known.status:
                known.status = row["status"]
                self._events.announce(row["id"], row["root_id"], None, Status(row["status"]))
            if Status.is_terminal(row["status"]):
                del self._known[row["id"]]
                self._ended.append(row["id"])

    def _forget(self, deleted: Iterable[str]) -> None:
        for dispatch_id in deleted:
            known = self._known.pop(dispatch_id)
            if known.status:  # lists are read again, and do not have it any more
                self._events.announce(dispatch_id, known.root, None, Status(known.status))

    async def _tell_nodes(self, row: Row, known: _Known) -> None:
        since = known.latest - _OVERLAP
        changed = await asyncio.to_thread(self._leases.nodes_since, row["id"], since)
        for node in changed:
            known.latest = max(known.latest, node["started"] or 0.0, node["ended"] or 0.0)
            if known.nodes.get(node["node_id"]) != node["status"]:
                known.nodes[node["node_id"]] = node["status"]
                status = Status(node["status"])
                self._events.announce(row["id"], row["root_id"], node["node_id"], status)
