"""What is done to dispatches from the command line, with a real engine."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import qcov as ct
from qcov.classical.engine.client import call
from tests.waiting import until

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Run

pytestmark = pytest.mark.process

_SCRIPT = '''
from __future__ import annotations

from dataclasses import dataclass

import beside
import qcov as ct


@dataclass
class Pair:
    left: object
    right: object


@ct.electron
def pair(left, right):
    return Pair(left, right)


@ct.lattice
def flow(x, y=(), the_name: str = "z"):
    """Makes a pair."""
    return pair(x, [y, the_name, beside.WORD])


@ct.electron
def refuse():
    raise ValueError("\\x1b[31mno")


@ct.lattice
def flop():
    return refuse()


@ct.lattice
def json_too(json):
    return pair(json, None)


if __name__ == "__main__":
    raise SystemExit("the main block runs")
'''


@ct.electron
def double(x: int) -> int:
    return 2 * x


@ct.electron
def wait_for(path: str) -> str:
    print("\x1b[31mit waits", flush=True)
    while not Path(path).exists():
        time.sleep(0.02)
    return "waited"


@ct.electron
def refuse() -> None:
    raise ValueError("no")


@ct.lattice
def doubled(x: int) -> int:
    return double(x)


@ct.lattice
def waiting(path: str) -> str:
    return wait_for(path)


@ct.lattice
def flop() -> None:
    return refuse()


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "my-script.py"
    path.write_text(_SCRIPT)
    (tmp_path / "beside.py").write_text("WORD = 'beside'\n")
    return path


@pytest.fixture
def slow(tmp_path: Path, common_engine: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    """A dispatch that runs, and what lets it end."""
    path = tmp_path / "go"
    dispatch_id = ct.dispatch(waiting)(str(path))
    until(lambda: "it waits" in call("streams", dispatch_id=dispatch_id, node_id=0)["stdout"])
    yield dispatch_id, path.touch
    path.touch()


def qcov(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "qcov", *arguments]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300
    )


@pytest.mark.usefixtures("common_engine")
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("1",), "Pair(left=1, right=[(), 'z', 'beside'])"),
        (("--x", "-1", "--y", "[1,2]"), "Pair(left=-1, right=[[1, 2], 'z', 'beside'])"),
        (("--x=a b", "--the-name", "c"), "Pair(left='a b', right=[(), 'c', 'beside'])"),
        (("null", '{"a": 1}'), "Pair(left=None, right=[{'a': 1}, 'z', 'beside'])"),
    ],
)
def test_run_takes_arguments_as_json_or_text(
    script: Path, arguments: tuple[str, ...], expected: str
) -> None:
    ran = qcov("run", f"{script}:flow", *arguments)

    assert (ran.returncode, ran.stdout) == (0, f"{expected}\n"), ran.stderr
    assert re.fullmatch(r"dispatch [\w-]{36}\n", ran.stderr)


@pytest.mark.usefixtures("common_engine")
def test_options_stand_before_the_lattice_or_behind_it(script: Path) -> None:
    before = json.loads(qcov("run", "--json", f"{script}:flow", "1").stdout)
    behind = json.loads(qcov("run", f"{script}:flow", "1", "--json").stdout)
    parameter = qcov("run", f"{script}:json_too", "--json", "7")

    assert before["status"] == behind["status"] == "COMPLETED"
    assert before["result_repr"] == behind["result_repr"]
    assert parameter.stdout == "Pair(left=7, right=None)\n"


@pytest.mark.usefixtures("common_engine")
def test_run_without_waiting_gives_an_id_that_result_takes(script: Path) -> None:
    dispatch_id = qcov("run", f"{script}:flow", "1", "--no-wait").stdout.strip()

    told = qcov("result", dispatch_id, "--wait")

    assert told.stdout == "Pair(left=1, right=[(), 'z', 'beside'])\n", told.stderr


@pytest.mark.usefixtures("common_engine")
def test_run_watched_ends_with_the_exit_code_of_the_dispatch(script: Path) -> None:
    good = qcov("run", f"{script}:flow", "1", "--watch")
    bad = qcov("run", f"{script}:flop", "--watch")

    assert good.returncode == 0
    assert good.stdout.splitlines()[-1] == "result: Pair(left=1, right=[(), 'z', 'beside'])"
    assert bad.returncode == 1
    assert "ValueError: no" in bad.stdout
    assert "\x1b" not in bad.stdout


@pytest.mark.parametrize(
    ("target", "arguments", "said"),
    [
        ("{}:flow", (), "missing a required argument: 'x'"),
        ("{}:flow", ("--z", "1"), "flow takes no 'z'. Known: the_name, x, y."),
        ("{}:flow", ("1", "--x", "1"), "multiple values for argument 'x'"),
        ("{}:flow", ("--x",), "--x: it has no value"),
        ("{}:flow", ("--x", "--y"), "--x: it has no value"),
        ("{}:flaw", (), "has no lattice 'flaw'. Did you mean 'flow'?"),
        ("{}", (), "say which lattice: my-script.py:flow, my-script.py:flop"),
        ("{}.no:flow", (), "there is no file"),
        ("{}:flow", ("1", "--watch", "--no-wait"), "give one of them"),
    ],
)
def test_run_says_what_was_written_wrongly(
    script: Path, target: str, arguments: tuple[str, ...], said: str, data_folder: Path
) -> None:
    ran = qcov("run", target.format(script), *arguments)

    assert (ran.returncode, ran.stdout) == (2, "")
    assert said in ran.stderr
    assert not data_folder.exists()


def test_run_shows_an_error_of_the_script_as_its_author_knows_it(tmp_path: Path) -> None:
    script = tmp_path / "broken.py"
    script.write_text("import qcov as ct\n\n1 / 0\n")

    ran = qcov("run", f"{script}:flow")

    assert ran.returncode == 1
    assert f'"{script}", line 3' in ran.stderr
    assert ran.stderr.count("File ") == 1


def test_help_behind_a_lattice_tells_of_the_lattice(script: Path, data_folder: Path) -> None:
    ran = qcov("run", f"{script}:flow", "--help")

    assert ran.stdout == "flow(x, y=(), the_name: 'str' = 'z')\n\nMakes a pair.\n"
    assert not data_folder.exists()


def test_watch_tells_in_lines_where_there_is_no_terminal(
    run: Run, slow: tuple[str, Callable[[], object]]
) -> None:
    dispatch_id, let_go = slow
    command = [sys.executable, "-m", "qcov", "watch", dispatch_id]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        assert watching.stdout.readline() == "RUNNING, 0 of 1 electrons\n"
        let_go()
        rest = watching.stdout.read()

    assert watching.returncode == 0
    assert re.fullmatch(r"COMPLETED, 1 of 1 electrons, .* s\nresult: 'waited'\n", rest)
    said = [json.loads(line) for line in run("watch", dispatch_id, "--json").out.splitlines()]
    assert [line["status"] for line in said] == ["COMPLETED"]
    assert said[-1]["result_repr"] == "'waited'"


def test_watch_on_a_terminal_shows_nodes_and_what_they_print(
    slow: tuple[str, Callable[[], object]],
) -> None:
    dispatch_id, let_go = slow
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "qcov", "watch", dispatch_id[:8]]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "120", "LINES": "30"}
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment) as watching:
        os.close(theirs)
        shown = b""
        while b"it waits" not in shown:
            shown += os.read(ours, 4096)
        let_go()
        with contextlib.suppress(OSError):  # the other side has hung up
            while True:
                shown += os.read(ours, 4096)
    os.close(ours)

    assert watching.returncode == 0
    assert b"wait_for" in shown
    assert b"RUNNING" in shown
    assert b"1/1 electrons" in shown
    assert b"\x1b[31mit waits" not in shown


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_leaves_what_is_watched_running(slow: tuple[str, Callable[[], object]]) -> None:
    dispatch_id, let_go = slow
    command = [sys.executable, "-m", "qcov", "watch", dispatch_id]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as watching:
        assert watching.stdout is not None
        watching.stdout.readline()
        watching.send_signal(signal.SIGINT)
        _, said = watching.communicate()

    assert watching.returncode == 130
    assert "What was dispatched goes on" in said
    assert ct.get_result(dispatch_id).status == "RUNNING"
    let_go()
    assert ct.get_result(dispatch_id, wait=True).result == "waited"


def test_watch_exits_with_1_when_it_failed(run: Run, common_engine: Path) -> None:
    dispatch_id = ct.dispatch(flop)()

    ran = run("watch", dispatch_id)

    assert ran.code == 1
    assert "ValueError: no" in ran.out


def test_cancel_a_node_then_all(run: Run, slow: tuple[str, object]) -> None:
    dispatch_id, _ = slow
    odd = run("cancel", dispatch_id, "--node", "99")
    ran = run("cancel", dispatch_id[:12], "--json")

    assert odd.code == 1
    assert "has no node 99" in odd.err
    assert json.loads(ran.out)["id"] == dispatch_id
    assert ct.get_result(dispatch_id, wait=True).status == "CANCELLED"


def test_redispatch_runs_the_same_again(run: Run, common_engine: Path) -> None:
    first = ct.dispatch_sync(doubled)(4)

    again = run("redispatch", first.dispatch_id).out.strip()
    reused = json.loads(run("redispatch", first.dispatch_id, "--reuse", "--json").out)

    assert ct.get_result(again, wait=True).result == 8
    assert reused["from"] == first.dispatch_id
    node = ct.get_result(reused["id"], wait=True).get_node_result(0)
    assert node["reused_from"] == first.dispatch_id
    assert ct.get_result(again).get_node_result(0)["reused_from"] is None


def test_a_failed_dispatch_is_resumed_without_its_code(
    run: Run, tmp_path: Path, common_engine: Path
) -> None:
    flag, log = tmp_path / "mended", tmp_path / "log"

    @ct.electron
    def noted(x: int) -> int:
        with log.open("a") as file:
            file.write(f"{x}\n")
        return x

    @ct.electron
    def finish(x: int) -> int:
        if not flag.exists():
            raise ValueError("not yet")
        return x + 1

    @ct.electron
    @ct.lattice
    def inner(x: int) -> int:
        return finish(noted(x))

    failed = ct.dispatch_sync(ct.lattice(lambda: inner(noted(1))))()
    flag.touch()
    again = run("redispatch", failed.dispatch_id, "--reuse").out.strip()

    assert failed.status == "FAILED"
    assert ct.get_result(again, wait=True).result == 2
    assert log.read_text() == "1\n1\n"  # `noted` ran once in each, and not again
    third = run("redispatch", again, "--reuse").out.strip()
    assert ct.get_result(third, wait=True).result == 2
    assert log.read_text() == "1\n1\n"


def test_redispatch_starts_what_was_only_stored(run: Run, common_engine: Path) -> None:
    stored = ct.dispatch(doubled, disable_run=True)(4)

    assert run("redispatch", stored).out == f"{stored}\n"
    assert ct.get_result(stored, wait=True).result == 8


def test_rm_removes_what_has_ended(
    run: Run, slow: tuple[str, Callable[[], object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    running, let_go = slow
    ended = ct.dispatch_sync(doubled)(1).dispatch_id

    asked = qcov("rm", ended)  # nobody answers
    assert (asked.returncode, ended in asked.stdout) == (1, True)
    ran = run("rm", ended, running, "-y")

    assert ran.code == 1
    assert ran.out == f"{ended} is removed.\n"
    assert f"{running} is RUNNING" in ran.err or "Cancel it first" in ran.err
    assert run("show", ended).code == 1
    assert run("show", running).code == 0
    let_go()


def test_result_of_what_has_none(run: Run, slow: tuple[str, Callable[[], object]]) -> None:
    running, let_go = slow
    failed = ct.dispatch_sync(flop)().dispatch_id

    assert "is RUNNING; --wait waits for its end" in run("result", running).err
    told = run("result", failed, "--json")
    assert (told.code, json.loads(told.out)["status"]) == (1, "FAILED")
    assert "ValueError: no" in json.loads(told.out)["error"]
    let_go()


@pytest.mark.usefixtures("common_engine")
def test_a_shell_completes_ids_statuses_and_settings() -> None:
    dispatch_id = ct.dispatch_sync(doubled)(1).dispatch_id

    def completed(line: str) -> str:
        words = {"COMP_WORDS": f"qcov {line}", "COMP_CWORD": str(line.count(" ") + 1)}
        environment = {**os.environ, "_QCOV_COMPLETE": "complete_bash", **words}
        code = "import sys; sys.argv[0] = 'qcov'; from qcov.cli import app; app(prog_name='qcov')"
        command = [sys.executable, "-c", code]
        return subprocess.run(command, capture_output=True, text=True, env=environment).stdout

    assert dispatch_id in completed(f"show {dispatch_id[:6]}")
    assert dispatch_id not in completed(f"watch {dispatch_id[:6]}")
    assert completed("ls --status COMP").split() == ["COMPLETED"]
    assert completed("config dispatcher.po").split() == ["dispatcher.port"]
