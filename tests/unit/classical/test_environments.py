"""Environments with packages: who waits for one, and commands that take too long."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from qcov.classical.engine.channel import Message
from qcov.classical.engine.distributions import installed, lived_on
from qcov.classical.engine.environments import Environments
from qcov.classical.engine.installing import Installing
from qcov.classical.engine.spawn import Environment
from qcov.classical.engine.tasks import Task
from qcov.classical.requirements import depends_on_folder
from qcov.errors import DependencyFailed, QcovError
from tests.waiting import ended, until


@dataclass
class Told:
    """Who wants an electron: it keeps what it is told."""

    died: asyncio.Future[QcovError] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def task_started(self, task: Task) -> None: ...

    def task_progressed(self, task: Task, report: Message) -> None: ...

    def task_ended(self, task: Task, outcome: Message) -> None: ...

    def task_died(self, task: Task, error: QcovError, printed: Message | None = None) -> None:
        self.died.set_result(error)


def environment(cwd: str) -> Environment:
    described = {"executable": sys.executable, "cwd": cwd, "sys_path": [], "preload": []}
    return Environment.from_json(described, {})


def task(cwd: str, packages: tuple[str, ...], *, node: int = 0) -> Task:
    return Task(
        key=("dispatch", node, 1),
        name="electron",
        environment=environment(cwd),
        bundle={},
        function=None,
        time_limit=None,
        owner=Told(),
        packages=packages,
    )


def project(folder: Path) -> str:
    """A package that is built without a network; returns a requirement that leads to it."""
    package = folder / "pkg"
    package.mkdir(parents=True)
    (package / "backend.py").write_text(
        "import zipfile\n"
        "def build_wheel(folder, settings=None, metadata=None):\n"
        "    name = 'qcov_pkg-1.0-py3-none-any.whl'\n"
        "    with zipfile.ZipFile(f'{folder}/{name}', 'w') as archive:\n"
        "        about = 'qcov_pkg-1.0.dist-info'\n"
        "        archive.writestr(f'{about}/METADATA', "
        "'Metadata-Version: 2.1\\nName: qcov-pkg\\nVersion: 1.0\\n')\n"
        "        archive.writestr(f'{about}/WHEEL', 'Wheel-Version: 1.0\\n"
        "Root-Is-Purelib: true\\nTag: py3-none-any\\n')\n"
        "        archive.writestr(f'{about}/RECORD', '')\n"
        "    return name\n"
    )
    (package / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    return "./pkg ; python_version > '3'"


async def provided(environments: Environments, *tasks: Task) -> list[Task]:
    """Wait for the environments of tasks."""
    ready: asyncio.Queue[Task] = asyncio.Queue()
    for each in tasks:
        environments.provide(each, ready.put_nowait)
    return [await asyncio.wait_for(ready.get(), 120) for _ in tasks]


def test_folders_with_the_same_relative_requirement_do_not_share(tmp_path: Path) -> None:
    requirement = project(tmp_path / "one")
    project(tmp_path / "two")

    async def main() -> set[str]:
        tasks = [task(str(tmp_path / name), (requirement,), node=3) for name in ("one", "two")]
        environments = Environments(tmp_path / "environments")
        done = [(await provided(environments, each))[0] for each in tasks]
        return {each.environment.executable for each in done}

    assert len(asyncio.run(main())) == 2


def test_who_still_waits_gets_an_environment_that_another_has_given_up(tmp_path: Path) -> None:
    requirement = project(tmp_path)

    async def main() -> list[int]:
        environments, ready = Environments(tmp_path / "environments"), asyncio.Queue[Task]()
        for node in (0, 1, 2):
            environments.provide(task(str(tmp_path), (requirement,), node=node), ready.put_nowait)
        await asyncio.sleep(0)  # all wait now
        environments.drop(("dispatch", 0, 1))
        environments.drop(("dispatch", 2, 1))
        return [(await asyncio.wait_for(ready.get(), 120)).key[1], ready.qsize()]

    assert asyncio.run(main()) == [1, 0]


def test_any_error_fails_the_electron(tmp_path: Path) -> None:
    async def main() -> QcovError:
        wanted = task("a\0b", ("numpy",))  # no folder can be called so: a ValueError
        environments = Environments(tmp_path)
        environments.provide(wanted, lambda _: None)
        assert isinstance(wanted.owner, Told)
        return await asyncio.wait_for(wanted.owner.died, 60)

    assert "no environment could be made for it: ValueError" in str(asyncio.run(main()))


def test_a_damaged_note_is_no_environment(tmp_path: Path) -> None:
    requirement, folder = project(tmp_path), tmp_path / "environments"

    async def main() -> Path:
        await provided(Environments(folder), task(str(tmp_path), (requirement,)))
        next(folder.glob("*.json")).write_text("[]")
        made = await provided(Environments(folder), task(str(tmp_path), (requirement,)))
        return Path(made[0].environment.executable)

    assert asyncio.run(main()).exists()


def described(folder: Path, name: str, version: str, *needs: str) -> Path:
    """A package that is installed in a folder."""
    about = folder / f"{name}-{version}.dist-info"
    about.mkdir(parents=True)
    requires = "".join(f"Requires-Dist: {each}\n" for each in needs)
    (about / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}"
    )
    (about / "INSTALLER").write_text("pip\n")
    (about / "RECORD").write_text("")
    return about


def test_an_environment_is_kept_while_the_users_own_has_what_it_lives_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    own, limits = tmp_path / "own" / "site-packages", tmp_path / "limits.txt"
    about = described(own, "qcov_own", "1.0", "qcov-low>=1 ; python_version > '3'")
    low, other = described(own, "qcov_low", "1.0"), described(own, "qcov_other", "1.0")
    limits.write_text("qcov-own<2\n")
    environments = Environments(tmp_path / "environments")

    async def made() -> str:
        wanted = task(str(tmp_path), ("qcov-own", f"-c {limits}"))
        user = replace(environment(str(tmp_path)), sys_path=(str(tmp_path), str(own)))
        wanted.environment = user
        return (await provided(environments, wanted))[0].environment.key

    async def main() -> None:
        first = await made()
        other.rename(other.with_name("qcov_other-2.0.dist-info"))
        assert await made() == first  # nothing of it is needed
        low.rename(low.with_name("qcov_low-1.1.dist-info"))
        second = await made()
        assert second != first
        about.rename(about.with_name("qcov_own-1.1.dist-info"))
        third = await made()
        assert await made() == third != second
        limits.write_text("qcov-own<3\n")
        assert await made() != third

    asyncio.run(main())
    folder = tmp_path / "environments"
    for note in folder.glob("*.json"):
        os.utime(note, (1, 1))
    assert environments.prune(1e12) == 4  # those that were replaced, too
    assert [*folder.iterdir()] == []


def test_what_requirements_live_on(tmp_path: Path) -> None:
    own, added = tmp_path / "own", tmp_path / "added"
    described(own, "Top_Level", "1.0", "mid.dle[x] >=1", "absent ; extra == 'x'")
    described(own, "mid_dle", "1.0", "low")
    for name in ("low", "other", "twice"):
        described(own, name, "1.0")
    described(added, "twice", "2.0", "low")
    has, new = installed([str(tmp_path / "none"), str(own)]), installed([str(added)])
    everything = {"low", "mid-dle", "other", "top-level"}

    for packages, found in [
        (["top.level<2"], {"top-level", "mid-dle", "low"}),
        (["twice"], {"low"}),
        (["absent", "-c limits.txt", "--pre"], {"low"}),
        (["./some.whl"], everything),
        (["-r more.txt"], everything),
    ]:
        assert set(lived_on(packages, new, has)) == found, packages
    assert lived_on(["low"], {}, has) == {"low": str(own / "low-1.0.dist-info")}


def test_the_first_folder_that_has_a_package_wins(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    two.mkdir()
    described(two, "thing", "1.0")
    one.mkdir()
    paths = [str(one), str(two)]
    assert installed(paths)["thing"].startswith(str(two))

    described(one, "thing", "2.0")
    assert installed(paths)["thing"].startswith(str(one))


def test_a_command_that_takes_too_long_is_stopped_with_all_that_it_has_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QCOV_ENGINE_INSTALL_LIMIT", "2")
    started = tmp_path / "pid"

    async def main() -> None:
        install = Installing(environment(str(tmp_path)), ("one", "two"))
        await install.run("sh", "-c", f"echo Collecting one; sleep 600 & echo $! > {started}; wait")

    with pytest.raises(DependencyFailed) as caught:
        asyncio.run(main())

    said = str(caught.value)
    assert "the packages one, two could not be installed" in said
    assert "was stopped after 2 s. Raise the setting engine.install_limit" in said
    assert said.endswith("It said:\nCollecting one")
    until(lambda: ended(int(started.read_text())))


def test_a_command_does_not_wait_for_what_it_has_left(tmp_path: Path) -> None:
    async def main() -> str:
        install = Installing(environment(str(tmp_path)), ("one",))
        return await install.run("sh", "-c", "sleep 600 & echo $!")

    left = int(asyncio.run(asyncio.wait_for(main(), 60)))
    until(lambda: ended(left))


@pytest.mark.parametrize(
    ("requirement", "depends"),
    [
        ("numpy", False),
        ("numpy[extra]>=2 ; python_version > '3'", False),
        ("thing @ https://example.org/thing.whl", False),
        ("./pkg", True),
        ("thing @ file:pkg", True),
        ("--find-links ./wheels", True),
        ("-e ./pkg", True),
    ],
)
def test_what_depends_on_the_folder(requirement: str, depends: bool) -> None:
    assert depends_on_folder(requirement) is depends
