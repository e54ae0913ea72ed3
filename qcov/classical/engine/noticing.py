"""Events that follow from what an engine writes: circuits that ended, and what triggers do.

Thousands of circuits end in a second. What comes within half a second is told at once, when it is
on the disk: whoever hears of it can read it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from qcov.classical.engine.events import Events
from qcov.store.changes import Changes

_GATHERING = 0.5  # seconds


class Noticing:
    """Looks at changes, and tells what is in them.

    Args:
        events: Who is told.
        root_of: Says what a dispatch that runs is a part of.
        after: Calls what it is given once all that was noted is on the disk.
    """

    def __init__(
        self,
        events: Events,
        root_of: Callable[[str], str],
        after: Callable[[Callable[[], None]], None],
    ) -> None:
        self._events, self._root_of, self._after = events, root_of, after
        self._loop = asyncio.get_running_loop()
        self._circuits: Counter[tuple[str, str, int]] = Counter()  # by root, dispatch and node
        self._triggers: dict[str, str] = {}

    def note(self, changes: Changes) -> None:
        """Changes are on their way to the disk."""
        waiting = bool(self._circuits or self._triggers)
        for row in changes.get("circuit", ()):
            dispatch = row["dispatch_id"]
            self._circuits[self._root_of(dispatch), dispatch, row["node_id"]] += 1
        for row in changes.get("trigger", ()):
            self._triggers[row["id"]] = row["status"]
        for row in changes.get("trigger_ended", ()):
            self._triggers[row["of_trigger"]] = row["new_status"]
        for row in changes.get("trigger_fired", ()):
            self._triggers[row["trigger_id"]] = "FIRED"
        if not waiting and (self._circuits or self._triggers):
            self._loop.call_later(_GATHERING, self._tell)

    def _tell(self) -> None:
        circuits, self._circuits = self._circuits, Counter()
        triggers, self._triggers = self._triggers, {}
        self._after(lambda: self._tell_of(circuits, triggers))

    def _tell_of(self, circuits: Counter[tuple[str, str, int]], triggers: dict[str, str]) -> None:
        for (root, dispatch, node), count in circuits.items():
            self._events.tell("circuits", dispatch=dispatch, root=root, node=node, count=count)
        for trigger, what in triggers.items():
            self._events.tell("triggers", trigger=trigger, what=what)
