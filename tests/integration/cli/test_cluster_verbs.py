"""The Dask cluster of `qcov start`, with its verbs and its processes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

import qcov as ct
from tests.waiting import ended, until

pytest.importorskip("distributed", reason="needs the extra `dask`")
pytestmark = [pytest.mark.process, pytest.mark.slow]


def qcov(*arguments: str, code: str = "from qcov.cli import main; main()") -> Any:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def asked(*arguments: str) -> Any:
    """What `qcov cluster` says as JSON."""
    ran = qcov("cluster", *arguments, "--json")
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def announced(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "engine.json").read_text())


def running(folder: Path, other_than: int | None = None) -> dict[str, Any]:
    """What the engine says of its cluster, once that runs."""

    def found() -> dict[str, Any] | None:
        about = announced(folder)["cluster"]
        up = about["status"] == "running" and about["pid"] != other_than
        return about if up else None

    return until(found)


def processes(folder: Path) -> list[psutil.Process]:
    cluster = psutil.Process(running(folder)["pid"])
    return [cluster, *cluster.children(recursive=True)]


@pytest.fixture
def cluster(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The data folder of a server with a cluster of two workers."""
    monkeypatch.setenv("QCOV_SDK_NO_CLUSTER", "false")
    started = qcov("start", "-p", "0", "-n", "2", "-m", "1GB", "-t", "1")
    assert started.returncode == 0, started.stderr
    assert not started.stderr
    yield data_folder
    qcov("stop")


def place() -> int:
    """The process that the one was started by which runs electrons: a Dask worker, if it does."""
    return psutil.Process(os.getppid()).ppid()


def placed(function: Any) -> tuple[Any, str]:
    """What an electron gives that names no executor, and what its executor is said to be."""
    result = ct.dispatch_sync(ct.lattice(ct.electron(function)))()
    shown = json.loads(qcov("show", result.dispatch_id, "--json").stdout)
    return result.result, shown["nodes"][0]["executor"]


