"""Named points in qcov's processes where they may be told to kill themselves.

Nothing of this is in qcov. The client of a round starts its engine through `engine()`, and that its
zygotes through `zygote()`; both put subclasses and wrappers in place of a few of qcov's own names,
then go on as qcov does. Every process looks for the round's order at each point that it reaches.
"""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chaos import faults, journal

_HERE = str(Path(__file__).parents[1])
_PATH = f"import sys; sys.path.append(sys.argv.pop(1)); sys.path.append({_HERE!r}); "
#: As qcov's own, it goes on in a child whose parent ends at once.
ENGINE = f"import os; os.fork() and os._exit(0); {_PATH}from chaos.points import engine; engine()"
ZYGOTE = (
    f"import sys; sys.path.append(sys.argv[2]); sys.path.append({_HERE!r}); "
    "from chaos.points import zygote; zygote(int(sys.argv[1]))"
)

#: What is committed, and about how many transactions of an undisturbed round have some of it.
_KINDS = {
    "dispatch": 10, "dispatch_started": 10, "node_child": 8, "node_printed": 8, "node_requeued": 7,
    "node_started": 17, "node_finished": 60, "node_status": 10, "dispatch_status": 2,
    "dispatch_ended": 7,
}  # fmt: skip
#: Every point: who passes it, and about how often.
POINTS = {
    **{
        f"{when} {kind}": ("engine", often)
        for kind, often in _KINDS.items()
        for when in ("before", "inside", "after")
    },
    "folder owned": ("engine", 1),
    "store opened": ("engine", 1),
    "dispatches recovered": ("engine", 1),
    "engine announced": ("engine", 1),
    "fork asked for": ("zygote", 2),
    "worker forked": ("zygote", 2),
    "electron taken": ("worker", 100),
    "electron ran": ("worker", 100),
    "outcome sent": ("worker", 100),
    "file drafted": ("worker", 5),
    "file named": ("worker", 5),
    "submit begun": ("client", 3),
    "submit sent": ("client", 3),
    "submit answered": ("client", 3),
    "cancel sent": ("client", 1),
}

_reached: Counter[str] = Counter()
_role = "client"


def order(folder: Path, point: str, count: int) -> None:
    """Tell whoever passes `point` for the `count`th time, or later, to kill itself; once."""
    draft = folder / ".order"
    draft.write_text(json.dumps({"role": POINTS[point][0], "point": point, "count": count}))
    draft.replace(folder / "order")


def reach(point: str) -> None:
    """Die here if that was ordered."""
    _reached[point] += 1
    path = journal.folder() / "order"
    try:
        wanted = json.loads(path.read_text())
        if (wanted["role"], wanted["point"]) != (_role, point) or _reached[point] < wanted["count"]:
            return
        path.unlink()  # whoever can is the one
    except FileNotFoundError:
        return
    journal.note("killed", _role, point)
    os.kill(os.getpid(), signal.SIGKILL)


def engine() -> None:
    """Run an engine, as `qcov.classical.engine.process.main` does, with points."""
    global _role
    from qcov.classical.engine import process, runner, spawn
    from qcov.store import sqlite, store

    _role = "engine"
    journal.note("engine", os.getpid())
    spawn._BOOT = ZYGOTE
    store.Writer = _watched_writer()  # type: ignore[misc]
    sqlite._PRAGMAS = (*sqlite._PRAGMAS, f"wal_autocheckpoint={os.environ['QCOV_CHAOS_PAGES']}")
    if faults.ordered():
        faults.in_engine()
    _after(process.Ownership, "acquire", "folder owned")
    _after(process.Engine, "__init__", "store opened")
    _after(runner.Runner, "recover", "dispatches recovered")
    _after(process.EngineProcess, "_announce", "engine announced")
    process.main()


def zygote(descriptor: int) -> None:
    """Run a zygote whose workers have points."""
    global _role
    from qcov.classical.engine import worker
    from qcov.classical.engine import zygote as module

    _role = "zygote"
    _before(module.Zygote, "_fork", "fork asked for")
    _after(module.Zygote, "_fork", "worker forked")
    become = module.Zygote._become_worker

    def as_worker(*args: Any) -> None:
        global _role
        _role = "worker"
        become(*args)

    module.Zygote._become_worker = as_worker  # type: ignore[method-assign]
    _before(worker.Worker, "_run", "electron taken")
    _after(worker.Worker, "_run", "electron ran")
    _after(worker.Worker, "_send", "outcome sent")
    watch_files()
    if faults.ordered():
        faults.in_files()
    module.main(descriptor)


