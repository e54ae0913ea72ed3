"""`start`, `stop`, `restart`, `status`: the engine with its pages."""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from qcov import private_file
from qcov.classical.engine.client import announcement, connect
from qcov.cli.output import fail, note, say, say_json, warn
from qcov.config import data_dir, get_config
from qcov.errors import EngineUnavailable, QcovError
from qcov.settings import LOOPBACK

_STOP_TIMEOUT = 15.0

_Options = Mapping[str, Any]

#: How much memory a Dask worker has: bytes with a unit, a share of the machine's, or Dask's choice.
_AMOUNT = re.compile(r"(?P<number>\d+(\.\d+)?)\s*(?P<unit>[kKMGT]?)(?P<binary>i?)B?")
#: So much a Dask worker takes with one electron that does nothing, and some more; in bytes.
_LEAST_MEMORY = 2e8

_EXPOSED = (
    "everybody who reaches {host} can try to come in, and nothing encrypts what is carried: who "
    "listens on the way reads your results and your token, and with that may run programs as you. "
    "Only the token keeps others out. An SSH tunnel, or a proxy with TLS in front, is safe"
)

HOST = typer.Option(
    None, "--host", help="Listen on this address of the machine, for others too; read the warning."
)
NAME = typer.Option(
    None, "--name", help="With --host: a name under which the server is reached; several times."
)
PORT = typer.Option(None, "--port", "-p", min=0, max=65535, help="Port of the pages. [48008]")
AS_JSON = typer.Option(False, "--json", help="As JSON.")
DEVELOP = typer.Option(False, "--develop", "-d", help="Log everything, at level debug.")


def add_to(app: typer.Typer) -> None:
    """Give the application these verbs."""
    for verb in (start, stop, restart, status):
        app.command()(verb)


def start(  # noqa: PLR0917  # Typer takes options as arguments
    port: int | None = PORT,
    develop: bool = DEVELOP,
    mem_per_worker: str | None = typer.Option(
        None,
        "--mem-per-worker",
        "-m",
        help="Memory of a Dask worker with its electrons, such as 1GB. [auto, which limits none]",
    ),
    workers: int | None = typer.Option(
        None,
        "--workers",
        "-n",
        min=1,
        help="How many Dask workers there are, and how many electrons run at a time. [cores]",
    ),
    threads_per_worker: int | None = typer.Option(
        None, "--threads-per-worker", "-t", min=1, help="Threads of a Dask worker. [1]"
    ),
    ignore_migrations: bool = typer.Option(  # noqa: ARG001
        False,
        "--ignore-migrations",
        help="Taken for programs written for Covalent: the database is brought up to date anyway.",
    ),
    no_cluster: bool = typer.Option(
        False, "--no-cluster", help="Start without a Dask cluster: electrons run locally."
    ),
    dashboard: bool = typer.Option(
        False, "--dashboard", help="Have Dask's own pages, which no token protects."
    ),
    triggers_only: bool = typer.Option(
        False, "--triggers-only", help="Start a server that has triggers, and takes no dispatches."
    ),
    host: str | None = HOST,
    names: list[str] = NAME,
    as_json: bool = AS_JSON,
) -> None:
    """Start the server, or say where it runs; prints a link that logs one browser in."""
    how: dict[str, Any] = {"triggers_only": triggers_only}
    if not (no_cluster or triggers_only):
        how |= _with_cluster(workers, mem_per_worker, threads_per_worker, dashboard=dashboard)
    if host is not None:
        how |= {"host": host, "exposed": True, "names": names or []}
    elif names:
        fail("--name: it belongs to --host", code=2)
    how["workers"] = workers
    _warn_of_late(
        how,
        {"--workers": workers, "--develop": develop},
        {"--workers": workers, "--mem-per-worker": mem_per_worker, "--no-cluster": no_cluster,
         "--threads-per-worker": threads_per_worker, "--dashboard": dashboard},
    )  # fmt: skip
    _start(port, how, develop=develop, as_json=as_json)


