"""The command line with a real engine process."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil
import pytest

import qcov as ct
from qcov.errors import DispatchNotFound, EngineError
from tests.services.ports import free_port

pytestmark = pytest.mark.process

StopEngine = Callable[[Path], None]


def qcov(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "qcov", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@ct.electron
def double(x: int) -> int:
    return 2 * x


@ct.electron
def refuse(x: int) -> int:
    raise ValueError(f"\x1b[31mno {x}")


@ct.lattice
def flow(x: int) -> int:
    return double(double(x))


@ct.lattice
def flop(x: int) -> int:
    return refuse(x)


def test_start_status_restart_stop(data_folder: Path) -> None:
    port = free_port()

    started = qcov("start", "-p", str(port), "-n", "1", "-m", "1GB", "--ignore-migrations")
    assert started.returncode == 0, started.stderr
    assert f"http://127.0.0.1:{port}" in started.stdout
    assert not started.stderr

    status = json.loads(qcov("status", "--json").stdout)
    assert status["status"] == "running"
    assert status["address"] == f"http://127.0.0.1:{port}"

    again = qcov("start", "-p", str(port))
    assert f"process {status['pid']}" in again.stdout

    elsewhere = qcov("start", "-p", str(free_port()))
    assert (elsewhere.returncode, elsewhere.stdout) == (1, "")
    assert f"qcov runs at http://127.0.0.1:{port} " in elsewhere.stderr
    assert "`qcov restart -p " in elsewhere.stderr

    restarted = qcov("restart")
    assert f"http://127.0.0.1:{port}" in restarted.stdout
    assert f"process {status['pid']})" not in restarted.stdout

    assert qcov("stop").stdout == "qcov stopped.\n"
    assert json.loads(qcov("status", "--json").stdout)["pid"] is None
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/", trust_env=False, timeout=60)


def test_a_restart_on_a_free_port_needs_no_engine(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setenv("QCOV_DISPATCHER_PORT", str(other.getsockname()[1]))
        started = qcov("restart", "-p", "0")

    assert started.returncode == 0, started.stderr
    assert "http://127.0.0.1:" in started.stdout


def test_a_login_link_works_once(data_folder: Path) -> None:
    link = re.findall(r"http\S+code=\S+", qcov("start", "-p", str(free_port())).stdout)[0]

    with httpx.Client(trust_env=False, follow_redirects=True, timeout=60) as browser:
        assert browser.get(link).status_code == 200
    with httpx.Client(trust_env=False, follow_redirects=True, timeout=60) as browser:
        assert browser.get(link).status_code == 401


def test_a_port_in_use_is_an_error(data_folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ran = qcov("start", "-p", str(port))

    assert ran.returncode == 1
    assert ran.stderr.startswith(f"error: port {port} on localhost is in use by another program.")
    assert (
        json.loads(qcov("status", "--json").stdout)["status"] == "stopped"
    )  # none was left behind


def test_a_port_in_use_leaves_an_engine_that_ran_before(data_folder: Path) -> None:
    ct.dispatch_sync(flow)(1)
    before = json.loads(qcov("status", "--json").stdout)["pid"]
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert qcov("start", "-p", str(other.getsockname()[1])).returncode == 1

    assert json.loads(qcov("status", "--json").stdout)["pid"] == before
    assert qcov("stop").stdout == "qcov stopped.\n"


def test_what_cannot_start_again_is_not_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    qcov("start", "-p", str(free_port()))
    before = qcov("status", "--json").stdout
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = qcov("restart", "-p", str(other.getsockname()[1]))
    with monkeypatch.context() as patch:
        patch.setenv("QCOV_DISPATCHER_ADDRESS", "0.0.0.0")
        exposed = qcov("restart")

    assert taken.returncode != 0
    assert "is in use by another program" in taken.stderr
    assert exposed.returncode != 0
    assert "only loopback addresses are served" in exposed.stderr
    assert qcov("status", "--json").stdout == before


def test_a_broken_setting_is_told_before_a_restart_stops_anything(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ct.dispatch_sync(flow)(1)
    monkeypatch.setenv("QCOV_DISPATCHER_PORT", "abc")

    ran = qcov("restart")

    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (1, "", 1)
    assert ran.stderr.startswith("error: environment variable QCOV_DISPATCHER_PORT: ")
    assert json.loads(qcov("status", "--json").stdout)["status"] == "embedded"


def test_looking_says_when_it_starts_an_engine(data_folder: Path) -> None:
    first = qcov("ls", "--json")
    assert json.loads(first.stdout) == []
    assert first.stderr == "note: no engine runs, so one is started to answer\n"
    assert qcov("ls").stderr == ""

    engine = psutil.Process(json.loads(qcov("status", "--json").stdout)["pid"])
    engine.kill()
    engine.wait()
    assert qcov("ls").stderr.startswith("note: the engine has crashed; it is started again")


def test_a_folder_that_cannot_be_used_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("QCOV_DATA_DIR", str(tmp_path / "file" / "below"))

    ran = qcov("ls")

    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1].startswith("error: the data folder")
    assert "QCOV_DATA_DIR" in ran.stderr


def test_dispatches_are_listed_and_shown(common_engine: Path) -> None:
    good = ct.dispatch_sync(flow)(4).dispatch_id
    bad = ct.dispatch_sync(flop)(5).dispatch_id

    listed = json.loads(qcov("ls", "--json", "-l", "2").stdout)
    assert [(row["id"], row["status"]) for row in listed] == [(bad, "FAILED"), (good, "COMPLETED")]
    assert good in qcov("ls").stdout
    assert good not in qcov("ls", "--status", "failed").stdout

    shown = json.loads(qcov("show", good, "--json").stdout)
    assert shown["status"] == "COMPLETED"
    assert shown["result_repr"] == "16"
    assert {"double"} <= {node["name"] for node in shown["nodes"]}

    local = datetime.fromtimestamp(shown["created"], UTC).astimezone().isoformat(" ", "seconds")
    assert f"created {local}," in qcov("show", good).stdout
    assert local in qcov("ls").stdout

    text = qcov("show", bad[:8]).stdout
    assert "ValueError: no 5" in text
    assert "\x1b" not in text


def test_an_unknown_dispatch_is_an_error(common_engine: Path) -> None:
    for given in ("nope", "0" * 36):
        ran = qcov("show", given)
        assert ran.returncode == 1
        assert f"error: no dispatch {given!r}" in ran.stderr


def test_ctrl_c_ends_quietly(data_folder: Path, interruptible: None) -> None:
    data_folder.mkdir()
    with socket.socket(socket.AF_UNIX) as engine:  # one that never answers
        engine.bind(str(data_folder / "s"))
        engine.listen()
        (data_folder / "engine.json").write_text(json.dumps({"socket": str(data_folder / "s")}))
        command = [sys.executable, "-m", "qcov", "ls"]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as program:
            asking, _ = engine.accept()
            program.send_signal(signal.SIGINT)
            told = program.communicate()
            asking.close()

    assert program.returncode == 130
    assert told == ("", "Interrupted. What was dispatched goes on: `qcov ls` lists it.\n")


def test_triggers_on_a_server(data_folder: Path, tmp_path: Path) -> None:
    port, watched = free_port(), tmp_path / "watched"
    watched.mkdir()
    assert qcov("start", "-p", str(port)).returncode == 0
    address = f"http://127.0.0.1:{port}"
    trigger = ct.triggers.DirTrigger(watched, "created")

    dispatch_id = ct.dispatch(ct.lattice(double, triggers=trigger), address)(2)
    for number in range(2):
        (watched / str(number)).touch()
        _until(lambda number=number: len(trigger.new_dispatch_ids) > number)

    ids = trigger.new_dispatch_ids
    assert ids[0] == dispatch_id
    for each in ids:
        assert ct.get_result(each, wait=True, dispatcher_addr=address, timeout=60).result == 4
    ct.stop_triggers(dispatch_id, address)
    with pytest.raises(DispatchNotFound):
        ct.stop_triggers("no-such-id", address)


def test_a_server_that_only_has_triggers(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_engine: StopEngine
) -> None:
    ports = free_port(), free_port()
    folders = data_folder, tmp_path / "other"
    assert qcov("start", "-p", str(ports[0])).returncode == 0
    # one token for both: the trigger's process, in the other folder, talks to the first server
    folders[1].mkdir(mode=0o700)
    shutil.copy2(folders[0] / "server.token", folders[1])
    monkeypatch.setenv("QCOV_DATA_DIR", str(folders[1]))
    assert qcov("start", "-p", str(ports[1]), "--triggers-only").returncode == 0
    here, there = (f"http://127.0.0.1:{port}" for port in ports)
    try:
        with pytest.raises(EngineError, match="This server only has triggers"):
            ct.dispatch(flow, there)(1)
        dispatch_id = ct.dispatch(flow, here)(1)
        trigger = ct.triggers.TimeTrigger(0.2, dispatch_id, here, there)
        trigger.register()
        _until(lambda: trigger.new_dispatch_ids)
        made = trigger.new_dispatch_ids[0]
        assert ct.get_result(made, wait=True, dispatcher_addr=here, timeout=60).result == 4
        ct.stop_triggers(dispatch_id, there)
    finally:
        stop_engine(folders[1])


def _until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def test_other_addresses_need_to_be_asked_for_and_are_warned_of() -> None:
    port = str(free_port())
    started = qcov("start", "-p", port, "--host", "0.0.0.0", "--name", "qcov.example")
    assert started.returncode == 0
    assert "nothing encrypts what is carried" in started.stderr
    assert "Log in, once: http://127.0.0.1:" in started.stdout

    again = qcov("restart")  # as it was
    assert (again.returncode, "nothing encrypts" in again.stderr) == (0, True)
    assert qcov("start", "-p", port, "--host", "127.0.0.1").returncode == 1
    assert qcov("start", "--name", "x").returncode == 2
