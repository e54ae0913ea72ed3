"""What runs in a worker: load an electron, run it, report what came of it.

A worker runs one electron at a time in its main thread. A second thread takes what the engine
sends, so that electrons can be handed over ahead of time and taken back again, and reports what a
long electron has printed and which circuits it has run so far. When the engine is gone, the worker
ends, and everything that it started.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from qcov import records
from qcov.classical.engine.bundles import STEPS
from qcov.classical.engine.channel import BlockingChannel, Message
from qcov.classical.engine.functions import Functions
from qcov.classical.engine.hosting import Hosted, Watching
from qcov.classical.engine.imported import ImportedModules
from qcov.classical.engine.streams import Streams
from qcov.classical.engine.telling import describe
from qcov.classical.executors.base import append_streams
from qcov.classical.executors.registry import executor_from
from qcov.classical.forked import OnlyParent
from qcov.classical.graph import Recipe, assembled
from qcov.classical.plain_values import says_it_all
from qcov.classical.prepared import Prepared, Step, called, told_of
from qcov.config import get_config
from qcov.context import Context, running
from qcov.errors import EngineError, StoreUnavailable
from qcov.records import Sink, collecting
from qcov.store.blobs import INLINE_LIMIT, Payloads, open_payloads, spill, variables_for
from qcov.tracing import below
from qcov.transport import address, dumps, loads, shorten

if TYPE_CHECKING:
    from qcov.classical.code_key import Keys

_AGAIN_AFTER = 0.5  # seconds between tries while the disk is full, or the server away
_REPORT_EVERY = 0.25  # seconds, while an electron runs
_RESTS = 0.5  # seconds without an electron, after which there is time to tidy up

_T = TypeVar("_T")


class Worker:
    """One worker process.

    Args:
        channel: The way to the engine.
        streams: Where what electrons print goes.
        payloads: Where large payloads are.
        cores: How many cores its electrons may use.
        home: The folder that electrons run in.
        hurried: Whether to begin even with modules that were changed since they were imported.
    """

    def __init__(
        self,
        channel: BlockingChannel,
        streams: Streams,
        *,
        modules: ImportedModules,
        payloads: Payloads,
        cores: int,
        home: str,
        hurried: bool,
    ) -> None:
        self._channel = channel
        self._streams = streams
        self._payloads = payloads
        self._cores = cores
        self._home = home
        self._variables, self._path = dict(os.environ), list(sys.path)
        self._functions = Functions(self._read)
        self._waiting: deque[Message] = deque()
        self._changed = threading.Condition()
        self._current: _Running | None = None
        self._busy = False
        self._modules = modules
        self._fresh, self._hurried = True, hurried
        self._dispatch: str | None = None
        self._keys: Keys | None = None
        records.on_trouble(lambda about: channel.send({"did": "trouble", **about}))

    def serve(self) -> None:
        """Run electrons until the engine is gone."""
        threading.Thread(target=self._listen, name="qcov-channel", daemon=True).start()
        streams = self._streams
        self._channel.send({"did": "ready"})
        while True:
            self._run_next(streams)

    # -- the main thread

    def _run_next(self, streams: Streams) -> None:
        task = self._next()
        if self._outdated(task):
            # one that has run nothing has all that is old from the process that it was forked from
            self._leave({"did": "leave", "fresh": self._fresh})
        if reason := self._lacks_home(task):
            self._leave({"did": "stranded", "reason": reason})
        self._fresh = False
        with collecting() as sink:
            streams.begin()
            current = self._current = _Running(task, streams, sink)
            began = time.time_ns()
            outcome = self._run(task)
            self._modules.note(began)
            if not self._modules.older_than(task.get("keyed", began)):
                outcome["newer"] = True  # than the key of what it has computed
            with self._changed:
                self._current, self._busy = None, False
                outcome |= current.take(final=True)
        if "logs" in task:
            outcome["stderr"] += _write_logs(current)
        self._send(outcome)

    def _next(self) -> Message:
        """Wait for an electron; a while without any is the time to tidy up."""
        while True:
            rest = _RESTS if self._functions.garbage else None
            with self._changed:
                if self._changed.wait_for(lambda: bool(self._waiting), rest):
                    self._busy = True  # before the other thread looks
                    return self._waiting.popleft()
            self._functions.collect()

    def _send(self, outcome: Message) -> None:
        try:
            self._channel.send(outcome)
        except (TypeError, ValueError, OverflowError) as error:  # there is no message for it
            reduced = {name: outcome[name] for name in ("did", "task", "started", "ended", "read")}
            reduced |= {name: outcome[name] for name in ("stdout", "stderr")}
            self._channel.send(reduced | {"status": "FAILED", "error": describe(error)})

    def _outdated(self, task: Message) -> bool:
        """True if a module that this process has imported was changed on disk since.

        A user edits a module, or installs a package, and runs the script again: an old copy in a
        warm worker would give the old answer. One look per dispatch is enough.
        """
        if self._dispatch == task["task"][0]:
            return False
        self._dispatch, self._keys = task["task"][0], None  # which has read the files of modules
        self._functions.begin()
        return self._modules.changed() and not (self._fresh and self._hurried)

    def _lacks_home(self, task: Message) -> str:
        """Go to where the program ran; why that cannot be, if an electron needs it."""
        return "" if task["workdir"] else _entered(self._home)

    def _leave(self, message: Message) -> None:
        """Give everything back; the engine hangs up, and that ends this process."""
        self._channel.send(message)
        while True:
            signal.pause()

    def _run(self, task: Message) -> Message:
        started = time.time()
        outcome: Message = {"did": "outcome", "task": task["task"], "started": started}
        dispatch_id, node_id, _ = task["task"]
        context = Context(
            dispatch_id=dispatch_id, node_id=node_id, electron=task["name"], cores=self._cores,
            traceparent=task.get("traceparent"),
        )  # fmt: skip
        try:
            with running(context), below(context.traceparent):
                try:
                    with OnlyParent():
                        outcome |= self._compute(task)
                finally:  # circuits that nobody waited for are this electron's, not the next one's
                    records.finish()
        except BaseException as error:  # noqa: BLE001  # an electron may raise anything, SystemExit too
            outcome |= {"status": "FAILED", "error": describe(error)}
        return outcome | {"ended": time.time()}

    def _compute(self, task: Message) -> Message:
        blobs = task["blobs"]
        self._restore()
        if task["workdir"]:
            os.chdir(task["workdir"])
        if task["kind"] == "trigger":
            return self._observe(task)
        if task["kind"] == "result":
            return self._report(self._assemble(task["recipe"], blobs), task)
        function = self._functions[task["function"]]
        args = [self._assemble(recipe, blobs) for recipe in task["args"]]
        kwargs = {name: self._assemble(recipe, blobs) for name, recipe in task["kwargs"].items()}
        if task["kind"] == "sublattice":
            return self._build(function, args, kwargs)
        steps = {when: self._steps(task[when], blobs) for when in STEPS if when in task}
        if "executor" in task:
            value = self._host(task).run(function, steps, args, kwargs)
        elif steps:
            value = Prepared(function, steps["before"], steps["after"])(*args, **kwargs)
        else:  # nearly always
            value = called(function, args, kwargs)
        return self._report(value, task)

    def _restore(self) -> None:
        """Undo what an earlier electron has changed of what belongs to all of them."""
        if os.environ != self._variables:
            os.environ.clear()
            os.environ.update(self._variables)
        sys.path[:] = self._path

    def _steps(self, steps: Sequence[Message], blobs: dict[str, bytes]) -> list[Step]:
        return [self._step(step, blobs) for step in steps]

    def _step(self, step: Message, blobs: dict[str, bytes]) -> Step:
        name = f"{step['kind']} {step['label']!r}"
        with told_of(name):
            return Step(
                name=name,
                function=self._load(step["function"], blobs),
                args=self._assemble(step["args"], blobs),
                kwargs=self._assemble(step["kwargs"], blobs),
                keyword=step["keyword"],
            )

    def _host(self, task: Message) -> Hosted:
        """Let the executor of the electron that runs now be told when to give it up."""
        dispatch_id, node_id, _ = task["task"]
        metadata = {"dispatch_id": dispatch_id, "node_id": node_id}
        given: str | Message = task["executor"]
        by_digest = isinstance(given, str)
        executor = self._load(given, task["blobs"]) if by_digest else executor_from(given)
        hosted = Hosted(executor, metadata | {"results_dir": _results_folder()})
        assert self._current is not None
        self._current.hosted = hosted
        return hosted

    def _observe(self, task: Message) -> Message:
        """Let a trigger watch; returns when it has ended."""
        assert self._current is not None
        watching = Watching(self._load(task["trigger"], task["blobs"]))
        self._current.hosted = watching
        watching.run(ready=self._watches)
        return {"status": "COMPLETED"}

    def _build(self, lattice: Any, args: list[Any], kwargs: dict[str, Any]) -> Message:
        from qcov.classical.manifest import build_manifest

        with OnlyParent():
            manifest = build_manifest(lattice, tuple(args), kwargs)
        return {"status": "COMPLETED", "manifest": spill(manifest, self._write)}

    def _report(self, value: Any, task: Message) -> Message:
        """Describe an electron's value, and the parts of it that others need."""
        parts: dict[int | None, Any] = {None: value}
        # in their order: a part of a part that failed does not exist
        cuts = [self._cut(cut, parts, task["blobs"]) for cut in task["cuts"] if cut["of"] in parts]
        described = self._describe(value, f"the value that electron {task['name']!r} returned")
        return {"status": "COMPLETED", "cuts": cuts, **described}

    def _cut(self, cut: Message, parts: dict[int | None, Any], blobs: dict[str, bytes]) -> Message:
        try:
            whole = parts[cut["of"]]
            if cut["attribute"] is not None:
                part = getattr(whole, cut["attribute"])
            elif cut["unpacked"] is not None:
                part = _unpacked(whole, cut["unpacked"])[self._load(cut["item"], blobs)]
            else:
                part = whole[self._load(cut["item"], blobs)]
            parts[cut["node"]] = part
            return {"node": cut["node"], **self._describe(part, f"the element {cut['name']}")}
        except Exception as error:  # noqa: BLE001  # the user's own __getitem__: anything can be raised
            return {"node": cut["node"], "error": describe(error)}

    def _describe(self, value: Any, what: str) -> Message:
        blob = dumps(value, what=what)
        digest = address(blob)
        large = len(blob) > INLINE_LIMIT
        if large:
            self._write(digest, blob)
        data = None if large else blob
        described = {"output": digest, "data": data, "size": len(blob), "repr": shorten(value)}
        return described | {"key": self._key(value)}

    def _key(self, value: Any) -> str | None:
        """What a value is known by: None if by its digest, empty if by nothing."""
        if says_it_all(value):  # nearly always
            return None
        from qcov.classical.code_key import Keys, NotKeyed

        if self._keys is None:
            self._keys = Keys()
        modules = self._keys.modules
        try:
            key = self._keys.unless_plain(value)
        except NotKeyed:  # what is given such a value runs each time
            return ""
        # a module that has just been read may be newer than what is loaded here
        return "" if self._keys.modules > modules and self._modules.changed() else key

    def _write(self, digest: str, blob: bytes) -> None:
        self._patiently(lambda: self._payloads.write(digest, blob))

    def _patiently(self, ask: Callable[[], _T]) -> _T:
        """What was computed waits until the disk has space for it, or the server is back."""
        told = ""
        while True:
            try:
                return ask()
            except StoreUnavailable as error:
                if not self._payloads.passes(error):
                    raise
                if str(error) != told:
                    told = str(error)
                    sys.stderr.write(f"qcov: this electron waits: {told}\n")
            time.sleep(_AGAIN_AFTER)

    def _assemble(self, recipe: Recipe, blobs: dict[str, bytes]) -> Any:
        if "blob" in recipe:  # nearly always
            return self._load(recipe["blob"], blobs)
        return assembled(recipe, lambda digest: self._load(digest, blobs), _no_value)

    def _load(self, digest: str, blobs: Mapping[str, bytes]) -> Any:
        return loads(self._read(digest, blobs), digest=digest)

    def _read(self, digest: str, blobs: Mapping[str, bytes]) -> bytes:
        if digest in blobs:
            return blobs[digest]
        return self._patiently(lambda: self._payloads.read(digest))

    # -- the other thread

    def _listen(self) -> None:
        """Take what the engine sends; this thread ends with the process."""
        try:
            while True:
                timeout = _REPORT_EVERY if self._busy or self._waiting else None
                if self._channel.readable(timeout):
                    for message in self._channel.receive():
                        self._take(message)
                else:
                    self._progress()
        except (EOFError, OSError):
            pass
        except BaseException:  # noqa: BLE001  # a worker that does not listen must not stay
            traceback.print_exc()
        os.killpg(0, signal.SIGKILL)  # the group holds what electrons have started

    def _take(self, message: Message) -> None:
        with self._changed:
            if message["do"] == "run":
                self._functions.keep(message)
                self._waiting.append(message)
                self._changed.notify()
            elif message["do"] == "cancel":
                threading.Thread(target=self._give_up, args=(message["task"],), daemon=True).start()
            elif message["do"] == "return":
                tasks = [task["task"] for task in self._waiting]
                self._waiting.clear()
                self._channel.send({"did": "returned", "tasks": tasks})

    def _watches(self) -> None:
        """Tell that the trigger which runs now watches."""
        with self._changed:
            if self._current is not None:
                report = self._current.take(final=False) | {"watches": True}
                self._channel.send(
                    {"did": "progress", "task": self._current.task["task"], **report}
                )

    def _give_up(self, task: list[Any]) -> None:
        """Have an executor stop what it runs, then say that this process may be ended."""
        current = self._current
        if current is None or current.task["task"] != task:
            return  # it has ended, and its outcome says how
        if current.hosted is not None:
            current.hosted.cancel()
        self._channel.send({"did": "gave up", "task": task})

    def _progress(self) -> None:
        with self._changed:
            current = self._current
            if current is None:
                return
            report = current.take(final=False)
            if report["stdout"] or report["stderr"] or report["circuits"]:
                self._channel.send({"did": "progress", "task": current.task["task"], **report})


