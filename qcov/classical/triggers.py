"""Triggers: they run a dispatch again whenever something happens.

A trigger is registered with an engine, which keeps it, watches in a process of its own, and goes on
watching when it is started again, until the trigger is stopped.
"""

from __future__ import annotations

import sys
import threading
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from qcov.classical.checks import LONGEST
from qcov.classical.deps import shown
from qcov.classical.engine.address import engine_at
from qcov.classical.manifest import environment
from qcov.classical.watched_path import WatchedPath
from qcov.errors import TriggerFailed, WrongSetting, suggest
from qcov.transport import dumps

__all__ = ["BaseTrigger", "DirTrigger", "TimeTrigger", "stop_triggers"]

_EVENTS = ("created", "deleted", "modified", "moved", "closed")


class BaseTrigger:
    """The base for triggers of your own: define `observe` and `stop`.

    Args:
        lattice_dispatch_id: The dispatch that is run; for a trigger of a lattice, the one that was
            made of it last.
        dispatcher_addr: The address of the server that has this dispatch.
        triggers_server_addr: The address of the server that watches; the same by default.
    """

    #: Whether `observe` returns only when the trigger is to end. If not, it watches elsewhere.
    observe_blocks: bool = True
    #: Covalent's; an engine is always asked over its socket or over HTTP.
    event_loop: Any = None
    use_internal_funcs: bool = False
    #: Whether this is the one that an engine lets watch, rather than one that is fired by hand.
    _watches: bool = False

    def __init__(
        self,
        lattice_dispatch_id: str | None = None,
        dispatcher_addr: str | None = None,
        triggers_server_addr: str | None = None,
    ) -> None:
        self.lattice_dispatch_id = lattice_dispatch_id
        self.dispatcher_addr = dispatcher_addr
        self.triggers_server_addr = triggers_server_addr
        self.stop_flag: threading.Event | None = None
        self._id: str | None = None  # once it is registered
        self._next_id: str | None = None  # the one to be registered under

    def observe(self) -> None:
        """Watch, and call `trigger` whenever it is time. Runs in a process of its own."""
        raise NotImplementedError(f"{type(self).__name__} must define `observe`")

    def stop(self) -> None:
        """End watching; called in another thread while `observe` runs. Nothing by default."""

    def check(self) -> None:
        """Refuse a trigger that cannot watch. Raises `WrongSetting`."""
        if type(self).observe is BaseTrigger.observe:
            raise WrongSetting(
                setting=f"the class {type(self).__name__}",
                got="without it",
                expected="one that defines `observe`",
            )

    def register(self) -> None:
        """Let an engine watch from now on; returns when the trigger is on disk.

        Raises:
            RuntimeError: no dispatch is connected to it.
            DispatchNotFound: there is no such dispatch.
            SerializationError: the trigger cannot be sent to another process.
        """
        self.check()
        connected = self._connected()
        self._id, self._next_id = self._next_id or str(uuid.uuid4()), None
        blob = dumps(self, what=f"the trigger {self!r}")
        self._watcher().register_trigger(
            {
                "id": self._id,
                "dispatch_id": connected,
                "name": type(self).__name__,
                "object": blob,
                "environment": environment([blob]),
                "elsewhere": self._elsewhere(),
            }
        )

    def register_with(self, dispatch_id: str, place: int, dispatcher_addr: str | None) -> None:
        """Let an engine watch for a dispatch of a lattice that has this trigger; once for each.

        Args:
            dispatch_id: The dispatch.
            place: Which of the lattice's triggers it is.
            dispatcher_addr: The address of the server that has the dispatch, unless it has its own.
        """
        self.lattice_dispatch_id = dispatch_id
        self.dispatcher_addr = self.dispatcher_addr or dispatcher_addr
        self._next_id = str(uuid.uuid5(uuid.UUID(dispatch_id), f"trigger {place}"))
        self.register()

    def trigger(self) -> None:
        """Run the connected dispatch: itself, if it waits to be started, else once more.

        Raises:
            RuntimeError: no dispatch is connected to it.
        """
        engine = engine_at(self.dispatcher_addr)
        of_trigger = None if self._elsewhere() else self._id
        try:
            made = engine.rerun(self._connected(), of_trigger, watching=self._watches)
        except TriggerFailed as error:  # it was stopped: `observe` comes to its end by itself
            sys.stderr.write(f"{error}\n")
            return
        if self._elsewhere() and self._id is not None:
            self._watcher().call("note_fired", trigger_id=self._id, dispatch_id=made)

    def _trigger_or_tell(self) -> None:
        """A run that cannot be started is told of, in the engine's log; the next one may be."""
        try:
            self.trigger()
        except Exception as error:  # noqa: BLE001  # a `trigger` of the user's own may raise anything
            sys.stderr.write(f"{type(error).__name__}: {error}\n")

    @property
    def new_dispatch_ids(self) -> list[str]:
        """The dispatches that it has started, oldest first; without those removed since."""
        if self._id is None:
            return []
        runs = self._watcher().call("trigger_runs", trigger_id=self._id)
        return [run["dispatch_id"] for run in runs]

    def to_dict(self) -> dict[str, Any]:
        """Its class's name and its attributes."""
        hidden = ("stop_flag", "event_loop")
        attributes = {
            name: value
            for name, value in vars(self).items()
            if name not in hidden and not name.startswith("_")
        }
        return {"name": type(self).__name__, **attributes}

    def _connected(self) -> str:
        if self.lattice_dispatch_id is None:
            raise RuntimeError(
                f"{self!r} is connected to no dispatch: give it lattice_dispatch_id, or dispatch a "
                "lattice that has it"
            )
        return self.lattice_dispatch_id

    def _watcher(self) -> Any:
        return engine_at(self.triggers_server_addr or self.dispatcher_addr)

    def _elsewhere(self) -> bool:
        """True if one engine watches, and another one has the dispatch."""
        return (self.triggers_server_addr or self.dispatcher_addr) != self.dispatcher_addr

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "stop_flag"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, stop_flag=None)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of dispatch {self.lattice_dispatch_id}>"