def test_a_server_with_a_cluster(cluster: Path) -> None:
    before = announced(cluster)["cluster"]
    about = running(cluster)
    assert before["status"] in {"starting", "running"}
    tree = processes(cluster)

    # all of it listens on loopback, and only who can read these files gets in
    listening = [
        address.laddr.ip
        for process in tree
        for address in process.net_connections("inet")
        if address.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 4
    assert set(listening) == {"127.0.0.1"}
    assert about["address"].startswith("tls://127.0.0.1:")
    assert {Path(path).stat().st_mode & 0o777 for path in about["certificates"].values()} == {0o600}

    # electrons that name no executor run there, and say so
    workers = [worker["pid"] for worker in asked("--info")["workers"]]
    value, executor = placed(place)
    assert executor == "dask"
    assert value in workers
    named = ct.electron(place, executor="local")
    assert ct.dispatch_sync(ct.lattice(named))().result not in workers

    # the verbs
    status = json.loads(qcov("status", "--json").stdout)
    assert status["cluster"] == about["address"]
    assert asked("--status")["address"] == asked("--address")["scheduler"] == about["address"]
    assert asked("--size") == {"size": 2}
    assert {worker["memory_limit"] for worker in asked("--info")["workers"]} == {1_000_000_000}
    assert "Scheduler" in asked("--logs")
    asked("--scale", "1")
    until(lambda: asked("--size") == {"size": 1})
    asked("--adaptive", "2:3")
    until(lambda: asked("--size") == {"size": 2})

    # a worker that is killed comes back
    victim = psutil.Process(asked("--info")["workers"][0]["pid"])
    victim.kill()
    until(lambda: asked("--size") == {"size": 2} and victim.pid not in _pids())

    # so does the cluster, with a new address, and electrons find it
    os.kill(about["pid"], 9)
    again = running(cluster, other_than=about["pid"])
    assert again["address"] != about["address"]
    value, executor = placed(place)
    assert executor == "dask"
    assert value in _pids()

    # a restart keeps what was asked for, and a stop leaves nothing
    assert qcov("restart").returncode == 0
    running(cluster, other_than=again["pid"])
    assert {worker["memory_limit"] for worker in asked("--info")["workers"]} == {1_000_000_000}
    tree = processes(cluster)
    assert qcov("stop").returncode == 0
    until(lambda: all(ended(process) for process in tree))


def _pids() -> list[int]:
    return [worker["pid"] for worker in asked("--info")["workers"]]


def test_the_cluster_ends_with_an_engine_that_is_killed(cluster: Path) -> None:
    tree = processes(cluster)

    os.kill(announced(cluster)["pid"], 9)

    until(lambda: all(ended(process) for process in tree))


def test_restarting_the_cluster_gives_a_new_one(cluster: Path) -> None:
    about = running(cluster)

    assert asked("--restart") == {"status": "starting"}

    assert running(cluster, other_than=about["pid"])["address"] != about["address"]


@pytest.mark.parametrize("how", [("--no-cluster",), ("--triggers-only",)])
def test_without_a_cluster(
    how: tuple[str, ...], data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QCOV_SDK_NO_CLUSTER", "false")
    qcov("start", "-p", "0", *how)

    assert "cluster" not in announced(data_folder)
    assert json.loads(qcov("status", "--json").stdout)["cluster"] is None
    assert asked() == {"status": "stopped", "address": None, "dashboard": None, "pid": None}
    refused = qcov("cluster", "--size")
    assert refused.returncode == 1
    told = "no Dask cluster runs: the server was started without one; `qcov start` adds it"
    assert told in refused.stderr

    # and so it does
    assert "run on its Dask cluster" in qcov("start", "-p", "0").stdout
    running(data_folder)
    assert placed(place)[1] == "dask"


@pytest.mark.parametrize("verb", ["start", "restart"])
def test_a_cluster_comes_after_an_engine_that_a_program_has_started(
    verb: str, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ct.dispatch_sync(ct.lattice(ct.electron(place)))().status == "COMPLETED"
    monkeypatch.setenv("QCOV_SDK_NO_CLUSTER", "false")
    assert qcov("cluster").stdout == "No Dask cluster runs: `qcov start` brings one.\n"

    started = qcov(verb, "-p", "0")

    assert not started.stderr
    assert "Electrons that name no executor run on its Dask cluster" in started.stdout
    running(data_folder)
    assert placed(place)[1] == "dask"
    about = qcov("cluster").stdout
    assert re.search(r"runs at tls://\S+: \d workers?, \d threads?, no electrons run\.", about)


def test_an_engine_whose_python_has_no_dask_says_what_to_do(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['distributed'] = None\n")
    path = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{path}")
    ct.dispatch_sync(ct.lattice(ct.electron(place)))()
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.setenv("QCOV_SDK_NO_CLUSTER", "false")

    started = qcov("start", "-p", "0")

    told = "has no distributed; `qcov stop` it, then `qcov start`"
    assert told in " ".join(started.stderr.split())
    assert "run in local processes" in started.stdout
    assert told in qcov("cluster").stdout


def test_dask_has_pages_where_they_are_asked_for(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QCOV_SDK_NO_CLUSTER", "false")
    qcov("start", "-p", "0", "-n", "1", "--dashboard")
    address = running(data_folder)["dashboard"]

    assert httpx.get(address, trust_env=False, follow_redirects=True, timeout=60).status_code == 200
    assert f"Its pages, which no token protects: {address}" in qcov("cluster").stdout


def test_workers_that_die_while_they_start_are_started_again(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = tmp_path / "once"  # whoever takes it away dies
    code = (
        "import os, pathlib, signal, sys\n"
        f"once = pathlib.Path({str(once)!r})\n"
        "if '--multiprocessing-fork' in sys.orig_argv and once.exists():\n"
        "    once.unlink()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    (tmp_path / "sitecustomize.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("QCOV_SDK_NO_CLUSTER", "false")

    once.touch()
    qcov("start", "-p", "0", "-n", "1", "-t", "1")
    about = running(data_folder)
    assert not once.exists()
    once.touch()
    asked("--scale", "2")
    until(lambda: asked("--size") == {"size": 2})
    assert not once.exists()
    once.touch()
    psutil.Process(_pids()[0]).kill()
    until(lambda: not once.exists() and asked("--size") == {"size": 2})
    asked("--scale", "1")
    until(lambda: asked("--size") == {"size": 1})
    assert announced(data_folder)["cluster"]["address"] == about["address"]


def speak(go: str) -> int:
    print("before")
    while not Path(go).exists():
        time.sleep(0.01)
    return os.getpid()


@pytest.mark.parametrize("settings", [{}, {"executor": "dask"}], ids=["unnamed", "named"])
def test_electrons_on_it_are_as_those_of_local_processes(
    settings: dict[str, Any], cluster: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QCOV_DISPATCHER_RESULTS_DIR", str(tmp_path / "results"))
    running(cluster)
    flow = ct.lattice(ct.electron(speak, **settings))

    # what they print is there while they run, and the members say who runs one
    dispatch_id = ct.dispatch(flow)(str(tmp_path / "go"))
    until(lambda: "before" in _printed(dispatch_id))
    assert sum(worker["electrons"] for worker in asked("--info")["workers"]) == 1
    assert "1 electron runs." in qcov("cluster").stdout
    (tmp_path / "go").touch()
    first = ct.get_result(dispatch_id, wait=True).result
    assert ct.dispatch_sync(flow)(str(tmp_path / "go")).result == first  # it is warm

    # cancelling, and a time limit, stop what runs
    dispatch_id = ct.dispatch(flow)(str(tmp_path / "never"))
    until(lambda: "before" in _printed(dispatch_id))
    ct.cancel(dispatch_id)
    assert ct.get_result(dispatch_id, wait=True).status == "CANCELLED"
    until(lambda: not psutil.pid_exists(first))
    limited = ct.lattice(ct.electron(speak, time_limit=0.5, **settings))
    assert "its time limit of 0.5 s" in _error(ct.dispatch_sync(limited)(str(tmp_path / "never")))


@pytest.mark.parametrize("whose", ["the worker's", "Dask's"])
def test_a_death_on_it_fails_the_electron_which_retries_run_again(
    whose: str, cluster: Path, tmp_path: Path
) -> None:
    running(cluster)

    def dies(mark: str) -> str:
        if Path(mark).exists():
            return "again"
        Path(mark).touch()
        mine, parent = os.getpid(), psutil.Process(os.getppid()).ppid()
        os.kill(parent if whose == "Dask's" else mine, 9)
        time.sleep(60)
        return "never"

    once = ct.dispatch_sync(ct.lattice(ct.electron(dies)))(str(tmp_path / "once"))
    again = ct.dispatch_sync(ct.lattice(ct.electron(dies, retries=1)))(str(tmp_path / "again"))

    assert "WorkerLost: the process that ran 'dies' died" in _error(once)
    assert again.result == "again"


def _error(result: Any) -> str:
    return str(result.get_node_result(0)["error"])


def _printed(dispatch_id: str) -> str:
    return str(ct.get_result(dispatch_id).get_node_result(0)["stdout"])


def test_the_server_starts_without_dask_and_says_so(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QCOV_SDK_NO_CLUSTER", "false")
    code = "import sys; sys.modules['distributed'] = None; from qcov.cli import main; main()"

    started = qcov("start", "-p", "0", code=code)

    assert started.returncode == 0
    assert "without a Dask cluster: distributed is not installed (qcov[dask])" in started.stderr
    assert "cluster" not in announced(data_folder)


def test_nothing_waits_for_a_cluster_that_does_not_come_up(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "distributed.py").write_text("import time\ntime.sleep(3600)\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("QCOV_SDK_NO_CLUSTER", "false")

    assert qcov("start", "-p", "0", "-n", "1").returncode == 0

    process = psutil.Process(announced(data_folder)["pid"])
    children = until(lambda: process.children(recursive=True))
    assert asked()["status"] == "starting"
    assert "the Dask cluster is starting" in qcov("cluster", "--size").stderr
    assert asked("--restart") == {"status": "starting"}
    until(lambda: all(ended(child) for child in children))
    children = until(lambda: process.children(recursive=True))
    assert placed(place)[1] == "local"
    assert qcov("stop").returncode == 0
    until(lambda: all(ended(child) for child in children))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("cluster", "--size", "--info"), "--info and --size: one at a time"),
        (("cluster", "--adaptive", "4"), "'4' is not MIN:MAX, such as 1:8"),
        (("cluster", "--adaptive", "4:2"), "'4:2' is not MIN:MAX, such as 1:8"),
        (("cluster", "--scale", "0"), "has one worker at least; `qcov start --no-cluster`"),
        (("start", "-m", "much"), "'much' is no amount of memory, such as 1GB"),
        (("start", "-m", "20kB"), "'20kB' is too little; a Dask worker needs 200MB at least"),
        (("start", "-m", "150 MiB"), "a Dask worker needs 200MB at least"),
        (("start", "-m", "2"), "a Dask worker needs 200MB at least"),
    ],
)
def test_what_is_written_wrongly(
    options: tuple[str, ...], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QCOV_SDK_NO_CLUSTER", "false")
    refused = qcov(*options)

    assert refused.returncode == 2
    assert told in " ".join(refused.stderr.split())


def test_a_slot_that_cannot_reach_the_engine_is_asked_for_again(cluster: Path) -> None:
    running(cluster)
    sock = Path(announced(cluster)["socket"]).with_name("dask.sock")
    away = sock.with_suffix(".away")
    sock.rename(away)
    dispatch_id = ct.dispatch(ct.lattice(ct.electron(place)))()
    until(lambda: "asked for again" in (cluster / "engine.log").read_text())
    away.rename(sock)

    assert ct.get_result(dispatch_id, wait=True).status == "COMPLETED"


def test_fewer_workers_end_no_electron(cluster: Path, tmp_path: Path) -> None:
    running(cluster)
    flow = ct.lattice(ct.electron(speak))

    # of two that both run one, one goes when its electron has ended
    first, second = [ct.dispatch(flow)(str(tmp_path / "go")) for _ in range(2)]
    until(lambda: "before" in _printed(first) and "before" in _printed(second))
    assert asked("--scale", "1") == {"scale": 1, "coming": 0, "leaving": 1}
    assert "1 worker ends once its electrons have ended" in qcov("cluster").stdout
    assert asked("--size") == {"size": 2}
    (tmp_path / "go").touch()
    assert [ct.get_result(one, wait=True).status for one in (first, second)] == ["COMPLETED"] * 2
    until(lambda: asked("--size") == {"size": 1})

    # of two of which one runs one, the other one goes at once
    asked("--scale", "2")
    until(lambda: asked("--size") == {"size": 2})
    dispatch_id = ct.dispatch(flow)(str(tmp_path / "again"))
    until(lambda: "before" in _printed(dispatch_id))
    scaled = asked("--scale", "1")  # it waits for a while for who leaves
    assert (scaled["scale"], scaled["coming"]) == (1, 0)
    until(lambda: asked("--size") == {"size": 1})
    (tmp_path / "again").touch()
    assert ct.get_result(dispatch_id, wait=True).status == "COMPLETED"


def holds(megabytes: int, go: str) -> int:
    data = bytearray(megabytes * 1_000_000)
    data[::4096] = b"x" * len(data[::4096])
    print("before")
    while not Path(go).exists():
        time.sleep(0.01)
    return len(data)


def test_memory_is_that_of_the_electrons_too_and_more_than_its_limit_ends_one(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QCOV_SDK_NO_CLUSTER", "false")
    qcov("start", "-p", "0", "-n", "1", "-m", "1GB", "-t", "2")
    address = running(data_folder)["address"]
    flow = ct.lattice(ct.electron(holds))
    as_task = ct.lattice(ct.electron(holds, executor=ct.executor.DaskExecutor(address)))

    # Far from what the others have when they go over the limit: the largest one is stopped.
    other = ct.dispatch(flow)(200, str(tmp_path / "go"))
    until(lambda: "before" in _printed(other))
    assert max(worker["memory"] for worker in asked("--info")["workers"]) > 200_000_000
    for which in (flow, as_task):  # in a slot, and as a task of Dask's
        over = ct.dispatch_sync(which)(1200, str(tmp_path / "go"))
        assert "MemoryLimitExceeded: 'holds' was stopped: its Dask worker took" in _error(over)
        assert "may take 950 MB, 95 % of its limit" in _error(over)
    (tmp_path / "go").touch()
    assert ct.get_result(other, wait=True).result == 200_000_000
    assert ct.dispatch_sync(flow)(1, str(tmp_path / "go")).result == 1_000_000


def test_electrons_run_here_while_the_cluster_has_no_workers(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken"
    of_dask = "'--multiprocessing-fork' in sys.orig_argv"
    code = f"import os, sys\nif {of_dask} and os.path.exists({str(broken)!r}): os._exit(1)\n"
    (tmp_path / "sitecustomize.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("QCOV_SDK_NO_CLUSTER", "false")
    qcov("start", "-p", "0", "-n", "1")
    running(data_folder)
    until(lambda: asked("--size") == {"size": 1})
    broken.touch()
    psutil.Process(_pids()[0]).kill()
    until(lambda: announced(data_folder)["cluster"]["members"] == 0)

    assert placed(place)[1] == "local"
    # a worker may come up by itself before the restart, which then ends what runs there
    again = ct.executor.DaskExecutor(retries=1)
    named = ct.dispatch(ct.lattice(ct.electron(place, executor=again)))()
    waits = "electrons wait for a worker of the Dask cluster"
    until(lambda: waits in (data_folder / "engine.log").read_text())
    broken.unlink()
    asked("--restart")
    result = ct.get_result(named, wait=True)
    assert result.status == "COMPLETED", result.error


#: An electron's dispatch, whose electron needs other settings of libraries than its own.
_NESTED = """
import os
import qcov as ct

def threads():
    return os.environ["OMP_NUM_THREADS"]

def nested(settings):
    os.environ["OMP_NUM_THREADS"] = settings
    return ct.dispatch_sync(ct.lattice(ct.electron(threads)))().result

for settings in ("3", "4"):
    print(ct.dispatch_sync(ct.lattice(ct.electron(nested)))(settings).result)
"""


def test_one_thread_is_enough(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QCOV_SDK_NO_CLUSTER", "false")
    qcov("start", "-p", "0", "-n", "1", "-t", "1")
    about = running(data_folder)

    # for dispatches of electrons, whatever they need
    nested = subprocess.run(
        [sys.executable, "-c", _NESTED], capture_output=True, text=True, timeout=300
    )
    assert nested.stdout.split() == ["3", "4"], nested.stderr

    # for others of the user's, which what is idle keeps waiting for less than a minute
    distributed: Any = pytest.importorskip("distributed")
    security = distributed.Security(
        require_encryption=True,
        tls_ca_file=about["certificates"]["tls_ca_file"],
        tls_client_cert=about["certificates"]["tls_cert"],
        tls_client_key=about["certificates"]["tls_key"],
    )
    with distributed.Client(about["address"], security=security, set_as_default=False) as client:
        assert client.submit(os.getpid).result(timeout=300) in _pids()

    # what waits for it when the cluster dies runs here; what ran there has died
    first = ct.dispatch(ct.lattice(ct.electron(speak)))(str(tmp_path / "never"))
    until(lambda: "before" in _printed(first))
    second = ct.dispatch(ct.lattice(ct.electron(place)))()
    until(lambda: ct.get_result(second).status == "RUNNING")
    os.kill(about["pid"], 9)
    assert ct.get_result(second, wait=True).status == "COMPLETED"
    shown = json.loads(qcov("show", second, "--json").stdout)
    assert shown["nodes"][0]["executor"] == "local"
    assert "WorkerLost" in _error(ct.get_result(first, wait=True))
    qcov("stop")
