"""A secret stays where it was given."""

from __future__ import annotations

import base64
import json
import logging
import pickle
import re
import subprocess
import sys
import traceback
import zipfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from fastapi.routing import iter_route_contexts

import qcov as ct
from qcov_server.app import create_app

if TYPE_CHECKING:
    from conftest import Site

pytestmark = pytest.mark.process

#: Secrets by where they are given. None of them is a part of another text.
IN_VARIABLE, GIVEN, IN_SETTING = "canary1WcPq8sYvZ", "canary2RkLm5tXbN", "canary3HgJd7fQwE"
SECRETS = (IN_VARIABLE, GIVEN, IN_SETTING)

_PROGRAM = """
import os
import qcov as ct

given = ct.Credential("canary2RkLm5tXbN")
named = ct.Credential("env:CANARY_TOKEN")

@ct.electron
def use(credential, other):
    import logging, os
    print("beacon4TzUe9pKs", credential, repr(credential), other)
    logging.getLogger("qcov.user").error("beacon4TzUe9pKs with %s", credential)
    assert len(credential.reveal()) + len(os.environ["CANARY_TOKEN"]) == 32
    return "beacon4TzUe9pKs"

@ct.electron
def fail(credential):
    raise ValueError(f"beacon4TzUe9pKs: refused {credential!r}")

@ct.lattice
def flow(credential, other):
    return use(credential, other)

@ct.lattice
def flop(credential):
    return fail(credential)

print(ct.dispatch(flow)(given, named))
print(ct.dispatch(flop)(given))
for one in ct.list_dispatches():
    print(ct.get_result(one.dispatch_id, wait=True))
"""


#: Told on the same ways as secrets, and no secret: where it is not found, nothing would be.
SAID = "beacon4TzUe9pKs"
#: What has records that are not made here, or never ends.
_NOTHING_THERE = re.compile(r".*\{(circuit_id|job|trigger_id)\b.*")
_ENDLESS = {"/api/v1/events", "/login"}

Told = dict[str, str]


