"""`cluster`: the Dask cluster of the server."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import typer

from qcov.classical.engine.client import announcement, connect
from qcov.classical.engine.cluster import lacking
from qcov.cli.output import fail, say, say_json, say_table
from qcov.config import data_dir, get_config
from qcov.errors import EngineUnavailable, QcovError

_JSON = typer.Option(False, "--json", help="Print JSON for programs.")


def add_to(app: typer.Typer) -> None:
    """Give the application this verb."""
    app.command()(cluster)


def cluster(  # noqa: PLR0917  # Typer takes options as arguments
    status: bool = typer.Option(False, "--status", help="Say whether it runs. The default."),
    info: bool = typer.Option(False, "--info", help="List its workers."),
    address: bool = typer.Option(False, "--address", help="Say where scheduler and workers are."),
    size: bool = typer.Option(False, "--size", help="Say how many workers there are."),
    restart: bool = typer.Option(False, "--restart", help="Start it anew; what runs is lost."),
    scale: int | None = typer.Option(None, "--scale", help="Have so many workers."),
    adaptive: str | None = typer.Option(
        None, "--adaptive", metavar="MIN:MAX", help="Have as many workers as there is work for."
    ),
    logs: bool = typer.Option(False, "--logs", help="Show what scheduler and workers have logged."),
    as_json: bool = _JSON,
) -> None:
    """Look after the server's Dask cluster."""
    asked: dict[str, Callable[[bool], None]] = {
        name: verb
        for name, verb, wanted in (
            ("--info", _info, info),
            ("--address", _address, address),
            ("--size", _size, size),
            ("--restart", _restart, restart),
            ("--scale", partial(_scale, scale or 0), scale is not None),
            ("--adaptive", partial(_adapt, adaptive or ""), adaptive is not None),
            ("--logs", _logs, logs),
            ("--status", _status, status),
        )
        if wanted
    }
    if len(asked) > 1:
        fail(f"{' and '.join(asked)}: one at a time", code=2)
    verb = next(iter(asked.values()), _status)
    verb(as_json)


def _status(as_json: bool) -> None:
    about = _about()
    state = about.get("status", "stopped")
    if as_json:
        names = ("address", "dashboard", "pid")
        say_json({"status": state, **{name: about.get(name) for name in names}})
    elif state == "running":
        say(f"The Dask cluster runs at {about['address']}: {_members(_ask('info'))}.")
        if "dashboard" in about:
            say(f"Its pages, which no token protects: {about['dashboard']}")
    elif state == "starting":
        say("The Dask cluster is starting; `qcov cluster` says when it runs.")
    else:
        say(f"N{_none()[1:]}.")


def _members(workers: list[dict[str, Any]]) -> str:
    threads = sum(worker["threads"] for worker in workers)
    electrons = sum(worker["electrons"] for worker in workers)
    now = f"{_count(electrons, 'electron')} {'runs' if electrons == 1 else 'run'}"
    all_ = f"{_count(len(workers), 'worker')}, {_count(threads, 'thread')}, {now}"
    return all_ + _leaving(sum(worker["leaving"] for worker in workers))


def _leaving(count: int) -> str:
    """How many workers are to go."""
    ends = "ends once its" if count == 1 else "end once their"
    return f"; {_count(count, 'worker')} {ends} electrons have ended" if count else ""


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"


def _none() -> str:
    """That there is no cluster, and what brings one as things stand."""
    told = "no Dask cluster runs"
    if missing := lacking():
        return f"{told}: {', '.join(missing)} is not installed; run `pip install 'qcov[dask]'`"
    about = _announced()
    if without := about.get("without_cluster"):
        return f"{told}: {without}"
    if get_config("sdk.no_cluster"):
        return f"{told}: with the setting `sdk.no_cluster`, `qcov start` brings none"
    if "url" in about:
        return f"{told}: the server was started without one; `qcov start` adds it"
    return f"{told}: `qcov start` brings one"


def _info(as_json: bool) -> None:
    workers = _ask("info")
    if as_json:
        return say_json({"workers": workers})
    columns = ("worker", "address", "pid>", "threads>", "memory>", "limit>", "electrons>")
    return say_table(columns, [_row(worker) for worker in workers])


def _row(worker: dict[str, Any]) -> list[str]:
    counts = [str(worker[name]) for name in ("pid", "threads")]
    amounts = (worker["memory"], worker["memory_limit"])
    memory = [f"{amount / 1e6:.0f} MB" if amount else "none" for amount in amounts]
    return [worker["name"], worker["address"], *counts, *memory, str(worker["electrons"])]


def _address(as_json: bool) -> None:
    workers = [worker["address"] for worker in _ask("info")]
    where = {"scheduler": _about().get("address"), "workers": workers}
    if as_json:
        return say_json(where)
    say(f"scheduler {where['scheduler']}")
    for worker in workers:
        say(f"worker    {worker}")
    return None


def _size(as_json: bool) -> None:
    count = len(_ask("info"))
    if as_json:
        say_json({"size": count})
    else:
        say(str(count))


def _restart(as_json: bool) -> None:
    _ask("restart")
    if as_json:
        say_json({"status": "starting"})
    else:
        say("The Dask cluster is started anew; `qcov cluster` says when it runs.")


def _scale(count: int, as_json: bool) -> None:
    if count < 1:
        without = "`qcov start --no-cluster` runs electrons in local processes"
        fail(f"--scale: the cluster has one worker at least; {without}", code=2)
    found = _ask("scale", n=count)
    coming, leaving = found["coming"], found["leaving"]
    if as_json:
        say_json({"scale": count, "coming": coming, "leaving": leaving})
    else:
        has, still = "has", ""
        if coming:
            has, still = "gets", f"; {coming} {'is' if coming == 1 else 'are'} coming up"
        say(f"The Dask cluster {has} {_count(count, 'worker')}{still}{_leaving(leaving)}.")


def _adapt(bounds: str, as_json: bool) -> None:
    least, _, most = bounds.partition(":")
    if not (least.isdecimal() and most.isdecimal() and 0 < int(most) >= int(least)):
        fail(f"--adaptive: {bounds!r} is not MIN:MAX, such as 1:8", code=2)
    _ask("adapt", least=int(least), most=int(most))
    if as_json:
        say_json({"adaptive": [int(least), int(most)]})
    else:
        range_ = _count(int(most), "worker") if least == most else f"{least} to {most} workers"
        say(f"The Dask cluster has {range_}, by what there is to do.")


def _logs(as_json: bool) -> None:
    found = _ask("logs")
    if as_json:
        return say_json(found)
    for name, text in found.items():
        say(f"== {name}")
        say(text)
    return None


def _about() -> dict[str, Any]:
    """What the engine says of its cluster; nothing if there is none."""
    return _announced().get("cluster") or {}


def _announced() -> dict[str, Any]:
    """What the engine says; nothing if there is none."""
    try:
        client = connect(start=False)
    except EngineUnavailable:
        return {}
    client.close()
    return announcement(data_dir()) or {}


def _ask(do: str, **arguments: Any) -> Any:
    """Have the cluster do something."""
    about = _about()
    if not about:
        fail(_none())
    if about["status"] != "running" and do != "restart":
        fail("the Dask cluster is starting: ask again in a moment")
    client = connect(start=False)
    try:
        return client.call("cluster", do=do, **arguments)
    except QcovError as error:
        fail(str(error))
    finally:
        client.close()
