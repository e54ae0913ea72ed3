"""Executors of electrons as values: what they are made of, and how they are found."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import qcov as ct
from qcov.classical.engine.hosting import Hosted
from qcov.classical.executors import plugins
from qcov.classical.executors.registry import executor_dict, executor_of
from qcov.classical.manifest import build_manifest
from qcov.classical.prepared import Arguments, Keywords, Step
from qcov.errors import InvalidExecutor, WrongSetting
from qcov.executor import AsyncBaseExecutor, BaseExecutor, DispatchInfo, LocalExecutor, wrapper_fn
from qcov.transport import dumps, loads

METADATA = {"dispatch_id": "some", "node_id": 3, "results_dir": "results"}


class Doubling(BaseExecutor):
    def __init__(self, factor: int = 2, **settings: Any) -> None:
        super().__init__(**settings)
        self.factor = factor

    def run(self, function: Any, args: Any, kwargs: Any, task_metadata: Any) -> Any:
        return function(*args, **kwargs) * self.factor


class Noting(BaseExecutor):
    """Tells what happened in which order."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def setup(self, task_metadata: Any) -> None:
        self.seen.append(f"setup {task_metadata['node_id']}")

    def run(self, function: Any, args: Any, kwargs: Any, task_metadata: Any) -> Any:
        self.seen.append("run")
        return function(*args, **kwargs)

    def teardown(self, task_metadata: Any) -> None:
        self.seen.append("teardown")


def test_a_base_runs_what_it_is_given() -> None:
    assert Doubling(3).execute(max, [1, 2], {}, "some", "results") == 6


def test_it_tears_down_after_a_failure() -> None:
    executor = Noting()

    with pytest.raises(ZeroDivisionError):
        executor.execute(lambda: 1 / 0, [], {}, "some", "results", 5)

    assert executor.seen == ["setup 5", "run", "teardown"]


def test_equal_settings_make_equal_executors() -> None:
    again = Doubling().from_dict(Doubling(5, retries=2).to_dict())

    assert again == Doubling(5, retries=2)
    assert again != Doubling(5)
    assert repr(again) == "Doubling(retries=2, factor=5)"


@pytest.mark.parametrize("given", [None, -1])
def test_no_limit_has_two_forms(given: int | None) -> None:
    assert LocalExecutor(time_limit=given).time_limit is None


@pytest.mark.parametrize(
    ("executor", "reason"),
    [
        (Doubling, "Call it to make one"),
        (BaseExecutor(), "Define `run` or `execute` in its class"),
        (AsyncBaseExecutor(), "Define `run` or `execute` in its class"),
        ("locl", "Did you mean 'local'"),
        (3, r"Give a name \(dask, local\) or an executor object"),
    ],
)
def test_what_runs_nothing_is_refused(executor: Any, reason: str) -> None:
    with pytest.raises(InvalidExecutor, match=reason):
        ct.electron(executor=executor)
    with pytest.raises(InvalidExecutor, match=reason):
        ct.lattice(max, executor=executor)


def test_a_users_own_travels_as_an_object() -> None:
    own = Doubling(4, time_limit=9.0, retries=1)
    double = ct.electron(lambda x: x, executor=own)

    def workflow() -> Any:
        first = double(1)
        own.factor = 5
        return first, double(2), double(3)

    manifest = build_manifest(ct.lattice(workflow), (), {})

    first, second = manifest["executors"]
    assert first["type"] == "Doubling"
    assert first["attributes"] == {
        "time_limit": 9.0, "retries": 1, "log_stdout": "", "log_stderr": "",
    }  # fmt: skip
    sent = [loads(manifest["blobs"][each["object"]]).factor for each in (first, second)]
    assert sent == [4, 5]
    electrons = [node for node in manifest["nodes"] if "executor" in node]
    assert [node["executor"] for node in electrons] == [0, 1, 1]
    assert {(node["retries"], node["time_limit"]) for node in electrons} == {(1, 9.0)}


def test_the_engine_gets_no_code_of_those_that_it_knows() -> None:
    assert executor_dict(LocalExecutor(workdir="here"))["attributes"]["workdir"] == "here"
    manifest = build_manifest(ct.lattice(ct.electron(max)), (1, 2), {})
    assert "object" not in manifest["executors"][0]


def test_a_job_handle_is_json() -> None:
    executor = Doubling()
    executor.set_job_handle({"id": 7, "queue": ("a", "b")})

    with pytest.raises(WrongSetting, match="a job handle must be something that JSON can say"):
        executor.set_job_handle(object())

    assert executor._job_handle == {"id": 7, "queue": ["a", "b"]}
    assert "_job_handle" not in executor.to_dict()["attributes"]


