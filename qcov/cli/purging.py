"""`purge`: qcov's own files go."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import typer

from qcov.classical.engine.client import announcement
from qcov.cli.output import fail, note, say, say_json
from qcov.cli.server import stop_engine
from qcov.config import config_file, data_dir, get_config
from qcov.errors import ConfigError

#: What qcov makes in its data folder, which may have other things too: those are never touched.
#: Dispatches, what opens them, and jobs that have been paid for are `_KEPT` by a soft purge.
_PASSING = (
    "cache", "circuit_cache.sqlite*", "cluster.log", "dask", "engine.json", "engine.log",
    "dask.sock", "engine.sock", "environments", "logs", "server.*", "start.lock", ".probe.*",
)  # fmt: skip
_KEPT = (
    "blobs", "credentials.json", "engine.id", "engine.lock", "jobs.*", "qcov.sqlite*", "seal.key",
)  # fmt: skip


def add_to(app: typer.Typer) -> None:
    """Give the application this verb."""
    app.command()(purge)


def purge(
    hard: bool = typer.Option(
        False, "--hard", "-H", help="Dispatches, jobs and credentials too, for ever."
    ),
    yes: bool = typer.Option(False, "--yes", "-y", help="Do not ask."),
    as_json: bool = typer.Option(False, "--json", help="As JSON; needs --yes."),
) -> None:
    """Remove qcov's settings, logs, caches and logins; with --hard all that it keeps."""
    if as_json and not yes:
        fail("--json: it cannot ask, so --yes is needed too", code=2)
    folder, settings = data_dir(), config_file()
    doomed = _found(folder, (*_PASSING, *_KEPT) if hard else _PASSING)
    doomed += [settings] if settings.is_file() else []
    runs = announcement(folder) is not None
    if not yes:
        _ask(doomed, hard=hard, runs=runs)
    told = _left_alone(hard=hard)  # the settings are still there to say so
    stop_engine()
    for path in _found(folder, (*_PASSING, *_KEPT) if hard else _PASSING):
        _remove(path)
    settings.unlink(missing_ok=True)
    if hard and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
    if as_json:
        return say_json({"removed": [str(path) for path in doomed], "left": told})
    say(f"{len(doomed)} files and folders of qcov are removed." if doomed else "Nothing was there.")
    for each in told:
        note(f"left alone: {each}")
    return None


def _ask(doomed: Iterable[Path], *, hard: bool, runs: bool) -> None:
    for path in doomed:
        say(str(path))
    if runs:
        say("The engine is stopped; what it runs " + ("is lost." if hard else "goes on later."))
    question = "Remove all of it, with every dispatch and result, for ever?" if hard else "Remove?"
    typer.confirm(question, abort=True)


def _found(folder: Path, patterns: Iterable[str]) -> list[Path]:
    return [path for pattern in patterns for path in sorted(folder.glob(pattern))]


def _remove(path: Path) -> None:
    """Remove it, or the link that stands there: never what a link leads to."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        fail(f"{path} cannot be removed: {error.strerror or error}")


def _left_alone(*, hard: bool) -> list[str]:
    """What settings have put elsewhere."""
    try:
        told: dict[str, Any] = get_config("workflow_data")
    except ConfigError:  # the file is broken: maybe that is why
        return []
    left: list[str] = []
    if hard and told["db_url"]:
        from qcov.store.postgresql import masked

        left.append(f"the database {masked(told['db_url'])}")
    if hard and Path(told["base_dir"]) != data_dir() / "blobs":
        left.append(f"the payloads in {told['base_dir']}")
    return left