class TimeTrigger(BaseTrigger):
    """Runs a dispatch every `time_gap` seconds, the first time after that many.

    It does not wait for the run before: those that take longer than `time_gap` overlap.

    Args:
        time_gap: Seconds, above 0.
        lattice_dispatch_id: As for `BaseTrigger`.
        dispatcher_addr: As for `BaseTrigger`.
        triggers_server_addr: As for `BaseTrigger`.

    >>> TimeTrigger(60).to_dict()["time_gap"]
    60
    """

    def __init__(
        self,
        time_gap: float,
        lattice_dispatch_id: str | None = None,
        dispatcher_addr: str | None = None,
        triggers_server_addr: str | None = None,
    ) -> None:
        super().__init__(lattice_dispatch_id, dispatcher_addr, triggers_server_addr)
        if isinstance(time_gap, bool) or not isinstance(cast("object", time_gap), (int, float)):
            raise _wrong_gap(time_gap)
        if not 0 < time_gap <= LONGEST:
            raise _wrong_gap(time_gap)
        self.time_gap = time_gap

    def observe(self) -> None:
        """Call `trigger` every `time_gap` seconds until it is stopped."""
        self.stop_flag = threading.Event()
        while not self.stop_flag.wait(self.time_gap):
            self._trigger_or_tell()

    def stop(self) -> None:
        """End watching."""
        if self.stop_flag is not None:
            self.stop_flag.set()