def test_streams_are_appended_to_files(tmp_path: Path) -> None:
    for _ in range(2):
        streams = ["out\n", "err\n"]
        Doubling().write_streams_to_file(streams, ["logs/out.log", ""], "some", str(tmp_path))

    assert (tmp_path / "some" / "logs" / "out.log").read_text() == "out\nout\n"
    assert len(list(tmp_path.rglob("*.log"))) == 1


# -- wrapper_fn, in both forms


def add(x: int, y: int = 0) -> int:
    return x + y


BEFORE = Step(name="before", function=lambda: 10, kwargs={}, keyword="y")


def test_it_wraps_what_execute_was_called_with() -> None:
    function = ct.TransportableObject(add)

    wrapped = wrapper_fn(function, [BEFORE], [], Arguments([1]), Keywords())

    assert wrapped.get_deserialized()(1) == 11
    assert wrapped.get_deserialized().__name__ == "add"


def test_it_calls_what_it_is_given_one_by_one() -> None:
    call, args, kwargs = loads(dumps((wrapper_fn, [add, [BEFORE], [], 1], {}), what="a call"))

    assert call(*args, **kwargs) == 11
    # an electron may take a list and a dict itself
    assert wrapper_fn(lambda a, b: (a, b), [], [], [1], {"k": 2}) == ([1], {"k": 2})


# -- what `execute` may be, and may return


class Returning(BaseExecutor):
    def __init__(self, returned: Any) -> None:
        super().__init__()
        self.returned = returned

    def execute(self, function: Any, **given: Any) -> Any:  # type: ignore[override]
        return self.returned