class _Running:
    """The electron that runs now, and where its output gathers."""

    def __init__(self, task: Message, streams: Streams, sink: Sink) -> None:
        self.task = task
        self.hosted: Hosted | Watching | None = None
        self.printed = ("", "")  #: all of it so far, if it goes to files too
        self._streams, self._sink = streams, sink

    def take(self, *, final: bool) -> Message:
        """What it has printed and which circuits it has run since the last call."""
        report: Message = self._streams.take(final=final)
        if "logs" in self.task:
            out, err = self.printed
            self.printed = (out + report["stdout"], err + report["stderr"])
        return report | {"circuits": self._sink.drain()}


def _write_logs(current: _Running) -> str:
    """Write what an electron printed to its executor's files; say if that fails."""
    try:
        if current.hosted is not None:
            with OnlyParent():
                current.hosted.write_streams(current.printed)
        else:
            folder = Path(_results_folder()) / current.task["task"][0]
            append_streams(current.printed, current.task["logs"], folder)
    except Exception as error:  # noqa: BLE001  # the disk, or a user's own executor
        return f"[its log files could not be written: {type(error).__name__}: {error}]\n"
    return ""


def _unpacked(whole: Iterable[Any], count: int) -> list[Any]:
    """What `a, b = whole` gives. Raises `ValueError` as Python does if it is not `count` things."""
    parts = list(islice(whole, count + 1))
    if len(parts) > count:
        raise ValueError(f"too many values to unpack (expected {count})")
    if len(parts) < count:
        raise ValueError(f"not enough values to unpack (expected {count}, got {len(parts)})")
    return parts


