"""The engine process: one per data folder, started by whoever needs it first.

It owns the store, listens on a socket that only its user can reach, and leaves when nobody has
needed it for a while. `qcov start` lets the same process speak HTTP.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import importlib
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qcov import logs, private_file
from qcov.classical.engine.channel import PROTOCOL, ChannelProtocol, Message, pack_error
from qcov.classical.engine.cluster import OwnCluster, lacking
from qcov.classical.engine.engine import Engine
from qcov.classical.engine.tracing import configured_tracer
from qcov.classical.engine.verbs import Verbs
from qcov.config import get_config
from qcov.errors import ClusterUnavailable, EngineError, EngineStopped, QcovError
from qcov.store.folder import Ownership, prepare_folder
from qcov.store.store import Store
from qcov.version import __version__

_log = logging.getLogger("qcov.engine")

#: The part that speaks HTTP; it is loaded by name because it stands above the engine.
_SERVER = "qcov_server.serving"

_TAKE_OVER = 30  # seconds to wait for an engine that is about to leave

_SOCKET_PATH_LIMIT = 100  # bytes; the system's own limit is 104 to 108


class EngineProcess:
    """An engine with its socket, its announcement, and the end of its life.

    Args:
        folder: The data folder.
        workers: How many electrons run at a time.
        idle_timeout: Seconds without work or clients after which it leaves.
    """

    def __init__(self, folder: Path, *, workers: int, idle_timeout: float) -> None:
        self._folder = folder
        self._idle_timeout = idle_timeout
        self._announcement = folder / "engine.json"
        self._stop = asyncio.Event()
        self._returns = False  # another one takes its place at once
        self._last_use = time.monotonic()
        self._server: Any = None
        self._how: Message = {}  # how it was asked to serve
        self._cluster: OwnCluster | None = None
        self._without_cluster = ""  # why there is none although it was asked for
        self._temporary: Path | None = None
        self._store = configured_store(folder)
        self._tracer = configured_tracer(self._store, get_config("tracing.endpoint"))
        self.engine = Engine(self._store, workers=workers, tracer=self._tracer)
        self._verbs = Verbs(
            self.engine,
            {
                "stop": self._stop_verb,
                "serve": self._serve,
                "leave": self._leave_verb,
                "cluster": self._ask_cluster,
            },
        )

    async def live(self, tell: Any) -> None:
        """Run until told to stop or idle for too long; `tell` is called once it can be reached."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        path = self._socket_path()
        listening = await loop.create_unix_server(self._connected, path=str(path))
        path.chmod(0o600)
        try:
            self.engine.recover()
            self._announce({"socket": str(path)})
            tell()
            self._last_use = time.monotonic()  # opening the store may have taken long
            self._look_idle()
            stopped = asyncio.ensure_future(self._stop.wait())
            await asyncio.wait([stopped, self.engine.broken], return_when=asyncio.FIRST_COMPLETED)
            if self.engine.broken.done():
                self.engine.broken.result()
        finally:
            self._announcement.unlink(missing_ok=True)
            listening.close()
            await self._close()

    # -- life

    async def _close(self) -> None:
        if self._server is not None:
            await self._server.stop()
        self.engine.close()
        if self._stop.is_set() and not self._returns:
            await self._verbs.say_goodbye(EngineStopped(address=str(self._folder)))
        if self._tracer is not None:
            await asyncio.to_thread(self._tracer.close)
        if self._cluster is not None:
            await self._cluster.close()
        self._verbs.close()  # who asks while the store is closed must ask the next engine
        await asyncio.to_thread(self._store.close)
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def _look_idle(self) -> None:
        if self.engine.busy or self._verbs.connected or self._server is not None:
            self._last_use = time.monotonic()
        idle = time.monotonic() - self._last_use
        if idle >= self._idle_timeout:
            _log.info("leaving: idle for %.0f s", idle)
            self._returns = True  # whoever asks now starts another one
            self._stop.set()
        else:
            asyncio.get_running_loop().call_later(
                max(0.05, self._idle_timeout - idle), self._look_idle
            )

    def _socket_path(self) -> Path:
        """In the data folder, or in a private folder of its own if that path is too long."""
        path = self._folder / "engine.sock"
        if len(os.fsencode(path)) > _SOCKET_PATH_LIMIT:
            self._temporary = Path(tempfile.mkdtemp(prefix="qcov-"))  # mode 0700
            path = self._temporary / "engine.sock"
        path.unlink(missing_ok=True)  # left by one that was killed; we hold the lock
        return path

    def _announce(self, more: Message) -> None:
        """Write where the engine can be reached."""
        about = {"pid": os.getpid(), "version": __version__, "protocol": PROTOCOL}
        with contextlib.suppress(FileNotFoundError):
            about |= {} if "socket" in more else json.loads(self._announcement.read_text())
        private_file.write(self._announcement, json.dumps(about | more).encode())

    def _connected(self) -> ChannelProtocol:
        return ChannelProtocol(self._request, self._verbs.on_close)

    def _request(self, channel: ChannelProtocol, request: Message) -> None:
        self._last_use = time.monotonic()
        self._verbs.on_message(channel, request)

    # -- verbs of the process

    async def _stop_verb(self, returns: bool = False) -> Message:
        """Come to an end; with `returns`, those who wait shall wait for the one that follows."""
        self._returns = returns
        self._stop.set()
        return {"pid": os.getpid()}

    async def _leave_verb(self) -> bool:
        """Make room for an engine of another version, if nothing runs."""
        if self.engine.busy or self._server is not None:
            return False
        self._returns = True
        self._stop.set()
        return True

    async def _ask_cluster(self, do: str, **arguments: Any) -> Any:
        """Have the server's own Dask cluster do something."""
        if self._cluster is None:
            raise ClusterUnavailable(
                address="",
                reason="this engine has none",
                advice="`qcov start` brings one, without `--no-cluster`.",
            )
        if do == "info":
            return await self._cluster.members(self.engine.on_dask())
        if do == "scale":
            arguments["busy"] = self._cluster.busy(self.engine.on_dask())
        return await self._cluster.ask(do, **arguments)

    async def _members(self) -> Message:
        """How the cluster is, and who works in it."""
        if self._cluster is None:
            return {"status": "none"}
        workers: list[Message] = []
        with contextlib.suppress(ClusterUnavailable):  # it has just ended: the status says so
            workers = await self._cluster.members(self.engine.on_dask())
        return {**self._cluster.about, "workers": workers}

    def _begin_cluster(self, settings: Message) -> None:
        """Bring up a Dask cluster beside what else is done."""
        if missing := lacking():  # who asks may have another Python than who has started us
            advice = "`qcov stop` it, then `qcov start`"
            self._without_cluster = (
                f"the engine, which was started before with {sys.executable}, "
                f"has no {' and no '.join(missing)}; {advice}"
            )
            self._announce({"without_cluster": self._without_cluster})
        elif self._cluster is None:
            folder = self._folder / "dask"
            sockets = self._temporary or self._folder
            cluster = self._cluster = OwnCluster(
                folder, settings, self._cluster_changed, sockets=sockets
            )
            self.engine.use_dask(cluster.spawner, lambda: cluster.takes)
            self.engine.cluster = self._members
            self._cluster_changed()

    def _cluster_changed(self) -> None:
        if self._cluster is None:
            return
        self.engine.look_at_dask()
        if self._announcement.exists():
            self._announce({"cluster": self._cluster.about})

    async def _serve(  # noqa: PLR0917  # verbs are asked by name
        self,
        host: str,
        port: int,
        triggers_only: bool = False,
        exposed: bool = False,
        names: Sequence[str] = (),
        cluster: Message | None = None,
        workers: int | None = None,
    ) -> Message:
        """Speak HTTP on this address; where, and a one-time link to log in with.

        With `cluster`, the settings of a Dask cluster, bring that up too, unless there is one. How
        many `workers` the engine was started for is only announced.
        """
        self.engine.take_dispatches(taken=not triggers_only)
        if self._server is None:
            serving = importlib.import_module(_SERVER)
            self._server = await serving.start(
                self.engine, self._folder, host=host, port=port, exposed=exposed, names=names
            )
            how = {
                "host": host,
                "exposed": exposed,
                "names": [*names],
                "triggers_only": triggers_only,
                "cluster": cluster,
                "workers": workers,
            }
            self._how = how
            self._announce({"url": self._server.url, "serves": how})
        if cluster is not None and self._cluster is None:
            self._begin_cluster(cluster)
            self._how["cluster"] = cluster  # a restart brings one, where it can
            self._announce({"serves": self._how})
        return {
            "cluster": self._cluster is not None,
            "without_cluster": self._without_cluster,
            "url": self._server.url,
            "login": self._server.login_link(),
            "pid": os.getpid(),
        }


