"""A bar that shows how many futures are done."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from qcov.quantum.futures import CircuitFuture


def show_progress(
    futures: Sequence[CircuitFuture], name: str, console: Console | None = None
) -> None:
    """Show a bar until all futures are done; nothing where nobody looks at a terminal.

    Futures that wait to be bound run now.
    """
    console = console or Console(stderr=True)
    if not futures or not (console.is_terminal or console.is_jupyter):
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    bar = Progress(*columns, TimeRemainingColumn(elapsed_when_finished=True), console=console)
    task = bar.add_task(name, total=len(futures))
    left, lock = [len(futures)], threading.Lock()

    def advance(_future: object) -> None:
        bar.advance(task)
        with lock:
            left[0] -= 1
            last = left[0] == 0
        if last:
            bar.stop()

    bar.start()
    for future in futures:
        future.add_done_callback(advance)
