"""Settings, the data folder, the engine with its port, the database."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from qcov.classical.engine.client import announcement, connect
from qcov.cli.checkup.clocks import compared
from qcov.cli.checkup.finding import Finding, ok, problem, warning
from qcov.config import config_errors, config_file, data_dir, get_config
from qcov.errors import ConfigError, EngineUnavailable
from qcov.settings import LOOPBACK
from qcov.version import __version__

_WITHIN = 3.0  # seconds
_LITTLE, _LESS = 1e9, 1e8  # bytes that are left
_OTHERS = 0o077  # what a mode lets other users do
_OTHERS_WRITE = 0o022

_OWN = "Set QCOV_DATA_DIR to a folder of yours on a local disk."


def settings() -> Iterator[Finding]:
    """Everything that is wrong with the file and the variables."""
    wrong = config_errors()
    for error in wrong:
        yield problem("settings", str(error), "Correct it: nothing starts until then.")
    path = config_file()
    if path.exists() and path.stat().st_mode & _OTHERS_WRITE:
        advice = f"Take that away: chmod go-w {path}"
        yield problem("settings", f"others may write {path}, and so run programs as you", advice)
    elif not wrong:
        yield ok("settings", str(path) if path.exists() else f"defaults; {path} is not there")


def folder() -> Iterator[Finding]:
    """Whether the data folder is ours, private, local, and has room."""
    path = data_dir()
    if not path.exists():
        yield from _future(path)
        return
    state = path.stat()
    if not path.is_dir():
        yield problem("data folder", f"{path} is no folder", _OWN)
    elif state.st_uid != os.getuid():
        yield problem("data folder", f"{path} belongs to another user", _OWN)
    elif not os.access(path, os.W_OK | os.X_OK):
        yield problem("data folder", f"{path} cannot be written", _OWN)
    else:
        yield from _private(path)
        yield from _place(path)


def _future(path: Path) -> Iterator[Finding]:
    above = next(each for each in path.parents if each.exists())
    if not above.is_dir() or not shutil.disk_usage(above).total:  # such as /dev/null, /proc
        yield problem("data folder", f"{path} cannot be made: {above} keeps no files", _OWN)
    elif os.access(above, os.W_OK | os.X_OK):
        yield ok("data folder", f"{path} is not there; the first dispatch makes it")
        yield from _place(above)
    else:
        yield problem("data folder", f"{path} cannot be made: {above} cannot be written", _OWN)


def _private(path: Path) -> Iterator[Finding]:
    open_ones = [each for each in (path, *sorted(path.iterdir())) if _is_open(each)]
    mode = path.stat().st_mode
    if mode & _OTHERS:
        advice = f"Make it private: chmod 700 {path}"
        if mode & _OTHERS_WRITE:
            yield problem("data folder", f"others may put files into {path}", advice)
        else:
            yield warning("data folder", f"others may see which files are in {path}", advice)
    elif open_ones:
        names = ", ".join(each.name for each in open_ones[:5])
        advice = f"Make it private: chmod -R go= {path}"
        yield warning("data folder", f"others may read in {path}: {names}", advice)
    else:
        yield ok("data folder", f"{path}, private")


def _is_open(path: Path) -> bool:
    try:
        return not path.is_symlink() and bool(path.stat().st_mode & _OTHERS)
    except OSError:  # it has just gone
        return False


def _place(path: Path) -> Iterator[Finding]:
    from qcov.store.folder import network_file_system

    kind = network_file_system(path)
    if kind and not get_config("workflow_data.db_url"):
        said = f"{path} is on a network file system ({kind}), where SQLite loses data"
        yield problem("disk", said, f"{_OWN} Or have the database on a PostgreSQL server.")
        return
    free = shutil.disk_usage(path).free
    said = f"{free / 1e9:.1f} GB are left for {path}"
    advice = "Free some space; `qcov prune` removes old dispatches."
    if free < _LESS:
        yield problem("disk", said, advice)
    else:
        yield warning("disk", said, advice) if free < _LITTLE else ok("disk", said)


def engine() -> Iterator[Finding]:
    """Whether an engine runs and answers; none is started."""
    about = announcement(data_dir())
    try:
        client = connect(start=False, within=_WITHIN)
    except EngineUnavailable as error:
        if about is None:
            yield ok("engine", "none runs; the first dispatch starts one")
        elif "none runs there" in str(error):
            said = f"process {about.get('pid')} has crashed; the next command starts another"
            log = data_dir() / "engine.log"
            yield warning("engine", said, f"See {log}; what had not ended goes on.")
        else:
            yield problem("engine", str(error))
    else:
        with contextlib.closing(client):
            told = client.ping(_WITHIN)
        said = f"process {told['pid']} runs qcov {told['version']}"
        if told["version"] == __version__:
            yield ok("engine", said)
        else:
            advice = "Let its dispatches end, then `qcov stop`."
            yield warning("engine", f"{said}, this is {__version__}", advice)
    yield from _port((about or {}).get("url"))


def _port(url: str | None) -> Iterator[Finding]:
    if url:
        yield ok("port", f"the server is at {url}")
        return
    port, host = get_config("dispatcher.port"), get_config("dispatcher.address")
    try:
        with socket.create_server((LOOPBACK.get(host, host), port), reuse_port=False):
            yield ok("port", f"{port} is free for `qcov start`")
    except OSError as error:
        said = f"{port} cannot be had: {error.strerror or error}"
        advice = "Choose another: `qcov start -p PORT`, or `qcov config dispatcher.port PORT`."
        yield warning("port", said, advice)


def database() -> Iterator[Finding]:
    """Whether the database is whole, of our schema, and on a server of our time."""
    from qcov.store.checking import examine

    try:
        found = examine(data_dir(), get_config("workflow_data.db_url"))
    except ConfigError as error:
        yield problem("database", str(error))
        return
    said = f"{found.name}, schema {found.schema}"
    if not found.exists:
        yield ok("database", f"{found.name} is not there; the first dispatch makes it")
    elif found.damage:
        advice = "Stop the engine, copy the data folder, and restore the database from a backup."
        yield problem("database", f"{found.name} is damaged: {found.damage}", advice)
    elif found.schema is not None and found.schema > found.wanted:
        advice = "Use the newer qcov, or another data folder."
        yield problem("database", f"{said}: a newer qcov has made it", advice)
    elif found.schema != found.wanted:
        advice = "The next engine does it, or `qcov db migrate`. Make a copy before."
        yield warning("database", f"{said}: it will be brought to {found.wanted}", advice)
    else:
        yield ok("database", said if found.whole else f"{said}; large, so checked in part")
    if found.ahead is not None:
        yield compared("the database server's", found.ahead)
