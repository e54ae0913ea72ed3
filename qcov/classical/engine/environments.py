"""Environments with the packages that electrons ask for, one per set of requirements.

Such an environment lies over the user's own: what that has is seen in it, unless the requirements
install something else, and the user's own is never changed. Each is built in a new folder and takes
effect with a note beside it: what was left half built by a crash is never used.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from qcov.classical.engine.spawn import Environment
from qcov.classical.engine.tasks import Key, Task
from qcov.errors import DependencyFailed, EngineError, QcovError

_IN_USE = 86_400.0  # seconds
_TOLD = 2000  # characters of what pip says, in an error
_INSTALLED_IN = ("site-packages", "dist-packages")
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
        self._waiting: dict[Key, Task] = {}
        self._building: dict[str, asyncio.Task[Environment]] = {}
        self._jobs: set[asyncio.Task[None]] = set()
        self._swept = False

    def provide(self, task: Task, submit: Callable[[Task], None]) -> None:
        """Hand a task on to `submit` once there is an environment for it."""
        self._waiting[task.key] = task
        job = asyncio.get_running_loop().create_task(self._provide(task, submit))
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    def drop(self, key: Key) -> None:
        """A task is not wanted any more; the environment is finished all the same."""
        self._waiting.pop(key, None)

    def close(self) -> None:
        """Stop what is being built."""
        for job in (*self._jobs, *self._building.values()):
            job.cancel()

    async def _provide(self, task: Task, submit: Callable[[Task], None]) -> None:
        try:
            environment = await self._environment(task.environment, task.packages)
        except QcovError as error:
            if self._waiting.pop(task.key, None) is not None:
                task.owner.task_died(task, error)
            return
        if self._waiting.pop(task.key, None) is not None:
            task.environment = environment
            submit(task)

    async def _environment(self, user: Environment, packages: tuple[str, ...]) -> Environment:
        content = json.dumps([user.executable, list(user.sys_path), packages])
        key = hashlib.sha256(content.encode()).hexdigest()[:32]
        known = self._known(key, user)
        if known is not None:
            return known
        if key not in self._building:
            job = asyncio.get_running_loop().create_task(self._build(key, user, packages))
            self._building[key] = job
            job.add_done_callback(lambda _: self._building.pop(key))
        return await asyncio.shield(self._building[key])

    def _known(self, key: str, user: Environment) -> Environment | None:
        try:
            path = self._folder / f"{key}.json"
            note = json.loads(path.read_text(encoding="utf-8"))
            python = self._folder / note["folder"] / "bin" / "python"
            if not python.exists():
                return None
            os.utime(path)  # it is needed: `prune` heeds that
            return _over(user, key, python, note["installed"])
        except (OSError, ValueError, KeyError):
            return None

    def prune(self, used_before: float) -> int:
        """Remove environments that nobody has needed since then; return how many.

        Those of the last day stay, for electrons may be at work in them.
        """
        limit, count = min(used_before, time.time() - _IN_USE), 0
        for path in self._folder.glob("*.json"):
            with contextlib.suppress(OSError, ValueError, KeyError):
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
        python = folder / "bin" / "python"
        try:
            await self._run(user, packages, user.executable, "-m", "venv", str(folder))
            installed = await self._run(user, packages, str(python), "-c", _PRINT_FOLDER)
            _see(Path(installed.strip()), user)
            wanted = folder / "requirements.txt"
            wanted.write_text("\n".join(packages) + "\n", encoding="utf-8")
            quiet = ("--quiet", "--disable-pip-version-check", "--no-input")
            pip = ("-m", "pip", "install", *quiet, "--requirement", str(wanted))
            await self._run(user, packages, str(python), *pip)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        note = {"folder": folder.name, "installed": installed.strip(), "packages": packages}
        unfinished = self._folder / f"{folder.name}.tmp"
        unfinished.write_text(json.dumps(note), encoding="utf-8")
        unfinished.replace(self._folder / f"{key}.json")
        return _over(user, key, python, installed.strip())

    async def _run(self, user: Environment, packages: tuple[str, ...], *command: str) -> str:
        """Run a command in the user's folder and with their variables; return what it prints."""
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=user.cwd,
            env=_variables(user.variables),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            printed, _ = await process.communicate()
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        text = printed.decode(errors="replace")
        if process.returncode != 0:
            raise DependencyFailed(
                what=f"the packages {', '.join(packages)} could not be installed",
                reason=f"`python {' '.join(command[1:3])}` ended with {process.returncode}",
                advice="Correct deps_pip, or see whether the package index can be reached. It said:"
                f"\n{text.strip()[-_TOLD:]}",
            )
        return text

    def _sweep(self) -> None:
        """Remove what earlier engines have left half built."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._swept:
            return
        self._swept = True
        used: set[str] = set()
        for path in self._folder.glob("*.json"):
            with contextlib.suppress(OSError, ValueError, KeyError):
                used.add(json.loads(path.read_text(encoding="utf-8"))["folder"])
        for path in self._folder.iterdir():
            if path.is_dir() and path.name not in used:
                shutil.rmtree(path, ignore_errors=True)


def _see(installed: Path, user: Environment) -> None:
    """Let an environment see the packages that the user's own has."""
    folders = [path for path in user.sys_path if path.endswith(_INSTALLED_IN)]
    lines = "".join(_SEE_FOLDER.format(folder=folder) for folder in folders)
    (installed / "qcov_user.pth").write_text(lines, encoding="utf-8")


def _over(user: Environment, key: str, python: Path, installed: str) -> Environment:
    """The user's environment with other packages: they come before the user's own."""
    paths = list(user.sys_path)
    own = [at for at, path in enumerate(paths) if path.endswith(_INSTALLED_IN)]
    paths.insert(own[0] if own else len(paths), installed)
    return replace(user, key=f"{user.key} {key}", executable=str(python), sys_path=tuple(paths))


def _variables(variables: Mapping[str, Any]) -> dict[str, str]:
    """The program's variables; those are not known any more after a restart of the engine."""
    return dict(variables or os.environ) | {"PIP_USER": "0"}