def _with_cluster(
    workers: int | None = None,
    memory: str | None = None,
    threads: int | None = None,
    *,
    dashboard: bool = False,
) -> dict[str, Any]:
    """The Dask cluster that is started with a server; nothing where there is to be none."""
    from qcov.classical.engine.cluster import lacking

    if get_config("sdk.no_cluster"):
        return {}
    if missing := lacking():
        note(f"without a Dask cluster: {', '.join(missing)} is not installed (qcov[dask])")
        return {}
    settings = get_config("dask")
    asked = "dask.mem_per_worker" if memory is None else "--mem-per-worker"
    memory = str(settings["mem_per_worker"]) if memory is None else memory
    _check_memory(asked, memory)
    cluster = {
        "workers": workers or settings["num_workers"],
        "threads": threads or settings["threads_per_worker"],
        "memory": memory,
        "least": settings["adaptive_min"],
        "most": settings["adaptive_max"],
        "dashboard": dashboard or settings["dashboard"],
    }
    return {"cluster": cluster}


def _check_memory(asked: str, memory: str) -> None:
    """Refuse what no Dask worker can live with."""
    if memory == "auto":
        return
    found = _AMOUNT.fullmatch(memory)
    if found is None:
        fail(f"{asked}: {memory!r} is no amount of memory, such as 1GB", code=2)
    number, step = float(found["number"]), 1024 if found["binary"] else 1000
    in_bytes = number * step ** ("kmgt".index(found["unit"].lower()) + 1 if found["unit"] else 0)
    share = memory == found["number"] and number <= 1  # of the machine's; none is no limit
    if in_bytes < _LEAST_MEMORY and not share:
        told = f"a Dask worker needs {_LEAST_MEMORY / 1e6:.0f}MB at least"
        fail(f"{asked}: {memory!r} is too little; {told}", code=2)


def _start(port: int | None, how: dict[str, Any], *, develop: bool, as_json: bool = False) -> None:
    """Start, or say where it runs; `how` is what the engine's `serve` takes besides the port."""
    before, workers = _running(), how.get("workers")
    # the engine's process reads these
    if workers is not None:
        os.environ["QCOV_ENGINE_WORKERS"] = str(workers)
    if develop:
        os.environ["QCOV_SDK_LOG_LEVEL"] = "debug"
    how = {"host": get_config("dispatcher.address"), **how}
    chosen = get_config("dispatcher.port") if port is None else port
    served = _serve(chosen, how, new=before is None)
    where = f"qcov runs at {served['url']} (process {served['pid']})"
    if port and not served["url"].endswith(f":{port}"):
        fail(f"{where}, not on port {port}; `qcov restart -p {port}` moves it")
    listens = (_running() or {}).get("serves", {}).get("host")
    if how.get("exposed") and listens != how["host"]:
        fail(f"{where}, and listens on {listens}; `qcov stop` it first to change that")
    if how.get("exposed") and how["host"] not in LOOPBACK:
        warn(_EXPOSED.format(host=how["host"]))
    if served.get("without_cluster"):
        warn(f"no Dask cluster: {served['without_cluster']}")
    if as_json:
        return say_json({"pid": served["pid"], "address": served["url"], "login": served["login"]})
    say(where)
    say(f"Log in, once: {served['login']}")
    return None if how.get("triggers_only") else say(_where_electrons_run(served))


def _where_electrons_run(served: dict[str, Any]) -> str:
    who = "Electrons that name no executor run"
    if not served.get("cluster"):
        return f"{who} in local processes."
    return f"{who} on its Dask cluster once that is up; with `--no-cluster`, in local processes."


def _warn_of_late(how: Mapping[str, Any], of_engine: _Options, of_cluster: _Options) -> None:
    """Say which options come too late for what runs already, and would change it."""
    if (before := _running()) is None:
        return
    serves = before.get("serves", {})
    late = dict[str, _Options]()
    if of_engine["--develop"] or serves.get("workers") != how["workers"]:
        late["the engine"] = of_engine
    if serves.get("cluster") and serves["cluster"] != how.get("cluster"):
        late["its Dask cluster"] = of_cluster
    for what, options in late.items():
        if given := ", ".join(name for name, value in options.items() if value):
            warn(f"{given}: {what} runs already, and stays as it is until `qcov stop`")


