"""Many programs, each with many dispatches, on one store: none is locked out, nothing is lost.

`pytest tests/crash/test_many_programs.py --dispatches=1000` for the long run.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from chaos import database

import qcov as ct

PROGRAMS = 8
PROGRAM = """
import json, sys
from concurrent.futures import ThreadPoolExecutor

import qcov as ct

@ct.electron
def add(x, y):
    return x + y

@ct.lattice
def workflow(x):
    return add(add(x, 1), add(x, 2))

def one(number):
    # every third is everybody's: one key, whoever comes first
    key = f"shared-{number}" if number % 3 == 0 else None
    base = number if key else number + 1000 * int(sys.argv[1])
    dispatch_id = ct.dispatch(workflow, key=key)(base)
    result = ct.get_result(dispatch_id, wait=True)
    assert result.result == 2 * base + 3, result.error
    return dispatch_id

with ThreadPoolExecutor(8) as pool:
    print(json.dumps(list(pool.map(one, range(int(sys.argv[2]))))))
"""


@pytest.mark.timeout(1800)
def test_many_programs_at_once(
    data_folder: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    count = request.config.getoption("--dispatches")
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, str(tmp_path / "program.py")]
    programs = [
        subprocess.Popen([*command, str(number), str(count)], stdout=-1, stderr=-1, text=True)
        for number in range(PROGRAMS)
    ]
    ids: list[list[str]] = []
    for program in programs:
        out, err = program.communicate()
        assert program.returncode == 0, err
        assert "locked" not in err
        ids.append(json.loads(out))

    shared = [{one[number] for one in ids} for number in range(0, count, 3)]
    assert [len(same) for same in shared] == [1] * len(shared)
    told = {id_ for one in ids for id_ in one}
    assert len(told) == len(shared) + PROGRAMS * (count - len(shared))
    assert ct.get_result(ids[0][0]).status == "COMPLETED"
    found = database.read_folder(data_folder)
    assert found is not None
    assert (set(found.dispatches), found.missing, found.integrity) == (told, [], "ok")
    assert {row["status"] for row in found.dispatches.values()} == {"COMPLETED"}
    assert {row["status"] for row in found.nodes.values()} == {"COMPLETED"}
    assert "locked" not in (data_folder / "engine.log").read_text()
