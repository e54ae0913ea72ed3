"""A bar that shows how many futures are done, and goes by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from qcov.progress import Showing, is_wanted
from qcov.quantum.futures import CircuitFuture, counted


def show_progress(futures: Sequence[CircuitFuture], name: str) -> None:
    """Show a bar until all futures are done; nothing where nobody looks at a terminal or notebook.

    Futures that wait to be bound run now.
    """
    if futures and is_wanted(True):
        for future in futures:
            future.start()
        UntilDone(futures, name)


class UntilDone:
    """A bar that goes when the last of the futures is done."""

    def __init__(self, futures: Sequence[CircuitFuture], name: str) -> None:
        self._futures = futures
        self._showing = Showing(name, self._look)

    def _look(self) -> Iterator[tuple[int, int]]:
        yield from counted(self._futures)
        self._showing.close()
