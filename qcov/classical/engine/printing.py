"""What electrons print, for those who watch.

While an electron runs, the file that its worker prints to is read whenever somebody looks: nothing
is sent, kept or copied for the many that nobody looks at. Once it has ended, the store has it all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from qcov.classical.engine.runner import Runner
from qcov.classical.engine.streams import Part
from qcov.classical.status import Status
from qcov.errors import NodeNotFound

STORED = "stored"  #: the source of all that a node has printed until its latest attempt began
_LOOK_AGAIN = 0.1  # seconds, while somebody watches


@dataclass(frozen=True, slots=True, kw_only=True)
class Printed:
    """What came since somebody looked last.

    Args:
        source: What positions count in: the attempt that runs, or what is stored.
        status: The node's.
        parts: Of standard output and of standard error.
    """

    source: str
    status: str
    parts: Sequence[Part]


class Printing:
    """Looks at the streams of electrons.

    Args:
        runner: What runs them.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner, self._store = runner, runner.store
        self._loop = asyncio.get_running_loop()

    async def streams(
        self,
        dispatch_id: str,
        node_id: int,
        *,
        source: str = "",
        after: Sequence[int] = (0, 0),
        timeout: float = 0.0,
    ) -> Printed:
        """What a node has printed after two positions in a source.

        Of another source than the one that is meant, all is given. If nothing new is there, it is
        waited for, for `timeout` seconds, or until the node has ended. Raises `NodeNotFound`.
        """
        until = self._loop.time() + timeout
        while True:
            seen = self._runner.events.number
            printed = self._live(dispatch_id, node_id, source, after)
            if printed is None:
                printed = await self._stored(dispatch_id, node_id, source, after)
            while _is_old(printed, source) and self._loop.time() < until:
                await asyncio.sleep(_LOOK_AGAIN)
                live = self._live(dispatch_id, node_id, source, after)
                if live is not None:
                    printed = live
                elif printed.source != STORED or self._runner.events.number != seen:
                    break  # it has ended, or something has happened
            else:
                return printed

    def _live(
        self, dispatch_id: str, node_id: int, source: str, after: Sequence[int]
    ) -> Printed | None:
        link = self._runner.running(dispatch_id, node_id)
        if link is None:
            return None
        name = _attempt(link.tasks[0].key[2])
        parts = link.process.glance(after if source == name else (0, 0))
        return Printed(source=name, status=Status.RUNNING.value, parts=parts)

    async def _stored(
        self, dispatch_id: str, node_id: int, source: str, after: Sequence[int]
    ) -> Printed:
        rows = await self._runner.read(lambda: self._store.get_nodes(dispatch_id, node_id=node_id))
        if not rows:
            await self._runner.read(self._store.status, dispatch_id)  # or there is no dispatch
            raise NodeNotFound(dispatch_id=dispatch_id, node_id=node_id)
        [row] = rows
        if source == _attempt(row["attempt"]) and not Status.is_terminal(row["status"]):
            # It has just ended: what it printed is not stored yet.
            return Printed(
                source=source, status=row["status"], parts=[_nothing(at) for at in after]
            )
        places = after if source == STORED else (0, 0)
        texts = (row["stdout"] or "", row["stderr"] or "")
        parts = [_rest(text, at) for text, at in zip(texts, places, strict=True)]
        return Printed(source=STORED, status=row["status"], parts=parts)


def _attempt(number: int) -> str:
    return f"attempt {number}"


def _nothing(after: int) -> Part:
    return Part(start=after, end=after, text="")


def _rest(text: str, after: int) -> Part:
    start = min(max(0, after), len(text))
    return Part(start=start, end=len(text), text=text[start:])


def _is_old(printed: Printed, source: str) -> bool:
    """Whether it tells nothing new, but may yet."""
    known = printed.source == source and not any(part.text for part in printed.parts)
    return known and not Status.is_terminal(printed.status)
