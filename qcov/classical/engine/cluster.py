"""The Dask cluster that a server brings: a process that its engine starts, watches and asks."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import itertools
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from qcov.classical.engine.slots import Slots
from qcov.classical.engine.spawn import WorkerProcess
from qcov.errors import ClusterUnavailable

_log = logging.getLogger("qcov.cluster")

Message = dict[str, Any]

#: Our own package comes last on the path: an installed one wins.
_BOOT = (
    "import sys; sys.path.append(sys.argv.pop(1)); "
    "from qcov.classical.engine.cluster_process import main; main()"
)
_ROOT = str(Path(__file__).parents[3])
_NEEDS = ("distributed", "cryptography")  # the latter makes the certificates
_AGAIN_AFTER, _AT_MOST = 1.0, 60.0  # seconds until a cluster that died is started again
_HEALTHY = 60.0  # seconds that one lives to count as one that works
_UP_WITHIN = 60.0  # seconds that one has to come up, and one for each worker
_ANSWERS_WITHIN = 20.0  # seconds; who asks waits a little longer
_ENDS_WITHIN = 5.0  # seconds that one which was killed is waited for
_LONG_LOG = 1 << 22  # bytes
_LINE = 1 << 24  # bytes of an answer: logs may be long


class OwnCluster:
    """A Dask cluster that lives as long as its engine.

    Args:
        folder: Where its files are.
        settings: `workers`, `threads`, `memory`, and `least` and `most` workers if it adapts.
        changed: Called when there is something new to say of it.
        sockets: The folder of the socket that its workers come to.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any],
        changed: Callable[[], None],
        *,
        sockets: Path,
    ) -> None:
        self.settings = dict(settings)
        self.about: Message = {"status": "starting"}  #: what is announced
        self._folder, self._changed, self._sockets = folder, changed, sockets
        self._grown = settings["workers"]  # how many of its workers have come up
        self._slots: Slots | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._anew = asyncio.Event()  # it shall be started again at once
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._living = asyncio.get_running_loop().create_task(self._live())

    @property
    def running(self) -> bool:
        """True once it has come up, until it dies."""
        return self.about["status"] == "running"

    @property
    def takes(self) -> bool:
        """Whether it has workers for electrons, or will have some as soon as there are any."""
        return self.running and bool(self.about["members"] or self.settings["most"])

    @property
    def places(self) -> int:
        """How many electrons it can run at a time, at most."""
        return (self.settings["most"] or self._grown) * self.settings["threads"]

    def spawner(self, settings: Message) -> Slots:
        """What starts workers of the engine in it."""
        self._slots = Slots(settings, self._sockets / "dask.sock", self._want)
        self._slots.size = self.places
        return self._slots

    async def members(self, at_work: list[WorkerProcess]) -> list[Message]:
        """Its workers, with how many electrons run in each. Errors: `ask`.

        Args:
            at_work: What runs electrons in it now.
        """
        found: list[Message] = await self.ask("info")
        for worker in found:
            slots, process = self._slots, worker["pid"]
            worker["electrons"] = 0 if slots is None else slots.busy(at_work).count(process)
        return found

    def busy(self, at_work: list[WorkerProcess]) -> list[int]:
        """The processes of its workers that run electrons, each as often as it runs one."""
        return [] if self._slots is None else self._slots.busy(at_work)

    async def ask(self, do: str, **arguments: Any) -> Any:
        """Have the cluster do something; what it answers.

        Raises:
            ClusterUnavailable: it does not run, or cannot do that.
        """
        if do == "restart":
            self._say({"status": "starting"})
            self._anew.set()
            self._kill()
            return None
        process = self._process
        if not self.running or process is None or process.stdin is None:
            raise _unavailable(f"it is {self.about['status']}")
        if do == "scale":
            return await self._scaled(arguments)
        value = await self._answered(do, arguments)
        if do == "adapt":
            self._resize(arguments)
        return value

    async def _scaled(self, arguments: Message) -> Any:
        """Have it scaled; nothing is to wait for workers that are about to leave, or to come."""
        had, grown = dict(self.settings), self._grown
        self._grown = min(arguments["n"], max(1, self.about["members"]))
        self._resize({"workers": arguments["n"], "least": 0, "most": 0})
        try:
            return await self._answered("scale", arguments)
        except ClusterUnavailable:
            self._grown = grown
            self._resize(had)
            raise

    async def _answered(self, do: str, arguments: Message) -> Any:
        number = next(self._numbers)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        self._tell({"do": do, "number": number, **arguments})
        try:
            return await asyncio.wait_for(answer, _ANSWERS_WITHIN)
        except TimeoutError:
            raise _unavailable(f"it has not answered in {_ANSWERS_WITHIN:g} s") from None
        finally:
            del self._asked[number]

    def _resize(self, settings: Message) -> None:
        """Have so many workers; one that is started again has as many."""
        self.settings |= settings
        if self._slots is not None:
            self._slots.size = self.places
        self._changed()

    def _want(self, slot: str) -> None:
        """Have Dask make a slot; one that is not up yet hears of it when it is."""
        if self.running and self._process is not None:  # it has none once it was closed
            path = "" if self._slots is None else str(self._slots.path)
            self._tell({"do": "hold", "path": path, "slot": slot})

    def _tell(self, request: Message) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")

    async def close(self) -> None:
        """End it."""
        self._living.cancel()
        process = self._process
        self._kill()
        if process is not None:
            await _ended(process)

    # -- its life

    async def _live(self) -> None:
        """Keep a process alive."""
        pause, loop = _AGAIN_AFTER, asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await self._run()
            except OSError as error:
                _log.warning("the Dask cluster could not be started: %s", error)
            except Exception:  # noqa: BLE001  # what it said was nothing: another one is started
                _log.exception("the Dask cluster could not be followed")
            healthy = self.running and loop.time() - began > _HEALTHY
            self._say({"status": "starting"})
            self._give_up()
            if not self._anew.is_set():
                pause = _AGAIN_AFTER if healthy else min(2 * pause, _AT_MOST)
                _log.warning("the Dask cluster has ended; it is started again in %g s", pause)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._anew.wait(), pause)
            if self._anew.is_set():
                self._anew.clear()
                pause = _AGAIN_AFTER

    async def _run(self) -> None:
        """Start a process and take what it says until it ends."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        settings = json.dumps({**self.settings, "folder": str(self._folder)})
        with _log_file(self._folder / "cluster.log") as log:
            self._process = process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-c", _BOOT, _ROOT, settings),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                limit=_LINE,
            )
        assert process.stdout is not None
        try:
            line = await self._first_line(process.stdout)
            while line:
                self._take(json.loads(line))
                line = await process.stdout.readline()
        finally:
            self._kill()
            try:
                await _ended(process)
            finally:
                self._process = None  # another one may get its number

    async def _first_line(self, said: asyncio.StreamReader) -> bytes:
        """What a process says first, once its cluster is up; nothing if that takes too long."""
        try:
            return await asyncio.wait_for(said.readline(), self._up_within)
        except TimeoutError:
            told = "the Dask cluster has not come up in %g s, and is ended; %s may say why"
            _log.warning(told, self._up_within, self._folder / "cluster.log")
            return b""

    @property
    def _up_within(self) -> float:
        return _UP_WITHIN + self.settings["workers"]

    def _take(self, message: Message) -> None:
        if "address" in message:
            _log.info("the Dask cluster runs at %s", message["address"])
            assert self._process is not None
            self._grown = self.settings["workers"]
            self._say({"status": "running", "pid": self._process.pid, **message})
            return None if self._slots is None else self._slots.came_up()
        if "members" in message:
            self.about |= message
            self._grown = max(self._grown, min(message["members"], self.settings["workers"]))
            return self._resize({})
        if "number" not in message:
            return None if self._slots is None else _heard(self._slots, message)
        answer = self._asked.get(message["number"])
        if answer is None or answer.done():
            return None
        if "error" in message:
            return answer.set_exception(_unavailable(f"it answers: {message['error']}"))
        return answer.set_result(message["value"])

    def _say(self, about: Message) -> None:
        self.about = about
        self._changed()

    def _give_up(self) -> None:
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(_unavailable("it has ended"))

    def _kill(self) -> None:
        """End the process and the workers, which are in its group."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Come back once a process that was killed has ended.

    One that waits for a disk ends when that answers: nobody is to wait so long.
    """
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), _ENDS_WITHIN)


def _heard(slots: Slots, message: Message) -> None:
    """What a cluster tells of what is in its slots."""
    if "slot" in message:
        slots.ended(message["slot"], message["error"])
    elif "leaving" in message:
        slots.leave(message["leaving"])
    elif "crowded" in message:
        slots.crowd()
    else:
        slots.exceeded(**message["over"])


def lacking() -> list[str]:
    """The packages that a cluster needs and that are not installed here."""
    return [name for name in _NEEDS if importlib.util.find_spec(name) is None]


def _unavailable(reason: str) -> ClusterUnavailable:
    return ClusterUnavailable(
        address="", reason=reason, advice="`qcov cluster --status` says how it is."
    )


def _log_file(path: Path) -> BinaryIO:
    """What the cluster's process says, open to be added to; begun anew once it is long."""
    fresh = not path.exists() or path.stat().st_size > _LONG_LOG
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | (os.O_TRUNC if fresh else 0)
    return open(os.open(path, flags, 0o600), "ab")
