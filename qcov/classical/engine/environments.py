"""Environments with the packages that electrons ask for, one per set of requirements.

Such an environment lies over the user's own: what that has is seen in it, unless the requirements
install something else, and the user's own is never changed. Each is built in a new folder and takes
effect with a note beside it: what was left half built by a crash is never used. The note says what
of the user's own it lives on: once that has another version, the environment is built anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

from qcov.classical.engine.distributions import installed, lived_on
from qcov.classical.engine.installing import Installing
from qcov.classical.engine.spawn import Environment
from qcov.classical.engine.tasks import Key, Task
from qcov.classical.installed import OVERLAY, SITE_NAMES
from qcov.classical.requirements import depends_on_folder
from qcov.errors import EngineError, QcovError

_IN_USE = 86_400.0  # seconds
#: Options of pip that name a file or a folder whose content decides.
_OPTION = re.compile(r"^(-[erc]|--(editable|requirement|constraint)\b)[\s=]*")
_PRINT_FOLDER = "import sysconfig; print(sysconfig.get_path('purelib'))"
#: Lines that start with `import` are run; this one takes the folder's own such files in too
#: (https://docs.python.org/3/library/site.html).
_SEE_FOLDER = "import site; site.addsitedir({folder!r})\n"


class Environments:
    """Makes environments on request, and remembers them.

    Args:
        folder: Where they lie.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting: dict[Key, asyncio.Task[None]] = {}
        self._building: dict[str, _Building] = {}
        self._swept = False

    def provide(self, task: Task, submit: Callable[[Task], None]) -> None:
        """Hand a task on to `submit` once there is an environment for it."""
        job = asyncio.get_running_loop().create_task(self._provide(task, submit))
        self._waiting[task.key] = job
        job.add_done_callback(lambda _: self._forget(task.key, job))

    def drop(self, key: Key) -> None:
        """A task is not wanted any more; nor is an environment that nobody else waits for."""
        job = self._waiting.pop(key, None)
        if job is not None:
            job.cancel()

    def close(self) -> None:
        """Stop what is being built."""
        for job in (*self._waiting.values(), *(each.job for each in self._building.values())):
            job.cancel()

    def _forget(self, key: Key, job: asyncio.Task[None]) -> None:
        if self._waiting.get(key) is job:
            del self._waiting[key]

    async def _provide(self, task: Task, submit: Callable[[Task], None]) -> None:
        try:
            task.environment = await self._environment(task.environment, task.packages)
            submit(task)
        except QcovError as error:
            task.owner.task_died(task, error)
        except Exception as error:  # noqa: BLE001  # a defect of ours: not a node that waits for ever
            what = f"no environment could be made for it: {type(error).__name__}: {error}"
            task.owner.task_died(task, EngineError(what))

    async def _environment(self, user: Environment, packages: tuple[str, ...]) -> Environment:
        key = _key_of(user, packages)
        known = self._known(key, user)
        if known is not None:
            return known
        building = self._building.get(key)
        if building is None:
            building = self._building[key] = _Building(self._build(key, user, packages))
        building.wanted += 1
        try:
            return await asyncio.shield(building.job)
        finally:
            building.wanted -= 1
            if not building.wanted:
                del self._building[key]
                building.job.cancel()

    def _known(self, key: str, user: Environment) -> Environment | None:
        try:
            path = self._folder / f"{key}.json"
            note = json.loads(path.read_text(encoding="utf-8"))
            python = self._folder / note["folder"] / "bin" / "python"
            own, lived_on = installed(user.sys_path), dict(note["lived_on"])
            if not python.exists() or any(own.get(each) != at for each, at in lived_on.items()):
                return None
            os.utime(path)  # it is needed: `prune` heeds that
            return _over(user, python, note["installed"])
        except (OSError, ValueError, KeyError, TypeError):  # or a note that is damaged
            return None

    def prune(self, used_before: float) -> int:
        """Remove environments that nobody has needed since then; return how many.

        Those of the last day stay, for electrons may be at work in them.
        """
        limit, count = min(used_before, time.time() - _IN_USE), 0
        for path in self._folder.glob("*.json"):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                if path.stat().st_mtime < limit:
                    folder = json.loads(path.read_text(encoding="utf-8"))["folder"]
                    path.unlink()
                    shutil.rmtree(self._folder / folder, ignore_errors=True)
                    count += 1
        return count

    # -- building

    async def _build(self, key: str, user: Environment, packages: tuple[str, ...]) -> Environment:
        try:
            self._sweep()
            return await self._build_in(self._folder / uuid.uuid4().hex, key, user, packages)
        except OSError as error:
            what = f"an environment with {', '.join(packages)} could not be made in {self._folder}"
            raise EngineError(f"{what} ({error.strerror or error}).") from error

    async def _build_in(
        self, folder: Path, key: str, user: Environment, packages: tuple[str, ...]
    ) -> Environment:
        python, install = folder / "bin" / "python", Installing(user, packages)
        own = installed(user.sys_path)
        try:
            await install.run(user.executable, "-m", "venv", str(folder))
            place = (await install.run(str(python), "-c", _PRINT_FOLDER)).strip()
            _see(Path(place), user)
            wanted = folder / "requirements.txt"
            wanted.write_text("\n".join(packages) + "\n", encoding="utf-8")
            plain = ("--progress-bar", "off", "--disable-pip-version-check", "--no-input")
            await install.run(
                *(str(python), "-m", "pip", "install", *plain, "--requirement", str(wanted))
            )
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        needs = await asyncio.to_thread(lived_on, packages, installed([place]), own)
        note = {"folder": folder.name, "installed": place, "packages": packages, "lived_on": needs}
        unfinished = self._folder / f"{folder.name}.tmp"
        unfinished.write_text(json.dumps(note), encoding="utf-8")
        self._note_replaced(self._folder / f"{key}.json")
        unfinished.replace(self._folder / f"{key}.json")
        return _over(user, python, place)

    def _note_replaced(self, note: Path) -> None:
        """Let an environment that is no more known go with the next `prune`; it may be at work."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            folder = json.loads(note.read_text(encoding="utf-8"))["folder"]
            text = json.dumps({"folder": folder})
            (self._folder / f"{folder}.json").write_text(text, encoding="utf-8")

    def _sweep(self) -> None:
        """Remove what earlier engines have left half built."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._swept:
            return
        self._swept = True
        used: set[str] = set()
        for path in self._folder.glob("*.json"):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                used.add(json.loads(path.read_text(encoding="utf-8"))["folder"])
        for path in self._folder.iterdir():
            if path.is_dir() and path.name not in used:
                shutil.rmtree(path, ignore_errors=True)


