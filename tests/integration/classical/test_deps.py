"""Commands, packages and functions around electrons, as they run."""

from __future__ import annotations

import os
import re
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import qcov as ct
from tests.integration.classical.conftest import Gate
from tests.waiting import ended, until

pytestmark = pytest.mark.usefixtures("common_engine")

Run = Callable[..., ct.Result]


def wheel(folder: Path, name: str, version: str, code: str) -> str:
    """A package that needs no network to be installed; returns its path."""
    path, about = folder / f"{name}-{version}-py3-none-any.whl", f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", code)
        described = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        archive.writestr(f"{about}/METADATA", described)
        tags = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        archive.writestr(f"{about}/WHEEL", tags)
        archive.writestr(f"{about}/RECORD", "")
    return str(path)


def value(result: ct.Result) -> Any:
    assert result.status == "COMPLETED", result.error
    return result.result


def test_all_of_it_runs_in_its_order(run: Run, tmp_path: Path) -> None:
    log = tmp_path / "log"

    def note(word: str) -> str:
        with log.open("a") as file:
            file.write(f"{word}\n")
        return word

    async def note_later(word: str) -> str:
        return note(word)

    @ct.electron(
        deps_bash=[f"echo bash >> {log}", "echo shown; echo told >&2"],
        call_before=[
            ct.DepsCall(note, ["first"], retval_keyword="words"),
            ct.DepsCall(note_later, kwargs={"word": "second"}, retval_keyword="words"),
            ct.DepsCall(note, ["third"], retval_keyword="word"),
        ],
        call_after=[lambda: note("after"), ct.DepsBash(f"echo end >> {log}")],
    )
    def electron(x: int, words: list[str] | None = None, word: str = "") -> Any:
        note("electron")
        return x, words, word

    result = run(lambda: electron(1))

    assert value(result) == (1, ["first", "second"], "third")
    steps = ["bash", "first", "second", "third", "electron", "after", "end"]
    assert log.read_text().split() == steps
    node = result.get_node_result(0)
    assert (node["stdout"], node["stderr"]) == ("shown\n", "told\n")


