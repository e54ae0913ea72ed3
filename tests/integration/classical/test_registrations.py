"""Triggers as they are listed: in Python, on the command line, and over HTTP."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import qcov as ct
from qcov.classical.engine.client import call
from qcov.classical.manifest import environment
from qcov.classical.triggers import TimeTrigger
from qcov.errors import DispatchNotFound, TriggerNotFound, WrongSetting
from qcov.transport import dumps

pytestmark = pytest.mark.usefixtures("common_engine")


@ct.electron
def double(x: int) -> int:
    return 2 * x


@pytest.fixture
def trigger() -> Iterator[TimeTrigger]:
    """One that watches, and has run its dispatch twice."""
    dispatch_id = ct.dispatch_sync(ct.lattice(double))(1).dispatch_id
    made = TimeTrigger(3600, dispatch_id)
    made.register()
    made.trigger()
    made.trigger()
    yield made
    ct.stop_triggers(dispatch_id)


@pytest.fixture
def server(common_engine: Path) -> Iterator[httpx.Client]:
    """A client of the engine's server."""
    url = call("serve", host="localhost", port=0)["url"]
    token = (common_engine / "server.token").read_text()
    headers = {"authorization": f"Bearer {token}"}
    with httpx.Client(
        base_url=f"{url}/api/v1", headers=headers, trust_env=False, timeout=60
    ) as client:
        yield client


def address_of(server: httpx.Client) -> str:
    return str(server.base_url).removesuffix("/api/v1/")


@pytest.mark.parametrize("remote", [False, True])
def test_they_are_listed(trigger: TimeTrigger, server: httpx.Client, remote: bool) -> None:
    before = time.time()
    other = TimeTrigger(3600, trigger.lattice_dispatch_id)
    other.register()
    where = address_of(server) if remote else None

    newer, older = ct.list_triggers(2, triggers_server_addr=where)

    assert (newer.id, newer.runs, newer.last_run) == (other._id, 0, None)
    assert newer.created.timestamp() == pytest.approx(before, abs=60)
    assert (older.id, older.name, older.runs) == (trigger._id, "TimeTrigger", 2)
    assert (older.status, older.error) == ("ACTIVE", None)
    assert older.last_run is not None
    assert older.dispatch_id == trigger.lattice_dispatch_id

    ct.stop_triggers(older.dispatch_id)
    found = ct.list_triggers(
        status="stopped", dispatch_id=older.dispatch_id, triggers_server_addr=where
    )
    assert [each.id for each in found] == [other._id, trigger._id]
    assert ct.list_triggers(dispatch_id="no-such-id", triggers_server_addr=where) == []


@pytest.mark.parametrize("wrong", [{"limit": 0}, {"status": "RUNNING"}, {"dispatch_id": 5}])
def test_what_cannot_be_asked(wrong: dict[str, Any]) -> None:
    with pytest.raises(WrongSetting, match=f"{next(iter(wrong))} must be"):
        ct.list_triggers(**wrong)


def qcov(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "qcov", "triggers", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_the_command(trigger: TimeTrigger) -> None:
    dispatch_id = str(trigger.lattice_dispatch_id)

    shown = qcov(dispatch_id[:20])
    assert shown.returncode == 0, shown.stderr
    assert f"{dispatch_id}  TimeTrigger  ACTIVE" in shown.stdout
    listed = json.loads(qcov("--json", "--status", "active").stdout)
    assert [row["runs"] for row in listed if row["id"] == trigger._id] == [2]

    assert "STOPPED" in qcov(dispatch_id, "--stop").stdout
    assert "No trigger matches." in qcov(dispatch_id, "-s", "failed").stdout


@pytest.mark.parametrize("arguments", [("--status", "gone"), ("--stop",)])
def test_a_wrong_command(arguments: tuple[str, ...]) -> None:
    ran = qcov(*arguments)

    assert ran.returncode == 2
    assert ran.stderr.startswith(f"error: {arguments[0]}: ")


def test_what_they_have_started_is_paged(trigger: TimeTrigger, server: httpx.Client) -> None:
    ids = trigger.new_dispatch_ids

    page = server.get(f"/triggers/{trigger._id}/runs", params={"limit": 1, "offset": 1}).json()

    assert [run["dispatch_id"] for run in page.pop("items")] == ids[1:]
    assert page == {"total": 2, "limit": 1, "offset": 1}
    assert server.get(f"/triggers/{trigger._id}").json()["runs"] == 2
    assert len(server.get("/triggers", params={"limit": 1}).json()["items"]) == 1


@pytest.mark.parametrize(
    ("trigger_id", "status"), [("0" * 32, 404), ("not-an-id", 404), ("a" * 1000, 404)]
)
def test_unknown_ids(server: httpx.Client, trigger_id: str, status: int) -> None:
    asked = {"id": str(uuid.uuid4())}
    for answer in (
        server.get(f"/triggers/{trigger_id}"),
        server.get(f"/triggers/{trigger_id}/runs"),
        server.post(f"/triggers/{trigger_id}/fired", json=asked),
    ):
        assert answer.status_code == status, answer.text
    with pytest.raises(TriggerNotFound):
        call("trigger_runs", trigger_id=trigger_id)


def test_what_is_no_dispatch_was_not_started(trigger: TimeTrigger, server: httpx.Client) -> None:
    answer = server.post(f"/triggers/{trigger._id}/fired", json={"id": "no id"})

    assert answer.status_code == 422
    dispatch_id = trigger.lattice_dispatch_id
    asked = {"new_id": str(uuid.uuid4()), "trigger_id": "no id"}
    assert server.post(f"/dispatches/{dispatch_id}/rerun", json=asked).status_code == 422


@pytest.mark.parametrize(
    ("blob", "reason"),
    [
        (b"", "it has no qcov header"),
        (b"nonsense", "it has no qcov header"),
        (dumps({"no": "trigger"}, what="it"), "the trigger TimeTrigger has ended: AttributeError"),
        (dumps(TimeTrigger(5), what="it")[:-20], "the trigger TimeTrigger has ended: "),
    ],
    ids=["empty", "nonsense", "no trigger", "cut off"],
)
def test_what_is_no_trigger_is_refused(
    trigger: TimeTrigger, server: httpx.Client, blob: bytes, reason: str
) -> None:
    described = {
        "id": str(uuid.uuid4()), "dispatch_id": trigger.lattice_dispatch_id, "name": "TimeTrigger",
        "object": base64.b64encode(blob).decode(), "environment": environment([]),
        "elsewhere": False,
    }  # fmt: skip

    answer = server.post("/triggers", json=described)

    assert answer.status_code == 422, answer.text
    assert reason in answer.json()["detail"]


def test_what_is_pruned_is_forgotten_by_its_trigger(data_folder: Path) -> None:
    dispatch_id = ct.dispatch_sync(ct.lattice(double))(1).dispatch_id
    trigger = TimeTrigger(3600, dispatch_id)
    trigger.register()
    trigger.trigger()
    old = trigger.new_dispatch_ids
    ct.get_result(old[0], wait=True, timeout=60)
    between = time.time()
    trigger.trigger()
    young = trigger.new_dispatch_ids[1:]

    call("prune", ended_before=between)

    with pytest.raises(DispatchNotFound):
        ct.get_result(old[0])
    assert trigger.new_dispatch_ids == young
    assert ct.list_triggers(1)[0].runs == 1
    ct.stop_triggers(dispatch_id)