class _Building:
    """An environment that is being made, and how many wait for it."""

    def __init__(self, work: Coroutine[Any, Any, Environment]) -> None:
        self.job = asyncio.get_running_loop().create_task(work)
        self.wanted = 0


def _key_of(user: Environment, packages: tuple[str, ...]) -> str:
    """Equal for what can share an environment."""
    stamps = [_stamp(Path(user.cwd), package) for package in packages]
    content: list[Any] = [user.executable, list(user.sys_path), packages, stamps]
    if any(map(depends_on_folder, packages)):
        content.append(user.cwd)
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


def _stamp(cwd: Path, package: str) -> list[tuple[str, int]]:
    """The files that a requirement or an option names, and when they were written."""
    name = _OPTION.sub("", package)
    place = (
        cwd / (name.partition(" @ ")[2] or name).removeprefix("file://").partition("[")[0].strip()
    )
    with contextlib.suppress(OSError, ValueError):
        files = sorted(place.rglob("*")) if place.is_dir() else [place]
        return [(str(path), path.stat().st_mtime_ns) for path in files if path.is_file()]
    return []


def _see(installed: Path, user: Environment) -> None:
    """Let an environment see the packages that the user's own has."""
    folders = [path for path in user.sys_path if path.endswith(SITE_NAMES)]
    lines = "".join(_SEE_FOLDER.format(folder=folder) for folder in folders)
    (installed / OVERLAY).write_text(lines, encoding="utf-8")


def _over(user: Environment, python: Path, place: str) -> Environment:
    """The user's environment with other packages: they come before the user's own.

    Workers that were begun in one that has been replaced have another key.
    """
    paths = list(user.sys_path)
    own = [at for at, path in enumerate(paths) if path.endswith(SITE_NAMES)]
    paths.insert(own[0] if own else len(paths), place)
    return replace(user, key=f"{user.key} {python}", executable=str(python), sys_path=tuple(paths))
