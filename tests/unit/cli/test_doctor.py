"""What `qcov doctor` finds, one sickness at a time."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import re
import socket
import sqlite3
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import qcov as ct
from qcov.cli.checkup import machine
from qcov.cli.checkup.finding import Level, findings
from qcov.store import folder as store_folder

if TYPE_CHECKING:
    from conftest import Run


def found(run: Run, about: str, *arguments: str) -> list[dict[str, Any]]:
    """What it says of one thing."""
    ran = run("doctor", "--json", *arguments)
    told = json.loads(ran.out)
    sick = any(each["level"] == "problem" for each in told["findings"])
    assert (told["healthy"], ran.code) == ((False, 1) if sick else (True, 0))
    return [each for each in told["findings"] if each["about"] == about]


def write_settings(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "config" / "qcov.conf"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    file.chmod(0o600)
    return file


def make_database(folder: Path, schema: str) -> Path:
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / "qcov.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES (?)", (schema,))
        connection.execute("CREATE TABLE many (value TEXT)")
        connection.executemany("INSERT INTO many VALUES (?)", [("x" * 500,)] * 500)
        connection.commit()
    path.chmod(0o600)
    return path


def test_where_nothing_is_yet_all_is_well_and_nothing_is_made(run: Run, tmp_path: Path) -> None:
    ran = run("doctor")

    assert ran.code == 0, ran.out
    assert "the first dispatch starts one" in ran.out
    assert "0 problems." in ran.out
    assert list(tmp_path.iterdir()) == []


def test_each_wrong_setting_is_named_with_its_line(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_settings(tmp_path, "[dispatcher]\nport = 'x'\nprt = 1\n\n[engine]\nworkers = -1\n")
    monkeypatch.setenv("QCOV_SDK_LOG_LEVEL", "loud")

    told = [each["said"] for each in found(run, "settings")]

    assert len(told) == 4
    for text, place in zip(told, ("line 2", "line 3", "line 6", "QCOV_SDK_LOG_LEVEL"), strict=True):
        assert f"{place}: " in text


def test_a_file_that_is_not_toml(run: Run, tmp_path: Path) -> None:
    write_settings(tmp_path, "[dispatcher\nport = 1\n")

    [told] = found(run, "settings")

    assert told["level"] == "problem"
    assert "qcov.conf, line 1" in told["said"]


def test_settings_that_others_may_write(run: Run, tmp_path: Path) -> None:
    write_settings(tmp_path, "").chmod(0o666)

    [told] = found(run, "settings")

    assert told["level"] == "problem"
    assert "chmod go-w" in told["advice"]


@pytest.mark.parametrize(
    ("folder_mode", "file_mode", "level", "advice"),
    [
        (0o700, 0o600, "ok", ""),
        (0o755, 0o600, "warning", "chmod 700"),
        (0o770, 0o600, "problem", "chmod 700"),
        (0o700, 0o644, "warning", "chmod -R go="),
    ],
)
def test_modes_of_the_data_folder(
    run: Run, data_folder: Path, folder_mode: int, file_mode: int, level: str, advice: str
) -> None:
    data_folder.mkdir()
    (data_folder / "seal.key").write_bytes(b"key")
    (data_folder / "seal.key").chmod(file_mode)
    data_folder.chmod(folder_mode)

    [told] = found(run, "data folder")

    assert told["level"] == level
    assert advice in told["advice"]


def test_a_data_folder_that_is_a_file(run: Run, data_folder: Path) -> None:
    data_folder.write_text("")

    assert "is no folder" in found(run, "data folder")[0]["said"]


@pytest.mark.parametrize("above", ["/proc", "/dev/null"])
def test_a_data_folder_where_no_files_can_be(
    run: Run, monkeypatch: pytest.MonkeyPatch, above: str
) -> None:
    monkeypatch.setenv("QCOV_DATA_DIR", f"{above}/nope")

    [told] = found(run, "data folder")

    assert told["level"] == "problem"
    assert f"{above} keeps no files" in told["said"]


def test_a_network_file_system(
    run: Run, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"host:/export {tmp_path} nfs4 rw 0 0\n")
    monkeypatch.setattr(store_folder, "_MOUNTS", mounts)

    [told] = found(run, "disk")

    assert told["level"] == "problem"
    assert "(nfs4)" in told["said"]
    assert "PostgreSQL" in told["advice"]


@pytest.mark.parametrize(
    ("schema", "level", "said"),
    [("9999", "problem", "a newer qcov"), ("0001", "warning", "it will be brought to")],
)
def test_a_database_of_another_schema(
    run: Run, data_folder: Path, schema: str, level: str, said: str
) -> None:
    make_database(data_folder, schema)
    before = sorted(path.name for path in data_folder.iterdir())

    [told] = found(run, "database")

    assert (told["level"], said in told["said"]) == (level, True)
    assert sorted(path.name for path in data_folder.iterdir()) == before


def test_a_damaged_database(run: Run, data_folder: Path) -> None:
    path = make_database(data_folder, "0001")
    data = bytearray(path.read_bytes())
    data[8192 : 8192 + 2000] = bytes(2000)
    path.write_bytes(data)

    [told] = found(run, "database")

    assert told["level"] == "problem"
    assert str(path) in told["said"]


def test_no_database_at_all(run: Run, data_folder: Path) -> None:
    data_folder.mkdir(mode=0o700)
    (data_folder / "qcov.sqlite").write_bytes(b"no database" * 100)

    assert "not a database" in found(run, "database")[0]["said"]


def test_a_database_server_that_is_away(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    url = f"postgresql://me:secret@127.0.0.1:{port}/qcov"
    monkeypatch.setenv("QCOV_WORKFLOW_DATA_DB_URL", url)

    [told] = found(run, "database")

    assert told["level"] == "problem"
    assert "me:***@" in told["said"]
    assert "secret" not in told["said"]


@pytest.mark.services
def test_the_clock_of_a_database_server(
    run: Run, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QCOV_WORKFLOW_DATA_DB_URL", postgresql_url)

    told = found(run, "clock")[0]
    assert told["level"] == "ok"
    assert re.search(r"the database server's is [01]\.", told["said"])
    assert found(run, "database")[0]["level"] == "warning"  # nothing is there yet


@pytest.mark.parametrize(
    ("ahead", "level", "told"),
    [
        (0, "ok", r"that of 127\.0\.0\.1 \(tracing\.endpoint\) is [01]\."),
        (600, "warning", " ahead"),
    ],
)
def test_the_clock_beside_that_of_a_server_in_the_settings(
    run: Run, monkeypatch: pytest.MonkeyPatch, ahead: float, level: str, told: str
) -> None:
    class Late(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(405)
            self.end_headers()

        def date_time_string(self, timestamp: float | None = None) -> str:
            return super().date_time_string(int(time.time() + ahead))

    with http.server.HTTPServer(("127.0.0.1", 0), Late) as server:
        threading.Thread(target=server.handle_request).start()
        url = f"http://127.0.0.1:{server.server_port}/v1/traces"
        monkeypatch.setenv("QCOV_TRACING_ENDPOINT", url)
        own, other = found(run, "clock")

    assert own["level"] == "ok"
    assert other["level"] == level
    assert re.search(told, other["said"]), other


def test_a_clock_that_is_compared_with_none_says_so(run: Run) -> None:
    [told] = found(run, "clock")

    assert told["said"].endswith("compared with no other")


def test_a_port_that_somebody_has(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("QCOV_DISPATCHER_PORT", str(server.getsockname()[1]))
        [told] = found(run, "port")

    assert told["level"] == "warning"
    assert "qcov start -p" in told["advice"]


def test_credentials_are_sought_and_never_shown(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HERE", "sesame")
    monkeypatch.setenv("QISKIT_IBM_TOKEN", "sesame")
    write_settings(
        tmp_path,
        "[qelectron.IBMQExecutor]\nibmqx_token = 'env:HERE'\n"
        "[qelectron.FakeQPU]\ntoken = 'env:NOT_HERE'\n"
        "[executors.mine]\npassword = 'sesame'\n",
    )

    ran = run("doctor", "--json")
    told = {each["said"]: each["level"] for each in found(run, "credentials")}

    assert "sesame" not in ran.out + ran.err
    assert told["qelectron.IBMQExecutor.ibmqx_token: there (env:HERE)"] == "ok"
    [absent] = [text for text in told if text.startswith("qelectron.FakeQPU.token: ")]
    assert (told[absent], "NOT_HERE" in absent) == ("problem", True)
    [shown] = [text for text in told if text.startswith("executors.mine.password stands in")]
    assert told[shown] == "warning"
    assert "variable QISKIT_IBM_TOKEN" in found(run, "IBM Quantum")[0]["said"]


def test_aws_is_asked_only_online(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("boto3")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("AWS_PROFILE", "QISKIT_IBM_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:  # nobody answers there later
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "sesame")

    assert found(run, "AWS")[0]["level"] == "ok"
    [told] = found(run, "AWS", "--online")

    assert told["level"] == "problem"
    assert "it refuses" in told["said"]
    assert "sesame" not in told["said"]
    assert found(run, "IBM Quantum", "--online")[0]["said"].startswith("not asked")


def test_few_open_files(run: Run) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        [told] = found(run, "open files")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert told["level"] == "warning"
    assert "ulimit -n" in told["advice"]


def test_a_check_that_breaks_off_is_a_problem_and_others_go_on() -> None:
    def broken() -> Any:
        raise PermissionError("no")

    [told] = findings("disk", broken)

    assert (told.level, "PermissionError: no" in told.said) == (Level.PROBLEM, True)


def test_packages_are_compared_with_what_is_needed() -> None:
    from packaging.requirements import Requirement

    assert machine._misfit(Requirement("qcov-has-no-such-package")) is not None
    assert "is needed" in str(machine._misfit(Requirement("pennylane>=99")))
    assert machine._misfit(Requirement("pennylane")) is None


@pytest.mark.process
def test_an_engine_that_runs_then_crashes(
    run: Run, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ct.dispatch_sync(ct.lattice(lambda: 1))()
    pid = json.loads((data_folder / "engine.json").read_text())["pid"]

    alive = found(run, "engine")
    healthy = [*found(run, "database"), *found(run, "data folder")]
    os.kill(pid, 9)
    from qcov.cli.server import wait_until_gone

    wait_until_gone(pid)
    crashed = found(run, "engine")

    assert alive[0]["said"] == f"process {pid} runs qcov {ct.__version__}"
    assert {each["level"] for each in (*alive, *healthy)} == {"ok"}
    assert crashed[0]["level"] == "warning"
    assert "has crashed" in crashed[0]["said"]
    assert json.loads((data_folder / "engine.json").read_text())["pid"] == pid  # none was started