@pytest.mark.parametrize(
    ("returned", "value", "printed"),
    [
        (5, 5, ("", "")),
        ((5, "out", "err"), 5, ("out", "err")),
        ((5, "out", ""), 5, ("out", "")),
        ((5, "out", "err", None), 5, ("out", "err")),
        ((5, None, None), 5, ("", "")),
        ((1, 2, 3), (1, 2, 3), ("", "")),
        ((1, "a"), (1, "a"), ("", "")),
        (ct.TransportableObject([1]), [1], ("", "")),
    ],
)
def test_what_execute_may_return(
    returned: Any, value: Any, printed: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert Hosted(Returning(returned), METADATA).run(add, {}, [1], {}) == value
    assert tuple(capsys.readouterr()) == printed


def test_an_error_beside_the_streams_is_raised() -> None:
    with pytest.raises(KeyError):
        Hosted(Returning((None, "", "", KeyError("k"))), METADATA).run(add, {}, [1], {})


def test_execute_gets_what_it_takes() -> None:
    class Few(BaseExecutor):
        def execute(self, function: Any, args: Any, node_id: int) -> Any:  # type: ignore[override]
            return function(*args), node_id

    class Steps(BaseExecutor):
        def execute(  # type: ignore[override]
            self, function: Any, args: Any, kwargs: Any, call_before: Any, call_after: Any
        ) -> Any:
            return wrapper_fn(function, call_before, call_after, args, kwargs).get_deserialized()(
                *args, **kwargs
            )

    class Later(AsyncBaseExecutor):
        async def execute(self, function: Any, args: Any, **given: Any) -> Any:  # type: ignore[override]
            return function(*args), sorted(given)

    steps = {"before": [BEFORE], "after": []}
    assert Hosted(Few(), METADATA).run(add, steps, [1], {}) == (11, 3)
    assert Hosted(Steps(), METADATA).run(add, steps, [1], {}) == 11
    assert Hosted(Later(), METADATA).run(add, steps, [1], {}) == (
        11, ["dispatch_id", "kwargs", "node_id", "results_dir"],
    )  # fmt: skip


def test_code_inside_knows_its_dispatch() -> None:
    with Doubling().get_dispatch_context(DispatchInfo("some")) as told:
        assert told.dispatch_id == "some"


# -- plugins


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of plugins, with a configuration file of its own."""
    monkeypatch.setenv("QCOV_CONFIG_DIR", str(tmp_path))
    made = tmp_path / "executor_plugins"
    made.mkdir()
    yield made
    for name in [name for name in sys.modules if name.startswith("qcov_plugin_")]:
        del sys.modules[name]


PLUGIN = """
from qcov.executor import BaseExecutor
{name} = "Mine"
_EXECUTOR_PLUGIN_DEFAULTS = {{"queue": "short", "size": 3, "unset": None}}

class Helper: ...

class Mine(BaseExecutor):
    def __init__(self, queue, size=1, **settings):
        super().__init__(**settings)
        self.queue, self.size = queue, size

    def run(self, function, args, kwargs, task_metadata):
        return self.queue, function(*args, **kwargs)
"""


@pytest.mark.parametrize("name", ["EXECUTOR_PLUGIN_NAME", "executor_plugin_name"])
def test_a_file_in_the_folder_is_an_executor(folder: Path, name: str) -> None:
    (folder / "mine.py").write_text(PLUGIN.format(name=name))

    made = executor_of("mine")

    assert made == ct.executor.Mine("short", 3)  # type: ignore[attr-defined]
    assert made.to_dict()["type"] == "mine"
    assert "Mine" in dir(ct.executor)
    # it needs no module to be loaded elsewhere
    blob = dumps(made, what="it")
    del sys.modules["qcov_plugin_mine"]
    assert loads(blob).queue == "short"


def test_its_defaults_are_written_once(folder: Path) -> None:
    (folder / "mine.py").write_text(PLUGIN.format(name="EXECUTOR_PLUGIN_NAME"))
    ct.set_config("executors.mine.size", 7)

    assert executor_of("mine").size == 7  # type: ignore[attr-defined]
    assert ct.get_config("executors.mine") == {"size": 7, "queue": "short"}
    ct.set_config({"executors.mine.queue": "long", "executors.mine.retries": 2})

    made = executor_of("mine")

    assert (made.queue, made.retries) == ("long", 2)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("import no_such_module_of_anybody", "ModuleNotFoundError"),
        ("EXECUTOR_PLUGIN_NAME = 'Absent'", "AttributeError"),
        ("", "EXECUTOR_PLUGIN_NAME does not say which class"),
        ("EXECUTOR_PLUGIN_NAME = 'A'\nclass A: ...", "is not derived from BaseExecutor"),
        ("def broken(:", "SyntaxError"),
    ],
)
def test_a_broken_one_hurts_nobody_else(folder: Path, code: str, reason: str) -> None:
    (folder / "broken.py").write_text(code)
    (folder / "mine.py").write_text(PLUGIN.format(name="EXECUTOR_PLUGIN_NAME"))

    with pytest.warns(UserWarning, match=r"'broken' .*broken\.py"):
        assert list(plugins.plugin_classes()) == ["mine"]
    assert executor_of("mine") is not None
    with pytest.raises(InvalidExecutor, match=f"(?s)the plugin 'broken'.*{reason}"):
        executor_of("broken")


def test_settings_that_it_does_not_take_are_explained(folder: Path) -> None:
    code = PLUGIN.format(name="EXECUTOR_PLUGIN_NAME").replace('"queue": "short", ', "")
    (folder / "mine.py").write_text(code)

    with pytest.raises(InvalidExecutor, match=r"\[executors\.mine\]: .*'queue'"):
        executor_of("mine")


def test_an_edited_file_is_loaded_again(folder: Path) -> None:
    path = folder / "mine.py"
    path.write_text(PLUGIN.format(name="EXECUTOR_PLUGIN_NAME"))
    assert "helper" not in dir(executor_of("mine"))

    path.write_text(PLUGIN.format(name="EXECUTOR_PLUGIN_NAME") + "    helper = 1\n")

    assert executor_of("mine").helper == 1  # type: ignore[attr-defined]


def test_an_installed_package_offers_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = folder.parent / "qcov_offers.py"
    package.write_text(PLUGIN.format(name="EXECUTOR_PLUGIN_NAME"))
    info = folder.parent / "qcov_offers-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: qcov-offers\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{plugins.GROUP}]\noffered = qcov_offers\n")
    monkeypatch.syspath_prepend(str(folder.parent))
    assert importlib.metadata.version("qcov-offers") == "1.0"

    assert executor_of("offered").queue == "short"  # type: ignore[attr-defined]
    with pytest.raises(InvalidExecutor, match="Did you mean 'offered'"):
        executor_of("ofered")


@pytest.mark.parametrize("use", [lambda: ct.executor.Nobody, lambda: ct.executor._hidden])  # type: ignore[attr-defined]
def test_a_name_that_nobody_offers(folder: Path, use: Callable[[], Any]) -> None:
    assert folder.exists()
    with pytest.raises(AttributeError):
        use()
