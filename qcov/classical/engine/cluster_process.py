"""The process of a server's own Dask cluster: scheduler, nannies, and the workers below them.

All of it listens on loopback only, and only those who have the certificate, which this user's
files have, get in: other users of the machine could run code as this one otherwise. Dask's pages
know no certificates: they are there only where they were asked for. The engine
asks over standard input, a line of JSON each, and is answered on standard output; when the engine
is gone, so is the cluster.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qcov import private_file
from qcov.classical.engine.cluster_queue import key_of
from qcov.classical.engine.cluster_slot import hold

_LOOPBACK = "127.0.0.1"
_LOOKS_EVERY = 0.05  # seconds
#: Which of a cluster's certificates is in which file.
_FILES = {"tls_ca_file": "ca.pem", "tls_cert": "cert.pem", "tls_key": "key.pem"}

Message = dict[str, Any]


class Cluster:
    """A `LocalCluster`, and what can be asked of it.

    Args:
        cluster: It, started.
        client: A client of it.
        members: Its workers.
    """

    def __init__(self, cluster: Any, client: Any, members: Any) -> None:
        self._cluster, self._client, self._members = cluster, client, members

    def hold(self, path: str, slot: str) -> None:
        """Have a worker hold a slot for electrons; the engine hears of its end."""
        future = self._client.submit(hold, path, slot, key=key_of(slot), pure=False)

        def ended(_: Any) -> None:
            error = future.exception() if future.status == "error" else "the engine hung up"
            _say({"slot": slot, "error": str(error) or repr(error)})
            future.release()

        future.add_done_callback(ended)

    async def answer(self, asked: Mapping[str, Any]) -> Any:
        """Do what is asked."""
        if asked["do"] == "scale":
            await self._adapt_no_more(asked["n"])
            return await self._members.scale(asked["n"], asked["busy"])
        if asked["do"] == "adapt":
            # slots are few and long: each that waits asks for a worker
            bounds = {"minimum": asked["least"], "maximum": asked["most"]}
            self._cluster.adapt(**bounds, target_duration="100ms")
            return [asked["least"], asked["most"]]
        if asked["do"] == "logs":
            found = await self._cluster.get_logs(cluster=False)
            return {name: str(text) for name, text in found.items()}
        return await self._members.about()

    async def _adapt_no_more(self, count: int) -> None:
        """Also not by what Dask has begun: it would undo what is asked after."""
        adaptive = getattr(self._cluster, "_adaptive", None)
        self._cluster.adapt(minimum=count, maximum=count).stop()
        while getattr(adaptive, "_adapting", False):  # noqa: ASYNC110  # Dask has no event for it
            await asyncio.sleep(_LOOKS_EVERY)


async def _live(settings: Mapping[str, Any]) -> None:
    """Bring up a cluster, and answer until the engine is gone."""
    distributed: Any = importlib.import_module("distributed")
    folder = Path(settings["folder"])
    security = distributed.Security.temporary()
    certificates = _written(security, folder)
    pages = f"{_LOOPBACK}:0" if settings["dashboard"] else None
    local = distributed.LocalCluster(
        n_workers=settings["workers"],
        threads_per_worker=settings["threads"],
        memory_limit=settings["memory"],
        host=_LOOPBACK,
        protocol="tls://",
        security=security,
        dashboard_address=pages,
        worker_dashboard_address=pages,  # they would listen everywhere otherwise
        local_directory=str(folder),
        asynchronous=True,
        silence_logs=False,
    )
    _with_own_nodes(local, pages=pages is not None)
    async with (
        local,
        distributed.Client(local, asynchronous=True, set_as_default=False) as client,
    ):
        members_of = importlib.import_module("qcov.classical.engine.cluster_members").Members
        members = members_of(local, client, _say, limited=settings["memory"] != "auto")
        cluster = Cluster(local, client, members)
        if settings["most"]:
            await cluster.answer({"do": "adapt", **settings})
        about = {"address": local.scheduler_address, "certificates": certificates}
        if pages is not None:
            port = local.scheduler.http_server.port
            about["dashboard"] = f"http://{_LOOPBACK}:{port}/status"
        _say({**about, "members": members.count})
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(members.watch())
            lines = await _lines()
            while line := await lines.readline():
                asked = json.loads(line)
                if asked["do"] == "hold":
                    cluster.hold(asked["path"], asked["slot"])
                else:  # it may take a while, and slots are wanted meanwhile
                    tasks.create_task(_answer(cluster, asked))
            watching.cancel()


def _with_own_nodes(local: Any, *, pages: bool) -> None:
    """Have a cluster that has not been started made of our nodes."""
    nodes = importlib.import_module("qcov.classical.engine.cluster_nodes")
    for spec in (local.new_spec, *local.worker_spec.values()):
        spec["cls"] = nodes.Nanny
        if not pages:
            spec["options"]["worker_class"] = nodes.Worker
    if not pages:
        local.scheduler_spec["cls"] = nodes.Scheduler


async def _answer(cluster: Cluster, asked: Message) -> None:
    answer: Message = {"number": asked["number"]}
    try:
        answer["value"] = await cluster.answer(asked)
    except Exception as error:  # noqa: BLE001  # the engine says it to who has asked
        answer["error"] = f"{type(error).__name__}: {error}"
    _say(answer)


def _written(security: Any, folder: Path) -> dict[str, str]:
    """The files of the certificates, which only this user can read."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = {
        "tls_ca_file": security.tls_ca_file,
        "tls_cert": security.tls_client_cert,
        "tls_key": security.tls_client_key,
    }
    for name, text in found.items():
        private_file.write(folder / _FILES[name], text.encode())
    return {name: str(folder / _FILES[name]) for name in found}


async def _lines() -> asyncio.StreamReader:
    """Standard input."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


_answers: Any = None


def _say(message: Message) -> None:
    _answers.write(json.dumps(message) + "\n")
    _answers.flush()


def main() -> None:
    """Run a cluster by the settings in the first argument."""
    global _answers
    _answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what Dask prints goes to the log
    asyncio.run(_live(json.loads(sys.argv[1])))


if __name__ == "__main__":
    main()
