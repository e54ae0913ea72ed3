"""Bars that say how far something is, for people who wait for it.

A bar comes after a second, goes when what it tells of has ended, and is drawn by a thread of its
own: a call that ends sooner pays for the start of that thread, and only where somebody looks at a
terminal or a notebook. Elsewhere (pipes, electrons, CI) it pays for one question.
"""

from __future__ import annotations

import contextlib
import contextvars
import importlib
import os
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from html import escape
from typing import Any, Protocol

from qcov.config import get_config
from qcov.context import get_context
from qcov.errors import QcovError
from qcov.inert import inert

#: Gives how much is done, of how much, again and again until there is no more to tell.
Look = Callable[[], Iterator[tuple[int, int]]]

AFTER = 1.0  # seconds before a bar comes
PACE = 0.2  # seconds between two looks
_NO = ("0", "false", "no", "off")


class Bar(Protocol):
    """Something that is shown."""

    stays: bool  #: whether something of it is left when it is closed

    def update(self, done: int, total: int) -> None:
        """Show that."""
        ...

    def close(self) -> None:
        """Show nothing more."""
        ...


@contextlib.contextmanager
def shown(name: str, look: Look, wanted: bool | None = None) -> Generator[None, None, None]:
    """Show a bar while the block runs, if that takes long.

    Args:
        name: What people call it.
        look: Called in another thread.
        wanted: What the caller was asked for; None to go by settings and surroundings.
    """
    if not is_wanted(wanted):
        yield
        return
    showing = Showing(name, look)
    try:
        yield
    finally:
        showing.close()


def is_wanted(wanted: bool | None) -> bool:
    """Whether to show bars here: where somebody looks, and nobody has said no.

    >>> is_wanted(False)
    False
    """
    if wanted is False or not (_is_terminal() or _kernel() is not None):
        return False
    if get_context() is not None or threading.current_thread() is not threading.main_thread():
        return False  # in an electron; or there may be several at once, and one line for them
    return wanted is True or _is_usual()


def _is_usual() -> bool:
    """What the variables and settings say."""
    if (told := os.environ.get("QCOV_PROGRESS")) is not None:
        return told.lower() not in _NO
    return not os.environ.get("CI") and bool(get_config("sdk.progress"))


def _is_terminal() -> bool:
    try:
        return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):  # there is none, or it was closed
        return False


def _kernel() -> Any:
    """The notebook that we are in; None elsewhere."""
    ipython: Any = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell if hasattr(shell, "kernel") else None


class Showing:
    """A bar that comes after a second."""

    def __init__(self, name: str, look: Look) -> None:
        self._name, self._look = name, look
        self._bar: Bar | None = None
        self._lock = threading.Lock()
        self._over = threading.Event()
        # A notebook knows by the context which cell something belongs to.
        run = contextvars.copy_context().run
        threading.Thread(target=run, args=(self._show,), name="qcov-progress", daemon=True).start()

    def _show(self) -> None:
        if self._over.wait(AFTER):
            return
        with contextlib.suppress(QcovError):  # whoever waits is told of it
            for done, total in self._look():
                if not self._update(done, total) or self._over.wait(PACE):
                    return

    def _update(self, done: int, total: int) -> bool:
        with self._lock:
            if self._over.is_set():
                return False
            if self._bar is None:
                self._bar = NotebookBar(self._name) if _kernel() else terminal_bar(self._name)
            self._bar.update(done, total)
            return True

    def close(self) -> None:
        """Take the bar away; nothing is shown after that."""
        self._over.set()
        with self._lock:
            if self._bar is not None:
                if self._bar.stays:
                    with contextlib.suppress(QcovError):
                        self._bar.update(*next(self._look()))
                self._bar.close()
                self._bar = None


def terminal_bar(name: str, console: Any = None) -> Bar:
    """A bar on standard error, or another console of rich's; it leaves nothing behind."""
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
    )
    console = console or Console(stderr=True)
    return _TerminalBar(inert(name), progress.Progress(*columns, console=console, transient=True))


class _TerminalBar:
    stays = False

    def __init__(self, name: str, drawn: Any) -> None:
        self._name, self._drawn, self._task = name, drawn, None

    def update(self, done: int, total: int) -> None:
        if self._task is None:
            self._task = self._drawn.add_task(self._name, completed=done, total=total)
            self._drawn.start()
        self._drawn.update(self._task, completed=done, total=total)

    def close(self) -> None:
        self._drawn.stop()


class NotebookBar:
    """A bar in the output of a cell; text stays there when it is over."""

    stays = True

    def __init__(self, name: str) -> None:
        self._name = escape(inert(name))
        self._done, self._total = 0, 0
        self._shown: Any = None

    def update(self, done: int, total: int) -> None:
        """Show that."""
        self._done, self._total = done, total
        bar = f'<progress value="{done}" max="{max(total, 1)}"></progress>'
        self._show(f"{bar} {self._name}: {done} of {total}")

    def close(self) -> None:
        """Leave a line."""
        self._show(f"{self._name}: {self._done} of {self._total}")

    def _show(self, html: str) -> None:
        display: Any = importlib.import_module("IPython.display")
        content = display.HTML(f"<div>{html}</div>")
        if self._shown is None:
            self._shown = display.display(content, display_id=True)
        else:
            self._shown.update(content)