def _no_value(node: int) -> Any:
    raise EngineError(f"the engine sent no value of node {node}")


def _results_folder() -> str:
    return str(Path.cwd() / get_config("dispatcher.results_dir"))


def run_worker(
    channel: BlockingChannel, files: Sequence[int], settings: Message, modules: ImportedModules
) -> None:
    """The life of a worker process, after the fork."""
    # a child that held it, and lived on, would hide this process's death from the engine
    os.register_at_fork(after_in_child=channel.close)
    payloads = _take_payloads(settings["payloads"])
    _take_variables(settings["variables"])
    if reason := _entered(settings["cwd"]):
        return _wait_for_the_end(channel, reason)
    sys.path[:] = settings["sys_path"]
    modules.note_sites()
    gc.freeze()  # what the zygote has imported need not be walked, nor copied by being walked
    streams = Streams(*files)
    worker = Worker(
        channel,
        streams,
        modules=modules,
        payloads=payloads,
        cores=settings["cores"],
        home=settings["cwd"],
        hurried=settings["hurried"],
    )
    return worker.serve()


def _entered(folder: str) -> str:
    """Make this the working folder; why that cannot be."""
    try:
        os.chdir(folder)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _wait_for_the_end(channel: BlockingChannel, reason: str) -> None:
    """Say that this process is of no use, and end when the engine has heard of it."""
    channel.send({"did": "stranded", "reason": reason})
    with contextlib.suppress(EOFError, OSError):
        while True:
            channel.receive()


def _take_payloads(location: str) -> Payloads:
    """Reach payloads as the engine does, by variables that no electron sees or sets."""
    payloads = open_payloads(location, variables=dict(os.environ))
    for name in [name for name in os.environ if name.startswith(variables_for(location))]:
        del os.environ[name]
    return payloads


def _take_variables(variables: dict[str, str]) -> None:
    """Have the program's environment variables, but stay with the engine's data folder."""
    if variables:  # those of a dispatch that goes on after a crash are not known any more
        mine = {name: os.environ[name] for name in ("QCOV_DATA_DIR",) if name in os.environ}
        os.environ.clear()
        os.environ.update(variables | mine)