def qcov(*arguments: str, code: int = 0) -> str:
    """All that a command says, which must end with this code."""
    command = [sys.executable, "-m", "qcov", *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ran.returncode == code, (arguments, ran.returncode, ran.stderr)
    return ran.stdout + ran.stderr


def by_commands(ids: dict[str, str], folder: Path) -> Iterator[tuple[str, str]]:
    """What the command line says, and what is in exports."""
    for name, one in ids.items():
        code = 0 if name == "flow" else 1  # of what tells how it went
        for verb, ends in (("show", 0), ("result", code), ("watch", code)):
            yield f"qcov {verb} {name}", qcov(verb, one, code=ends)
            yield f"qcov {verb} {name} --json", qcov(verb, one, "--json", code=ends)
        crate = folder / f"{name}.zip"
        yield f"qcov export {name}", qcov("export", one, "-o", str(crate))
        with zipfile.ZipFile(crate) as archive:
            for inner in archive.namelist():
                yield f"export of {name}, {inner}", archive.read(inner).decode("latin-1")
    for verb in ("ls", "status", "config", "doctor", "jobs", "costs", "triggers"):
        yield f"qcov {verb}", qcov(verb)
        yield f"qcov {verb} --json", qcov(verb, "--json")
    for verb in (("logs", "-n", "500"), ("logs", "--json", "-n", "500"), ("token", "list")):
        yield f"qcov {' '.join(verb)}", qcov(*verb)


def by_addresses(site: Site, ids: dict[str, str]) -> Iterator[tuple[str, str]]:
    """What every page and every address of the REST interface answers."""
    app = create_app(cast("Any", None), tokens=cast("Any", None), port=1)
    paths = {
        context.path or "" for context in iter_route_contexts(app.routes)
        if "GET" in (context.methods or ())
    }  # fmt: skip
    with site.client() as client:
        for path in sorted(paths - _ENDLESS):
            for name, address in _addresses(path, ids):
                for accept in ("text/html", "application/json"):
                    asked = {"a": ids["flow"], "b": ids["flop"]} if path == "/compare" else {}
                    answer = client.get(address, params=asked, headers={"accept": accept})
                    expected = (404,) if _NOTHING_THERE.fullmatch(path) else (200,)
                    expected = (200, 204) if path.endswith("/payloads/{of}") else expected
                    assert answer.status_code in expected, (address, answer.text)
                    yield f"{accept} {path} {name}", answer.content.decode("latin-1")
                    yield f"headers of {accept} {path} {name}", str(answer.headers)


def _addresses(path: str, ids: dict[str, str]) -> Iterator[tuple[str, str]]:
    whose = ids.items() if "{dispatch_id}" in path else [("", "")]
    for (name, one), node, of in product(whose, "012", ("result", "inputs", "lattice", "0")):
        if (node == "0" or "{node_id}" in path) and (of == "0" or "{of}" in path):
            if name == "flop" and node == "2":
                continue  # it has two nodes
            made = path.replace("{dispatch_id}", one).replace("{node_id}", node)
            yield f"{name} {node} {of}", re.sub(r"\{[^}]*\}", "1", made.replace("{of}", of))


@pytest.fixture
def told(own_site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Told:
    """All that can be read of two dispatches that were given secrets, by where it was read."""
    monkeypatch.setenv("CANARY_TOKEN", IN_VARIABLE)
    (tmp_path / "config").mkdir()
    setting = f'[qelectron.QiskitExecutor]\nibmqx_token = "{IN_SETTING}"\n'
    (tmp_path / "config" / "qcov.conf").write_text(setting)
    (tmp_path / "program.py").write_text(_PROGRAM)
    ran = subprocess.run(
        [sys.executable, tmp_path / "program.py"], capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stderr
    found = re.findall(r"^[0-9a-f-]{36}$", ran.stdout, re.MULTILINE)
    ids = dict(zip(("flow", "flop"), found, strict=True))
    return {
        "the program's output": ran.stdout + ran.stderr,
        **dict(by_commands(ids, tmp_path)),
        **dict(by_addresses(own_site, ids)),
    }


def where(told: Told, secret: str) -> set[str]:
    """Where a text is told, as it is or in base64."""
    shifted = [base64.b64encode(b"." * n + secret.encode()).decode()[4:-4] for n in range(3)]
    texts = (secret, *shifted)
    return {place for place, text in told.items() if any(one in text for one in texts)}


def files_with(folder: Path, secret: str) -> set[str]:
    """The names of the files in a folder that hold a text."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.name for path in files if secret.encode() in path.read_bytes()}


@pytest.mark.slow
@pytest.mark.timeout(400)  # it runs some thirty commands
def test_no_secret_is_told(told: Told, own_site: Site) -> None:
    """13: in pages, REST, payloads, exports, the command line, logs, and the files that it has."""
    secrets = (*SECRETS, own_site.token)
    assert {one: where(told, one) for one in secrets} == {one: set() for one in secrets}

    meant = {"server.token", "credentials.json"}  # where they are kept, readable by their owner
    assert {name for one in secrets for name in files_with(own_site.folder, one)} == meant

    # What is no secret and goes the same ways is found on all of them, so a secret would be.
    seen = where(told, SAID)
    for place in (
        "the program's output", "qcov show flow --json", "qcov result flop", "qcov watch flop",
        "qcov logs -n 500", "text/html /logs  0 0",
        "text/html /  0 0",
        "text/html /dispatches/{dispatch_id} flop 0 0", "text/html /compare  0 0",
        "text/html /dispatches/{dispatch_id}/nodes/{node_id} flow 0 0",
        "text/html /dispatches/{dispatch_id}/nodes/{node_id} flop 0 0",
        "application/json /api/v1/dispatches/{dispatch_id} flop 0 0",
        "application/json /api/v1/dispatches/{dispatch_id}/nodes flow 0 0",
        "application/json /api/v1/dispatches/{dispatch_id}/nodes/{node_id}/streams flow 0 0",
        "application/json /api/v1/dispatches/{dispatch_id}/payloads/{of} flow 0 0",
        "application/json /api/v1/dispatches/{dispatch_id}/payloads/{of} flow 0 result",
    ):  # fmt: skip
        assert place in seen, place
    assert any(place.startswith("export of flow") for place in seen)
    held = files_with(own_site.folder, SAID)
    assert any(name.startswith("qcov.sqlite") for name in held), held
    # The settings that have a secret were read, too.
    assert "ibmqx_token" in told["qcov config"]


@pytest.mark.parametrize("before", ["", "a", "ab"])
def test_a_secret_would_be_found(tmp_path: Path, before: str) -> None:
    hidden = base64.b64encode(f"{before}{GIVEN}, and more".encode()).decode()
    told = {"plain": f"it is {GIVEN}", "base64": f'"{hidden}"', "not": GIVEN[:-1]}
    (tmp_path / "file").write_bytes(b"\0" + GIVEN.encode())

    assert where(told, GIVEN) == {"plain", "base64"}
    assert files_with(tmp_path, GIVEN) == {"file"}


def test_no_secret_is_in_what_python_shows(own_site: Site) -> None:
    """13: `repr`, tracebacks, pickles, and what is logged."""
    credential = ct.Credential(GIVEN)
    executor = ct.executor.IBMQExecutor(backend="ibm_torino", ibmqx_token=GIVEN)

    def refuse(one: Any) -> None:
        raise ValueError(f"{one} {one!r} {[one]} {executor}")

    try:
        refuse(credential)
    except ValueError as error:
        shown = "".join(traceback.TracebackException.from_exception(
            error, capture_locals=True).format())  # fmt: skip
    record = logging.LogRecord("qcov", logging.ERROR, "", 0, "with %s", (credential,), None)
    texts = [
        shown, record.getMessage(), repr(executor), str(executor), executor.model_dump_json(),
        json.dumps(executor.model_dump(mode="json"), default=str),
        pickle.dumps(credential).decode("latin-1"), pickle.dumps(executor).decode("latin-1"),
    ]  # fmt: skip
    assert [text for text in texts if GIVEN in text] == []
    assert credential.reveal() == GIVEN