def client() -> None:
    """Let this program's engines have points, and this program too."""
    from qcov.classical.engine import client as module

    module._BOOT = ENGINE
    call, receive = module.Client.call, module.Client._receive
    asked = ""

    def watched_call(self: Any, verb: str, **arguments: Any) -> Any:
        nonlocal asked
        asked = verb
        if verb == "submit":
            reach("submit begun")
        value = call(self, verb, **arguments)
        if verb == "submit":
            reach("submit answered")
        return value

    def watched_receive(self: Any, **about: Any) -> Any:
        if asked in ("submit", "cancel"):
            reach(f"{asked} sent")
        return receive(self, **about)

    module.Client.call = watched_call  # type: ignore[method-assign]
    module.Client._receive = watched_receive  # type: ignore[method-assign]


def watch_files() -> None:
    """Points around the moment in which a large payload gets its name."""
    replace = Path.replace

    def watched(self: Path, target: Any) -> Path:
        if self.parent.parent.name != "blobs":
            return replace(self, target)
        reach("file drafted")
        path = replace(self, target)
        reach("file named")
        return path

    Path.replace = watched  # type: ignore[method-assign]


def _before(owner: type, name: str, point: str) -> None:
    method: Callable[..., Any] = getattr(owner, name)

    def watched(*args: Any, **kwargs: Any) -> Any:
        reach(point)
        return method(*args, **kwargs)

    setattr(owner, name, watched)


def _after(owner: type, name: str, point: str) -> None:
    method: Callable[..., Any] = getattr(owner, name)

    def watched(*args: Any, **kwargs: Any) -> Any:
        value = method(*args, **kwargs)
        reach(point)
        return value

    setattr(owner, name, watched)


def _watched_writer() -> type:
    """A writer that notes what it has committed, and has points around and in its transactions."""
    from qcov.store.changes import merge
    from qcov.store.writer import Writer

    class Watched(Writer):
        def _write(self, group: Any) -> Any:
            if not isinstance(self._connection, _Connection):
                self._connection = _Connection(self._connection)  # type: ignore[assignment]
            changes = merge([request.changes for request in group])
            self._connection.kinds = list(changes)  # type: ignore[attr-defined]
            for kind in changes:
                reach(f"before {kind}")
            lost = super()._write(group)
            written = (each for each in group if lost.isdisjoint(each.epochs.items()))
            _note_committed(merge([request.changes for request in written]))
            for kind in changes:
                reach(f"after {kind}")
            return lost

    return Watched


def _note_committed(changes: Any) -> None:
    for row in changes.get("dispatch", ()):
        journal.note("stored", row["id"])
    for row in changes.get("node_child", ()):
        journal.note("child", row["of_dispatch"], row["of_node"], row["new_sub_dispatch_id"])
    for row in changes.get("node_finished", ()):
        key = row["of_dispatch"], row["of_node"]
        journal.note("ended", *key, row["new_status"], row["new_output"])
    for row in changes.get("node_status", ()):
        if row["new_status"] == "CANCELLED":
            journal.note("ended", row["of_dispatch"], row["of_node"], "CANCELLED", None)
    for row in changes.get("dispatch_ended", ()):
        journal.note("over", row["of_dispatch"], row["new_status"], row["new_result"])


class _Connection:
    """A database connection with a point between a transaction's statements and its commit."""

    def __init__(self, real: Any) -> None:
        self.real = real
        self.kinds: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def cursor(self) -> _Cursor:
        return _Cursor(self.real.cursor(), self.kinds)


class _Cursor:
    def __init__(self, real: Any, kinds: list[str]) -> None:
        self.real, self.kinds = real, kinds

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def execute(self, statement: str, *parameters: Any) -> None:
        if statement == "COMMIT":
            for kind in self.kinds:
                reach(f"inside {kind}")
        if statement != "ROLLBACK" and faults.ordered():
            faults.perhaps_refuse()
        self.real.execute(statement, *parameters)

    def executemany(self, statement: str, rows: Any) -> None:
        if faults.ordered():
            faults.perhaps_refuse()
        self.real.executemany(statement, rows)