def configured_store(folder: Path) -> Store:
    """The store of a data folder, where the settings say that it is."""
    return Store(
        folder,
        url=get_config("workflow_data.db_url"),
        payloads=get_config("workflow_data.base_dir"),
        seal_key=Path(get_config("workflow_data.seal_key")),
        lease=get_config("engine.lease"),
    )


def main() -> None:
    """Run an engine for a data folder, unless there is one.

    What became of it is written to the descriptor `--ready` as a line of JSON.
    """
    parser = argparse.ArgumentParser(prog="qcov-engine")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--ready", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--idle-timeout", type=float, required=True)
    arguments = parser.parse_args()
    _begin_to_log()
    # Thousands of rows are alive while they are written; walking them again and again is a third
    # of the engine's work with the default thresholds.
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    with os.fdopen(arguments.ready, "w", encoding="utf-8") as ready:

        def tell(message: Message) -> None:
            ready.write(json.dumps(message))
            ready.close()

        try:
            prepare_folder(arguments.folder, get_config("workflow_data.db_url"))
            owner = Ownership(arguments.folder)  # kept until this process ends
            owner.acquire(_TAKE_OVER)
            asyncio.run(_live(arguments, lambda: tell({"pid": os.getpid()})))
        except QcovError as error:
            _log.error("%s", error)
            _tell_if_open(ready, tell, error)
            sys.exit(1)
        except OSError as error:
            _log.exception("the engine could not start")
            _tell_if_open(ready, tell, EngineError(f"the engine could not start: {error}"))
            sys.exit(1)


def _begin_to_log() -> None:
    """Warnings to standard error, which is `engine.log`; the log has what the settings say."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger().handlers[0].setLevel(logging.WARNING)
    try:
        logs.write_to(Path(get_config("dispatcher.log_dir")), get_config("sdk.log_level"))
    except (OSError, QcovError) as error:  # an engine without a log is better than none
        _log.warning("nothing goes to the log: %s", error)


def _tell_if_open(ready: Any, tell: Any, error: QcovError) -> None:
    if not ready.closed:
        tell({"error": pack_error(error)})


async def _live(arguments: argparse.Namespace, tell: Any) -> None:
    process = EngineProcess(
        arguments.folder, workers=arguments.workers, idle_timeout=arguments.idle_timeout
    )
    await process.live(tell)


if __name__ == "__main__":
    main()
