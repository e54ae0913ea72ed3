"""A folder or file that is watched, also after it was removed and made again.

The system watches what stands at a path, not the path: of a folder that was made anew, or of a file
that an editor has replaced, it says nothing. So somebody looks whether it is still the same.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any

_LOOK_EVERY = 1.0  # seconds
_TWICE = 10.0  # seconds: by then the system has told what was found meanwhile


class WatchedPath:
    """Tells a handler of watchdog's what happens at a path; events come in one thread.

    Args:
        path: What is watched; it must exist.
        handler: Who is told.
        recursive: Whether folders below count too.
    """

    def __init__(self, path: str, handler: Any, *, recursive: bool) -> None:
        from watchdog.observers import Observer

        self._path, self._recursive = Path(path), recursive
        self._handler = _Once(handler)
        self._observer: Any = Observer()
        self._stopped = threading.Event()
        self._identity: tuple[int, int] | None = None

    def start(self) -> None:
        """Watch from now on."""
        self._schedule()
        self._observer.start()
        threading.Thread(target=self._look_again, name="qcov-look", daemon=True).start()

    def stop(self) -> None:
        """End watching."""
        self._stopped.set()
        self._observer.stop()

    def _schedule(self) -> None:
        found = self._path.stat()
        self._observer.schedule(self._handler, str(self._path), recursive=self._recursive)
        self._identity = found.st_dev, found.st_ino

    def _look_again(self) -> None:
        while not self._stopped.wait(_LOOK_EVERY):
            try:
                if self._is_another():
                    self._watch_anew()
            except OSError as error:  # it has gone again, or cannot be read; the next look may work
                sys.stderr.write(f"{self._path} cannot be watched: {error}\n")

    def _is_another(self) -> bool:
        """True if something stands there that is not watched."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return False
        # a number that has become free is given again: what was removed is known by its emitter
        watching = [emitter.should_keep_running() for emitter in self._observer.emitters]
        return (found.st_dev, found.st_ino) != self._identity or not (watching and all(watching))

    def _watch_anew(self) -> None:
        """Watch what stands there now; what is in it already counts as created."""
        from watchdog.events import DirCreatedEvent, FileCreatedEvent, FileModifiedEvent

        self._handler.expect()
        self._observer.unschedule_all()
        self._schedule()
        (emitter,) = self._observer.emitters
        if not self._path.is_dir():
            emitter.queue_event(FileCreatedEvent(str(self._path)))
            emitter.queue_event(FileModifiedEvent(str(self._path)))
            return
        for path in sorted(self._path.rglob("*") if self._recursive else self._path.iterdir()):
            kind = DirCreatedEvent if path.is_dir() else FileCreatedEvent
            emitter.queue_event(kind(str(path)))


class _Once:
    """Hands events on; of what is found and reported at the same time, one creation only."""

    def __init__(self, handler: Any) -> None:
        self._handler = handler
        self._created: set[str] = set()
        self._until = 0.0

    def expect(self) -> None:
        """For a while, the same creation may be told twice."""
        self._created, self._until = set(), time.monotonic() + _TWICE

    def dispatch(self, event: Any) -> None:
        """Take an event of watchdog's."""
        if time.monotonic() < self._until:
            if event.event_type in ("deleted", "moved"):
                self._created.discard(event.src_path)
            elif event.event_type == "created":
                if event.src_path in self._created:
                    return
                self._created.add(event.src_path)
        self._handler.dispatch(event)