class DirTrigger(BaseTrigger):
    """Runs a dispatch when something happens in a folder, or to a file.

    Args:
        dir_path: The folder or file, on the machine of the engine that watches.
        event_names: What counts: some of `"created"`, `"deleted"`, `"modified"`, `"moved"` and
            `"closed"` (a file that was open for writing).
        batch_size: How many events make one run.
        lattice_dispatch_id: As for `BaseTrigger`.
        dispatcher_addr: As for `BaseTrigger`.
        triggers_server_addr: As for `BaseTrigger`.
        recursive: Whether folders below count too.

    A folder that is removed and made again, or a file that is replaced, is watched again within a
    second or two; what is in the folder then counts as created. What happens while no engine runs
    is not noticed, and a batch that was not full by then begins anew.

    >>> DirTrigger("/tmp", ["created"], batch_size=10).event_names
    ['created']
    """

    observe_blocks = False

    def __init__(  # noqa: PLR0917
        self,
        dir_path: str | Path,
        event_names: str | Iterable[str],
        batch_size: int = 1,
        lattice_dispatch_id: str | None = None,
        dispatcher_addr: str | None = None,
        triggers_server_addr: str | None = None,
        recursive: bool = False,
    ) -> None:
        super().__init__(lattice_dispatch_id, dispatcher_addr, triggers_server_addr)
        names = [event_names] if isinstance(event_names, str) else list(event_names)
        for name in names:
            if name not in _EVENTS:
                hint = suggest(str(name), _EVENTS).removesuffix(".")
                got = f"{shown(name)} among them. {hint}"
                raise WrongSetting(setting="event_names", got=got, expected="names of events")
        if not names:
            raise WrongSetting(setting="event_names", got="empty", expected="names of events")
        if type(batch_size) is not int or batch_size < 1:
            raise WrongSetting(
                setting="batch_size", got=repr(batch_size), expected="a whole number above 0"
            )
        self.dir_path = str(Path(dir_path).expanduser().absolute())
        self.event_names = names
        self.batch_size = batch_size
        self.recursive = recursive
        self.n_changes = 0  #: events since it was last triggered
        self._watched: WatchedPath | None = None
        self._handler: Any = None

    def attach_methods_to_handler(self) -> None:
        """Let those events that are asked for be counted."""
        from watchdog.events import FileSystemEventHandler

        self._handler = FileSystemEventHandler()
        for name in self.event_names:
            setattr(self._handler, f"on_{name}", self._on_event)

    def observe(self) -> None:
        """Start watching; events are counted in another thread.

        Raises:
            WrongSetting: the folder or file does not exist here.
        """
        if not Path(self.dir_path).exists():
            raise WrongSetting(
                setting="dir_path",
                got=f"{self.dir_path!r}, which is not there",
                expected="a folder",
            )
        self.attach_methods_to_handler()
        self._watched = WatchedPath(self.dir_path, self._handler, recursive=self.recursive)
        self._watched.start()

    def stop(self) -> None:
        """End watching."""
        if self._watched is not None:
            self._watched.stop()

    def _on_event(self, event: Any) -> None:
        if event.is_directory and event.event_type == "modified":
            return  # something in it has changed: that is an event of its own
        self.n_changes += 1
        if self.n_changes == self.batch_size:
            self.n_changes = 0
            self._trigger_or_tell()


def stop_triggers(
    dispatch_ids: str | Iterable[str], triggers_server_addr: str | None = None
) -> None:
    """Stop all triggers of dispatches; those that they have started go on.

    They start nothing more when it returns. A `stop` of your own that takes longer than 10 s is
    not waited for.

    Args:
        dispatch_ids: One id, or several.
        triggers_server_addr: The address of the server that watches; by default the engine of this
            user's data folder.

    Raises:
        DispatchNotFound: a dispatch is not known, and has no triggers.
    """
    ids = [dispatch_ids] if isinstance(dispatch_ids, str) else list(dispatch_ids)
    if not all(isinstance(cast("object", each), str) for each in ids):
        raise WrongSetting(setting="dispatch_ids", got=shown(dispatch_ids), expected="ids")
    engine_at(triggers_server_addr).call("stop_triggers", dispatch_ids=ids)


def _wrong_gap(value: object) -> WrongSetting:
    return WrongSetting(
        setting="time_gap",
        got=shown(value),
        expected=f"a number of seconds above 0, at most {LONGEST:g}",
    )
