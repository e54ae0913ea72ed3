"""A secret stays where it was given."""

from __future__ import annotations

import json
import logging
import os
import pickle
import re
import subprocess
import sys
import traceback
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import qcov as ct

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
    print(credential, repr(credential), other)
    logging.getLogger("qcov.user").error("with %s", credential)
    return len(credential.reveal()) + len(os.environ["CANARY_TOKEN"])

@ct.electron
def fail(credential):
    raise ValueError(f"refused {credential!r}")

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


def qcov(*arguments: str, **variables: str) -> str:
    command = [sys.executable, "-m", "qcov", *arguments]
    ran = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=os.environ | variables
    )
    return ran.stdout + ran.stderr


@pytest.fixture
def told(own_site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """All that can be read of two dispatches that were given secrets, by where it was read."""
    monkeypatch.setenv("CANARY_TOKEN", IN_VARIABLE)
    (tmp_path / "config").mkdir()
    setting = f'[qelectron.QiskitExecutor]\nibmqx_token = "{IN_SETTING}"\n'
    (tmp_path / "config" / "qcov.conf").write_text(setting)
    (tmp_path / "program.py").write_text(_PROGRAM)
    ran = subprocess.run(
        [sys.executable, tmp_path / "program.py"], capture_output=True, text=True, timeout=90
    )
    assert ran.returncode == 0, ran.stderr
    found = {"the program's output": ran.stdout + ran.stderr}
    ids = re.findall(r"^[0-9a-f-]{36}$", ran.stdout, re.MULTILINE)
    assert len(ids) == 2
    pages = ["/", "/executors", "/jobs", "/triggers", "/logs", "/settings", "/api/v1/dispatches",
             "/api/v1/openapi.json", "/api/v1/status", "/api/v1/nowhere"]  # fmt: skip
    for one in ids:
        below = ["", "/nodes", "/nodes/0", "/circuits", "/graph"]
        pages += [f"{start}/dispatches/{one}{path}" for path in below for start in ("", "/api/v1")]
        pages += [f"/api/v1/dispatches/{one}/nodes/0/streams"]
        payloads = ("result", "inputs", "lattice", "0")
        pages += [f"/api/v1/dispatches/{one}/payloads/{of}" for of in payloads]
        crate = tmp_path / f"{one}.zip"
        found[f"export {one}"] = qcov("export", one, "-o", str(crate))
        with zipfile.ZipFile(crate) as archive:
            for name in archive.namelist():
                found[f"{crate}/{name}"] = archive.read(name).decode("latin-1")
        for verb in ("show", "log", "dispatches"):
            found[f"qcov {verb}"] = qcov(verb, one, "--json")
    with own_site.client() as client:
        for accept in ("text/html", "application/json"):
            for path in pages:
                answer = client.get(path, headers={"accept": accept})
                found[f"{accept} {path}"] = answer.text + str(answer.headers)
    for arguments in (("status", "--json"), ("config",), ("logs", "-n", "500"), ("token", "list")):
        found[f"qcov {arguments}"] = qcov(*arguments)
    return found


def test_no_secret_is_told(told: dict[str, str], own_site: Site) -> None:
    """13: in pages, REST, payloads, exports, the command line, logs, and the files that it has."""
    secrets = (*SECRETS, own_site.token)
    leaks = [where for where, text in told.items() for one in secrets if one in text]
    assert leaks == []

    meant = {"server.token", "credentials.json"}  # where they are kept, readable by their owner
    files = [path for path in own_site.folder.rglob("*") if path.is_file()]
    held = {path.name for path in files for one in secrets if one.encode() in path.read_bytes()}
    assert held == meant


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