def _serve(port: int, how: dict[str, Any], *, new: bool) -> dict[str, Any]:
    """Give the engine its pages; if that fails, a `new` one leaves unless it is at work."""
    client = connect(start=True)
    try:
        return client.call("serve", port=port, **how)
    except QcovError:
        pid = client.call("ping")["pid"]
        if new and client.call("leave"):
            wait_until_gone(pid)
        raise
    finally:
        client.close()


def stop(as_json: bool = AS_JSON) -> None:
    """Stop the server and its engine; dispatches that run go on when it is started again."""
    stopped = stop_engine()
    if as_json:
        say_json({"stopped": stopped})
    else:
        say("qcov stopped." if stopped else "qcov is not running.")


def stop_engine(*, returns: bool = False) -> bool:
    """Stop the engine and wait until it has gone; False if there was none.

    With `returns`, programs that wait for a dispatch wait on.
    """
    try:
        client = connect(start=False)
    except EngineUnavailable:
        return False
    pid = int(client.call("stop", returns=returns)["pid"])
    client.close()
    wait_until_gone(pid)
    return True


def wait_until_gone(pid: int) -> None:
    """Wait until no engine has the data folder; a line tells if that takes too long."""
    deadline = time.monotonic() + _STOP_TIMEOUT
    while _owned(data_dir()):
        if time.monotonic() > deadline:
            fail(f"process {pid} was told to stop, but is still there after {_STOP_TIMEOUT:g} s")
        time.sleep(0.02)  # it is not our child: there is nothing to wait for


def restart(port: int | None = PORT, develop: bool = DEVELOP, as_json: bool = AS_JSON) -> None:
    """Stop the server if it runs, then start it as it was; on another port if one is given."""
    get_config()  # a broken setting is told while the engine still runs
    about = _running() or {}
    address, how = about.get("url"), about.get("serves")
    if how is None:  # there was no server: it is started as `qcov start` would
        how = _with_cluster()
    now = int(str(address).rpartition(":")[2]) if address else None
    wanted = (now or int(get_config("dispatcher.port"))) if port is None else port
    from qcov_server.serving import listen  # takes a while to import, and only this verb needs it

    # what cannot be started again is not stopped
    host = how.get("host", get_config("dispatcher.address"))
    exposed = how.get("exposed", False)
    listen(host, 0 if wanted == now else wanted, exposed=exposed).close()
    stop_engine(returns=True)
    _start(wanted, {**how, "host": host}, develop=develop, as_json=as_json)


def status(
    as_json: bool = typer.Option(False, "--json", help="As JSON, with `pid` and `address`."),
) -> None:
    """Say whether the server runs, and where."""
    about = _running() or {}
    address = about.get("url")
    if as_json:
        state = "running" if address else "embedded" if about else "stopped"
        say_json(
            {"status": state, "pid": about.get("pid"), "address": address,
             "version": about.get("version"), "data_dir": str(data_dir()),
             "cluster": about.get("cluster", {}).get("address")}
        )  # fmt: skip
    elif address:
        say(f"qcov runs at {address} (process {about['pid']}).")
        if "cluster" in about:
            where = about["cluster"].get("address", "")
            say(f"Its Dask cluster is {about['cluster']['status']} {where}".rstrip() + ".")
    elif about:
        say(f"The engine runs without a server (process {about['pid']}); `qcov start` adds it.")
    else:
        say("qcov is stopped.")


def _running() -> dict[str, Any] | None:
    """What the engine says about itself, if there is one."""
    try:
        client = connect(start=False)
    except EngineUnavailable:
        return None
    about = announcement(client.folder)
    client.close()
    return about


def _owned(folder: Path) -> bool:
    """True while an engine holds the lock on its folder.

    Its number says less: that stays until the system has taken note of a process's end.
    """
    with private_file.touch(folder / "engine.lock") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
