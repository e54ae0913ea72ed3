"""The pages of logs, jobs, triggers, executors and settings."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from qcov.job_entries import Intent, State
from qcov.journal import Journal
from qcov.logs import NAME
from qcov.settings import SETTINGS
from qcov_server.ui.settings import MEANINGS

if TYPE_CHECKING:
    from conftest import MemoryEngine

_HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e"
_TOLD = "&lt;script&gt;alert(1)&lt;/script&gt;\ufffd"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder of the test's own."""
    monkeypatch.setenv("QCOV_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("QCOV_CONFIG_DIR", str(tmp_path / "config"))
    return tmp_path


def page(client: httpx.Client, path: str, **headers: str) -> str:
    answer = client.get(path, headers={"accept": "text/html", **headers})
    assert answer.status_code == 200, answer.text
    return answer.text


def test_the_log_is_shown_and_harmless(client: httpx.Client, data: Path) -> None:
    (data / "logs").mkdir()
    lines = [
        {"time": 1.0, "level": "info", "logger": "a", "message": _HOSTILE, "dispatch": _HOSTILE},
        {"time": 2.0, "level": "error", "logger": "b", "message": "late", "error": "T\nV: no"},
    ]
    (data / "logs" / NAME).write_text("".join(f"{json.dumps(line)}\n" for line in lines))

    text = page(client, "/logs")
    assert "<script>alert" not in text
    assert _TOLD in text
    assert text.index("late") < text.index(_TOLD)
    assert _TOLD not in page(client, "/logs?level=error")
    part = page(client, "/logs?search=late", **{"hx-request": "true"})
    assert part.strip().startswith('<div id="lines"')
    assert "V: no" in part


def test_an_empty_log_says_how_to_get_one(client: httpx.Client, data: Path) -> None:
    assert "qcov config sdk.log_level info" in page(client, "/logs")
    assert "No line matches" in page(client, f"/logs?search={_HOSTILE[:8]}")


# -- jobs --------------------------------------------------------------------------------------

_TOKEN = "a" * 32


def submit(number: int = 0, **about: Any) -> str:
    """A job in the journal."""
    token = f"{number:032x}" if number else _TOKEN
    intent = Intent(
        token=token, run="r", part=0, scope="s", dispatch_id="d-1", node_id=2, provider="fake",
        account="me", keys=["k"], shots=100, estimate={"USD": 1.5}, device="qpu",
    )  # fmt: skip
    Journal().intend(replace(intent, **about), {})
    return token


def test_jobs_are_listed_and_chosen(client: httpx.Client, data: Path) -> None:
    assert client.get("/api/v1/jobs").json()["total"] == 0
    assert not Journal().path.exists()
    for number in (1, 2, 3):
        submit(number, device=f"qpu-{number}")
    Journal().ended(f"{1:032x}", State.COMPLETED, {"USD": 0.25})

    found = client.get("/api/v1/jobs?limit=2").json()
    assert (found["total"], [one["device"] for one in found["items"]]) == (3, ["qpu-3", "qpu-2"])
    assert client.get("/api/v1/jobs?open=true").json()["total"] == 2
    assert client.get("/api/v1/jobs?device=qpu-3").json()["total"] == 1
    assert client.get("/api/v1/jobs?dispatch_id=other").json()["total"] == 0
    one = client.get(f"/api/v1/jobs/{1:032x}").json()
    assert (one["state"], one["charges"]) == (
        "COMPLETED",
        [{"unit": "USD", "estimate": 1.5, "actual": 0.25}],
    )
    text = page(client, "/jobs")
    assert "$0.25" in text
    assert "≤ $1.5" in text
    assert "qpu-2" not in page(client, "/jobs?device=qpu-3", **{"hx-request": "true"})


def test_the_list_of_dispatches_has_circuits_and_cost(
    client: httpx.Client, engine: MemoryEngine, data: Path
) -> None:
    engine.store.add("plain")
    engine.store.add("root")
    engine.store.add("child", parent_id="root", root_id="root")
    circuits = [circuit(number, executor="Sim", seconds=0.1) for number in range(1234)]
    engine.store.circuits |= {"root": circuits, "child": circuits[:1]}
    submit(dispatch_id="root")
    submit(1, dispatch_id="child", estimate={"USD": 2.25, "tasks": 3.0})
    submit(2, dispatch_id="another", estimate={"USD": 90.0})

    rows = page(client, "/").split("<tr data-id=")[1:]
    told = {row.partition('"')[2].partition('"')[0]: row for row in rows}
    assert ">1,235</a>" in told["root"]
    assert "$3.75 · 3 tasks" in told["root"]
    assert told["plain"].count('class="none"') == 2
    assert page(client, "/?search=child").count(">1</a>") == 1


def test_what_triggers_started_can_be_listed_or_left_out(
    client: httpx.Client, engine: MemoryEngine
) -> None:
    engine.store.add("mine")
    assert "From triggers" not in page(client, "/")
    engine.store.add("nightly", triggered=True)

    assert "From triggers (1)" in page(client, "/")
    for origin, listed in (("own", ["mine"]), ("trigger", ["nightly"]), ("", ["nightly", "mine"])):
        text = page(client, f"/?origin={origin}")
        assert re.findall('<tr data-id="([^"]+)"', text) == listed
        assert (f"origin={origin}" in text) == bool(origin)  # pages and orders keep it


def test_a_job_that_is_not_known(client: httpx.Client, data: Path) -> None:
    answer = client.get("/api/v1/jobs/nothing")

    assert answer.status_code == 404
    assert answer.json()["type"] == "urn:qcov:error:JobNotFound"
    assert client.post("/api/v1/jobs/--help/cancel", json={}).status_code == 422


def test_what_providers_say_is_harmless(client: httpx.Client, data: Path) -> None:
    submit(device=_HOSTILE, provider=_HOSTILE, dispatch_id=_HOSTILE)
    Journal().unknown(_TOKEN, _HOSTILE)

    for path in ("/jobs", f"/jobs/{_TOKEN}"):
        text = page(client, path)
        assert "<script>alert" not in text
        assert _TOLD in text


def test_a_job_nobody_knows_of_is_resolved(client: httpx.Client, data: Path) -> None:
    submit()
    Journal().unknown(_TOKEN, "the connection broke")
    assert "What became of this job?" in page(client, f"/jobs/{_TOKEN}")

    both = client.post(f"/api/v1/jobs/{_TOKEN}/resolve", json={})
    answer = client.post(f"/api/v1/jobs/{_TOKEN}/resolve", json={"job_id": "job-7"}, timeout=60)
    again = client.post(f"/api/v1/jobs/{_TOKEN}/resolve", json={"never": True}, timeout=60)

    assert both.status_code == 422
    assert (answer.status_code, answer.json()["job"]["state"]) == (200, "SUBMITTED"), answer.text
    assert again.status_code == 409
    assert "qcov jobs resolve" in again.json()["detail"]


def test_a_job_whose_circuits_are_gone_is_not_cancelled(client: httpx.Client, data: Path) -> None:
    submit()
    answer = client.post(f"/api/v1/jobs/{_TOKEN}/cancel", json={}, timeout=60)

    assert answer.status_code == 409
    assert f"run `qcov jobs cancel {_TOKEN}`" in answer.json()["detail"]


# -- settings ----------------------------------------------------------------------------------


def test_settings_say_who_has_set_them(
    client: httpx.Client, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QCOV_ENGINE_WORKERS", "3")
    (data / "config").mkdir()
    (data / "config" / "qcov.conf").write_text(
        '[sdk]\nlog_level = "info"\n[executors.ibm]\ntoken = "hunter2"\nurl = "https://me:hunter2@h/"\n'
        '[workflow_data]\ndb_url = "postgresql://me:hunter2@host/db"\n'
    )

    text = page(client, "/settings")
    assert "file, line 2" in text
    assert "unset QCOV_ENGINE_WORKERS" in text
    assert "qcov config dispatcher.port" in text
    assert "hunter2" not in text


def test_every_setting_has_a_meaning() -> None:
    assert set(MEANINGS) == set(SETTINGS)


# -- executors ---------------------------------------------------------------------------------


def circuit(number: int, *, executor: str, seconds: float, **record: Any) -> dict[str, Any]:
    now = time.time()
    return {
        "number": number, "executor": executor, "device": "qpu", "execution_time": seconds,
        "node_id": 0, "record": {"queued": now - 2, "started": now - 1, "finished": now, **record},
    }  # fmt: skip


def test_executors_are_counted(client: httpx.Client, engine: MemoryEngine, data: Path) -> None:
    name = f"Sim{data.name}"  # the server has counted those of other tests
    engine.store.add("d-1", [{"status": "FAILED", "executor": _HOSTILE}], created=time.time())
    first = 1 + max(time.time_ns(), 0)  # after all that was counted before
    engine.store.circuits["d-1"] = [
        circuit(first + place, executor=name, seconds=0.01) for place in range(98)
    ] + [
        circuit(first + 98, executor=name, seconds=5.0),
        circuit(first + 99, executor=name, seconds=5.0, error=_HOSTILE),
    ]
    submit(device="qpu")

    text = page(client, "/executors")
    row = text[text.index(name) :].partition("</tr>")[0]
    assert "<script>alert" not in text
    assert _TOLD in text
    for told in ("Unsteady", ">100<", "1.0%", "10 ms", "5.1 s", ">1</a>", "$1.5"):
        assert told in row, told
    assert name in page(client, "/executors?span=all", **{"hx-request": "true"})

    told = {"executor": name, "device": "qpu", "pause": 60.0, "reason": "no answer"}
    engine.breakers.note(1, told)
    row = page(client, "/executors").partition(name)[2].partition("</tr>")[0]
    assert "Left alone" in row
    assert re.search(r"tried again in (1 m 00 s|5\d\.\d s)", row)
    engine.breakers.note(1, {**told, "pause": None})
    assert "Left alone" not in page(client, "/executors")


@pytest.mark.parametrize(
    ("told", "shown", "polls"),
    [
        ({"status": "none"}, (), False),
        ({"status": "starting"}, ("It is starting.",), True),
        (
            {"status": "running", "address": "tls://127.0.0.1:4", "workers": [
                {"name": "<b>0", "address": "tls://127.0.0.1:5", "pid": 77, "threads": 3,
                 "memory": 70_000_000, "memory_limit": 2_000_000_000, "electrons": 2,
                 "leaving": True}
            ]},
            ("tls://127.0.0.1:4", "1 worker<", "&lt;b&gt;0", ">77<", ">3<", "70 MB",
             "2000 MB", ">2<", "ends after its electrons"),
            True,
        ),
    ],
    ids=["none", "starting", "running"],
)  # fmt: skip
def test_the_members_of_a_cluster_are_on_the_page_of_executors(
    client: httpx.Client,
    engine: MemoryEngine,
    told: dict[str, Any],
    shown: tuple[str, ...],
    polls: bool,
) -> None:
    engine.members = told
    assert 'hx-get="/executors/cluster"' in page(client, "/executors")

    text = page(client, "/executors/cluster")

    for each in shown:
        assert each in text, each
    assert ("every 2s" in text) is polls
    assert ("Dask cluster" in text) is polls


def test_what_a_providers_executor_did_is_told_by_its_backend(
    client: httpx.Client, engine: MemoryEngine, data: Path
) -> None:
    name = f"Fake{data.name}"  # the server has counted those of other tests
    now = time.time()
    timing = {"queue": 1.0, "run": 0.0, "fetch": 0.1}
    about = {"queued": now - 6, "started": now - 5, "metadata": {"timing": timing}}
    one = circuit(1 + time.time_ns(), executor=name, seconds=0.0, backend="fakeqpu", **about)
    engine.store.add("d-1", [])
    engine.store.circuits["d-1"] = [one | {"device": None}]
    submit(provider=name, device="fakeqpu")
    submit(1, provider="Another", device="elsewhere", estimate={"USD": 70.0})

    text = page(client, "/executors")
    row = text[text.index(name) :].partition("</tr>")[0]
    for told in ("fakeqpu", ">1</a>", "$1.5"):
        assert told in row, told
    waited, ran = (
        row.partition(f'data-head="{head}"')[2].partition("</td>")[0] for head in ("queue", "run")
    )
    assert re.search(r"<span>(1\.9|2\.[01]) s", waited), waited
    assert re.search(r"<span>(3\.[89]|4\.[012]) s", ran), ran


def test_what_open_jobs_may_cost_is_said_on_the_page_of_their_dispatch(
    client: httpx.Client, engine: MemoryEngine, data: Path
) -> None:
    engine.store.add("top", status="RUNNING")
    engine.store.add("below", root_id="top", parent_id="top", status="RUNNING")
    engine.store.add("other", status="RUNNING")
    assert "Open jobs" not in page(client, "/dispatches/top")

    for number, dispatch_id in enumerate(("top", "below", "other", "deleted"), start=1):
        submit(number, dispatch_id=dispatch_id)
    Journal().ended(submit(9, dispatch_id="top"), State.COMPLETED, {"USD": 7.0})

    told = {each: page(client, f"/dispatches/{each}") for each in ("top", "below", "other")}
    assert "2, at most $3.00" in told["top"]
    assert "1, at most $1.50" in told["below"]
    assert "1, at most $1.50" in told["other"]

    Journal().path.write_bytes(b"no journal" * 1000)
    assert "Open jobs" not in page(client, "/dispatches/top")


def test_a_refresh_without_open_jobs_says_so(client: httpx.Client, data: Path) -> None:
    answer = client.post("/api/v1/refresh-jobs", json={}, timeout=60)

    assert answer.json() == {"told": "No job has ended that was not known to."}, answer.text