def test_a_call_gets_the_value_of_an_electron(run: Run) -> None:
    @ct.electron
    def load() -> dict[str, int]:
        return {"rate": 3}

    def scaled(settings: dict[str, int], extra: list[int]) -> int:
        return settings["rate"] * sum(extra)

    def workflow() -> Any:
        settings = load()
        call = ct.DepsCall(scaled, [settings], {"extra": [settings["rate"], 1]}, retval_keyword="y")
        return ct.electron(lambda x, y=0: x + y, call_before=call)(100)

    assert value(run(workflow)) == 112


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"deps_bash": "exit 4"}, "the command 'exit 4' failed: exit status 4"),
        ({"deps_bash": "kill -9 $$"}, r"failed: signal 9"),
        ({"call_before": lambda: {}["key"]}, r"KeyError: 'key'\n.*DepsCall '<lambda>'"),
        ({"call_after": [].pop}, r"IndexError: pop from empty list\n"),
    ],
)
def test_a_step_that_fails_fails_the_electron(
    run: Run, settings: dict[str, Any], error: str, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"

    result = run(ct.electron(lambda: ran.touch() or 1, **settings))

    assert result.status == "FAILED"
    node = result.get_node_result(0)
    assert node["status"] == "FAILED"
    assert re.search(error, node["error"]), node["error"]
    assert re.search(r"'exit 4'|\$\$|DepsCall '(<lambda>|pop)' of the electron", str(result.error))
    assert ran.exists() == ("call_after" in settings)


def test_a_retry_prepares_again(run: Run, tmp_path: Path) -> None:
    log = tmp_path / "log"

    @ct.electron(retries=2, deps_bash=f"echo x >> {log}")
    def third_time() -> int:
        if len(log.read_text().split()) < 3:
            raise ConnectionError
        return 3

    assert value(run(third_time)) == 3


def test_what_a_command_has_started_ends_with_its_electron(run: Run, tmp_path: Path) -> None:
    pid = tmp_path / "pid"

    @ct.electron(deps_bash=f"echo $$ > {pid}; exec sleep 600", time_limit=2)
    def never() -> None: ...

    result = run(never)

    assert "TimeLimitExceeded" in str(result.error)
    until(lambda: ended(int(pid.read_text())))


def test_sublattices_take_them_over(run: Run) -> None:
    @ct.electron
    def variable() -> str | None:
        return os.environ.get("QCOV_TEST_PREPARED")

    @ct.electron
    @ct.lattice
    def inner() -> Any:
        return variable()

    def prepare() -> None:
        os.environ["QCOV_TEST_PREPARED"] = "yes"

    workflow = ct.lattice(inner, call_before=prepare)
    assert value(ct.dispatch_sync(workflow)()) == "yes"


def test_packages_are_installed_beside_the_users_own(run: Run, tmp_path: Path) -> None:
    old = wheel(tmp_path, "qcov_tested", "1.0", "VALUE = 1\n")
    new = wheel(tmp_path, "qcov_tested", "2.0", "VALUE = 2\n")

    def look() -> tuple[int, str]:  # numpy is the user's own
        import qcov_tested  # pyright: ignore[reportMissingImports]

        return qcov_tested.VALUE, np.__version__

    def is_there() -> bool:
        import importlib.util

        return importlib.util.find_spec("qcov_tested") is not None

    with_old = ct.electron(deps_pip=[old])(look)
    with_new = ct.electron(deps_pip=ct.DepsPip([new]))(look)

    def workflow() -> Any:
        return with_old(), with_new(), ct.electron(is_there)()

    assert value(run(workflow)) == ((1, np.__version__), (2, np.__version__), False)


def test_a_value_of_an_installed_class_can_be_passed_on(tmp_path: Path) -> None:
    package = wheel(tmp_path, "qcov_classes", "1.0", "class Thing:\n    size = 3\n")

    @ct.electron
    def make() -> Any:
        from qcov_classes import Thing  # pyright: ignore[reportMissingImports]

        return Thing()

    @ct.electron
    def measure(thing: Any) -> int:
        return thing.size

    workflow = ct.lattice(lambda: {"size": measure(make()), "twice": make().size * 2})
    workflow.set_metadata("deps_pip", package)
    assert value(ct.dispatch_sync(workflow)()) == {"size": 3, "twice": 6}


def test_a_sublattice_is_built_where_its_packages_are(run: Run, tmp_path: Path) -> None:
    package = wheel(tmp_path, "qcov_built", "1.0", "COUNT = 2\n")

    @ct.electron
    def one() -> int:
        return 1

    @ct.electron(deps_pip=package)
    @ct.lattice
    def inner() -> Any:
        from qcov_built import COUNT  # pyright: ignore[reportMissingImports]

        return [one() for _ in range(COUNT)]

    assert value(run(inner)) == [1, 1]


def test_a_package_that_cannot_be_installed_fails_the_electron(run: Run, tmp_path: Path) -> None:
    missing = tmp_path / "none-1.0-py3-none-any.whl"

    result = run(ct.electron(lambda: 1, deps_pip=str(missing)))

    assert result.status == "FAILED"
    assert "could not be installed" in str(result.error)
    assert "Correct deps_pip" in result.get_node_result(0)["error"]
    assert missing.name in result.get_node_result(0)["error"]


def slow_package(folder: Path, gate: Gate) -> str:
    """A package whose build tells its process's number, and waits."""
    package = folder / "slow"
    package.mkdir()
    (package / "backend.py").write_text(
        f"import os, pathlib\npathlib.Path({str(gate.begun)!r}).write_text(str(os.getpid()))\n"
        f"pathlib.Path({str(gate.open)!r}).read_text()\n"
    )
    (package / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    return str(package)


def test_cancelling_stops_an_installation(tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    workflow = ct.lattice(ct.electron(lambda: 1, deps_pip=slow_package(tmp_path, gate)))

    dispatch_id = ct.dispatch(workflow)()
    building = psutil.Process(int(gate.wait()))
    ct.cancel(dispatch_id)

    assert ct.get_result(dispatch_id, wait=True, timeout=60).status == "CANCELLED"
    building.wait(60)


def test_an_engine_that_stops_stops_an_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_engine: Callable[[Path], None]
) -> None:
    monkeypatch.setenv("QCOV_DATA_DIR", str(tmp_path / "own"))
    gate = Gate(tmp_path)
    workflow = ct.lattice(ct.electron(lambda: 1, deps_pip=slow_package(tmp_path, gate)))

    ct.dispatch(workflow)()
    building = psutil.Process(int(gate.wait()))
    stop_engine(tmp_path / "own")

    building.wait(60)


def test_a_module_travels_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "only_here"
    folder.mkdir()
    (folder / "qcov_travels.py").write_text(
        "FACTOR = 3\n\nclass Thing:\n    size = FACTOR\n\n"
        "def scale(thing):\n    return FACTOR * thing.size\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    import qcov_travels  # type: ignore[import-not-found]  # pyright: ignore[reportMissingImports]

    plain = ct.electron(qcov_travels.scale)
    whole = ct.electron(qcov_travels.scale, deps_module=qcov_travels)
    inner = ct.electron(ct.lattice(whole))

    def workflow() -> Any:
        return whole(qcov_travels.Thing()), inner(qcov_travels.Thing())

    monkeypatch.setattr("sys.path", [path for path in sys.path if path != str(folder)])
    assert value(ct.dispatch_sync(ct.lattice(workflow, deps_module="qcov_travels"))()) == (9, 9)
    alone = ct.dispatch_sync(ct.lattice(lambda: plain(1)))()
    assert "No module named 'qcov_travels'" in str(alone.error)
