"""What electrons print is seen while they run; what they have tried is kept."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import qcov as ct
from qcov.classical.engine.client import call


@pytest.fixture
def server(data_folder: Path) -> Iterator[httpx.Client]:
    url = call("serve", host="localhost", port=0)["url"]
    token = (data_folder / "server.token").read_text().strip()
    headers = {"authorization": f"Bearer {token}"}
    with httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=60) as client:
        yield client


@ct.electron
def talk(folder: str) -> str:
    """Print something, wait to be asked, print more."""
    import subprocess
    import sys
    from pathlib import Path

    print("one", flush=True)
    while not Path(folder, "go on").exists():
        time.sleep(0.01)
    print(f"two\x1b[31m \u202eof {time.time()}", file=sys.stderr)
    subprocess.run(["echo", "a child's"], check=True)
    while not Path(folder, "end").exists():
        time.sleep(0.01)
    return "said"


@ct.lattice
def talking(folder: str) -> Any:
    return talk(folder)


def test_streams_are_followed_while_an_electron_runs(server: httpx.Client, tmp_path: Path) -> None:
    dispatch_id = ct.dispatch(talking)(str(tmp_path))
    address = f"/api/v1/dispatches/{dispatch_id}/nodes/0/streams"

    def ask(said: dict[str, Any], timeout: float = 30.0) -> dict[str, Any]:
        at = {name: said[name]["end"] for name in ("stdout", "stderr")} if said else {}
        query = {"source": said.get("source", ""), "timeout": timeout, **at}
        return server.get(address, params=query).raise_for_status().json()

    said: dict[str, Any] = {}
    while not said or not said["stdout"]["text"]:
        said = ask(said)
    assert said["stdout"] == {"start": 0, "end": 4, "text": "one\n"}
    assert (said["source"], said["status"]) == ("attempt 1", "RUNNING")
    assert ask(said, timeout=0.0)["stdout"] == {"start": 4, "end": 4, "text": ""}

    (tmp_path / "go on").touch()
    told = {"stdout": "", "stderr": ""}
    while not all(told.values()):
        said = ask(said)
        told = {name: text + said[name]["text"] for name, text in told.items()}
    assert told["stdout"] == "a child's\n"
    assert told["stderr"].startswith("two \ufffdof ")

    (tmp_path / "end").touch()
    while said["status"] != "COMPLETED":
        said = ask(said)
    assert said["source"] == "stored"
    assert ask({})["stdout"] == {"start": 0, "end": 14, "text": "one\na child's\n"}
    assert server.get(address.replace("/0/", "/9/")).status_code == 404


@ct.electron(executor=ct.executor.LocalExecutor(retries=2))
def luckless(folder: str) -> str:
    from pathlib import Path

    tries = Path(folder, "tries")
    tries.write_text((tries.read_text() if tries.exists() else "") + "x")
    if len(tries.read_text()) < 3:
        raise RuntimeError(f"no luck in try {len(tries.read_text())}")
    return "luck"


@ct.lattice
def trying(folder: str) -> Any:
    return luckless(folder)


def test_tries_are_kept(server: httpx.Client, tmp_path: Path) -> None:
    dispatch_id = ct.dispatch(trying)(str(tmp_path))
    assert ct.get_result(dispatch_id, wait=True).result == "luck"

    page = server.get(f"/api/v1/dispatches/{dispatch_id}/nodes/0").raise_for_status().json()
    first, second = page["attempts"]
    assert (first["attempt"], second["attempt"], page["attempt"]) == (1, 2, 3)
    assert "RuntimeError: no luck in try 1" in first["error"]
    assert "no luck in try 2" in second["error"]
    assert first["started"] <= first["ended"] <= second["started"] <= page["started"]
