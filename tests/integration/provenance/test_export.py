"""Dispatches as research objects, judged by the RO-Crate community's own validator.

The validator reads the vocabulary of RO-Crate 1.1 from the internet; here it finds it in its cache:
that of a later version, which the library brings, with the four words as 1.1 has them.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pennylane as qml
import pytest
import requests
import rocrate
from requests_cache import CachedSession
from rocrate_validator import models, services
from urllib3 import HTTPResponse

import qcov as ct
from qcov.classical.engine.client import connect

pytestmark = pytest.mark.process

_CONTEXT = "https://w3id.org/ro/crate/1.1/context"
_RENAMED = {
    "terms/ComputationalWorkflow": "ComputationalWorkflow",
    "terms/FormalParameter": "FormalParameter",
    "terms/input": "ComputationalWorkflow#input",
    "terms/output": "ComputationalWorkflow#output",
}


@ct.qelectron
@qml.qnode(qml.device("default.qubit", wires=1))
def circuit(angle: float) -> Any:
    qml.RX(angle, wires=0)
    return qml.expval(qml.Z(0))


@ct.electron
def measured(angle: float, factor: float = 1.0) -> float:
    print("measuring")
    return factor * float(circuit(angle))


@ct.electron
@ct.lattice
def inner(angle: float) -> float:
    return measured(angle, factor=2.0)


@ct.electron
def refused(value: float) -> float:
    raise ValueError(f"<b>{value}</b> \x1b[31m\u202e")


@ct.lattice
def works(angle: float) -> float:
    return measured(inner(measured(angle)))


@ct.lattice
def fails(angle: float) -> float:
    return refused(measured(angle))


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> str:
    text = (Path(rocrate.__file__).parent / "data" / "ro-crate.jsonld").read_text()
    for later, earlier in _RENAMED.items():
        text = text.replace(f'bioschemas.org/{later}"', f'bioschemas.org/{earlier}"')
    path = str(tmp_path_factory.mktemp("vocabulary") / "cache")
    answer = requests.Response()
    answer.status_code, answer.url, answer._content = 200, _CONTEXT, text.encode()
    answer.headers["content-type"] = "application/ld+json"
    answer.request = requests.Request("GET", _CONTEXT).prepare()
    answer.raw = HTTPResponse(
        body=io.BytesIO(text.encode()), status=200, preload_content=False, request_url=_CONTEXT,
        headers=answer.headers,
    )  # fmt: skip
    CachedSession(cache_name=path, expire_after=-1).cache.save_response(answer)
    return path


def exported(dispatch_id: str, path: Path) -> Path:
    command = [sys.executable, "-m", "qcov", "export", dispatch_id[:13], "-o", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path


def complaints(path: Path, vocabulary: str) -> list[str]:
    settings = services.ValidationSettings(
        rocrate_uri=str(path), profile_identifier="provenance-run-crate-0.5",
        requirement_severity=models.Severity.REQUIRED, offline=True, cache_path=vocabulary,
    )  # fmt: skip
    found = services.validate(settings)
    return [f"{issue.check.identifier}: {issue.message}" for issue in found.get_issues()]


def entities(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as crate:
        graph = json.loads(crate.read("ro-crate-metadata.json"))["@graph"]
    return {entity["@id"]: entity for entity in graph}


def ids(entity: dict[str, Any], way: str) -> list[str]:
    found = entity.get(way, [])
    return [one["@id"] for one in (found if isinstance(found, list) else [found])]


def texts(found: dict[str, Any], entity: dict[str, Any], way: str) -> list[str]:
    return [found[one]["value"] for one in ids(entity, way)]


@pytest.mark.parametrize("lattice", [works, fails], ids=["works", "fails"])
def test_what_is_exported_is_a_provenance_run_crate(
    lattice: Any, tmp_path: Path, vocabulary: str
) -> None:
    dispatch_id = ct.dispatch_sync(lattice)(0.5).dispatch_id
    path = exported(dispatch_id, tmp_path / "it.zip")

    assert complaints(path, vocabulary) == []


def test_the_validator_sees_what_is_wrong(tmp_path: Path, vocabulary: str) -> None:
    """Or the test above could not fail."""
    path = exported(ct.dispatch_sync(fails)(0.5).dispatch_id, tmp_path / "it.zip")
    with zipfile.ZipFile(path) as crate:
        text = crate.read("ro-crate-metadata.json").decode()
    with zipfile.ZipFile(tmp_path / "wrong.zip", "w") as crate:
        crate.writestr("ro-crate-metadata.json", text.replace('"HowToStep"', '"Thing"'))

    assert complaints(tmp_path / "wrong.zip", vocabulary) != []


def test_who_gets_it_sees_what_ran_with_what_and_what_came_out(tmp_path: Path) -> None:
    result = ct.dispatch_sync(works)(0.5)
    path = exported(result.dispatch_id, tmp_path / "it.zip")
    found = entities(path)

    run = found[f"#run-{result.dispatch_id}"]
    assert run["actionStatus"].endswith("CompletedActionStatus")
    assert texts(found, run, "result") == [repr(result.result)]
    assert texts(found, run, "object") == ["0.5"]
    first, last = found[f"#run-{result.dispatch_id}-0"], f"#run-{result.dispatch_id}"
    assert texts(found, first, "object") == ["0.5"]
    [made] = ids(first, "result")
    takers = [one["@id"] for one in found.values() if made in ids(one, "object")]
    assert len(takers) == 1  # the sublattice took what the first electron made
    assert last not in takers
    with zipfile.ZipFile(path) as crate:
        names = set(crate.namelist())
        around = json.loads(crate.read("environment.json"))
        lines = crate.read("circuits.jsonl").decode().splitlines()
        source = crate.read("workflow.py").decode()
    assert around["packages"]["pennylane"] == qml.__version__
    assert around["python"] == ".".join(map(str, sys.version_info[:3]))
    assert len(lines) == 2  # the sublattice has a file of its own
    assert "return measured(inner(measured(angle)))" in source
    assert any(name.startswith("sublattices/") for name in names)
    assert not any(name.endswith((".pkl", ".pickle")) for name in names)


def test_the_server_gives_the_same(tmp_path: Path, data_folder: Path, vocabulary: str) -> None:
    dispatch_id = ct.dispatch_sync(works)(0.5).dispatch_id
    client = connect(start=True)
    url = client.call("serve", host="localhost", port=0)["url"]
    client.close()
    headers = {"authorization": f"Bearer {(data_folder / 'server.token').read_text()}"}
    answer = httpx.get(f"{url}/api/v1/dispatches/{dispatch_id}/export", headers=headers, timeout=60)
    path = tmp_path / "it.zip"
    path.write_bytes(answer.content)

    assert answer.headers["content-type"] == "application/zip"
    assert f"{dispatch_id}.crate.zip" in answer.headers["content-disposition"]
    assert complaints(path, vocabulary) == []
    missing = httpx.get(f"{url}/api/v1/dispatches/nothing/export", headers=headers)
    assert (missing.status_code, missing.json()["type"]) == (404, "urn:qcov:error:DispatchNotFound")


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    dispatch_id = ct.dispatch_sync(works)(0.5).dispatch_id
    path = tmp_path / "it.zip"
    path.write_text("mine")
    command = [sys.executable, "-m", "qcov", "export", dispatch_id, "-o", str(path)]
    refused = subprocess.run(command, check=False, capture_output=True, text=True)
    nowhere = [*command[:-1], str(tmp_path / "none" / "it.zip")]
    lost = subprocess.run(nowhere, check=False, capture_output=True, text=True)

    assert (refused.returncode, path.read_text()) == (1, "mine")
    assert "--force writes over it" in refused.stderr
    assert (lost.returncode, "cannot be written" in lost.stderr) == (1, True)
    subprocess.run([*command, "--force"], check=True, capture_output=True)
    assert zipfile.is_zipfile(path)
    assert [file.name for file in tmp_path.iterdir() if file.suffix in (".zip", ".part")] == [
        "it.zip"
    ]
