"""The checks find what they are there for: a good round's record, spoilt in one place at a time."""

from __future__ import annotations

import copy
import hashlib
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from chaos import checks, database

REFERENCE = {
    ("w", 0): {"status": "COMPLETED", "output": "a"},
    ("w", 1): {"status": "COMPLETED", "output": "b"},
    ("w", 1, 0): {"status": "COMPLETED", "output": "b"},
}
JOURNAL: list[list[Any]] = [
    ["stored", "d"],
    ["told", "w", "d"],
    ["ran", "d", 0],
    ["killed", "engine", "any moment"],
    ["ran", "d", 0],
    ["ended", "d", 0, "COMPLETED", "a"],
    ["child", "d", 1, "c"],
    ["ran", "c", 0],
    ["ended", "c", 0, "COMPLETED", "b"],
    ["ended", "d", 1, "COMPLETED", "b"],
    ["over", "d", "COMPLETED", "b"],
]


def node(output: str, **more: Any) -> dict[str, Any]:
    row = {"status": "COMPLETED", "output": output, "error": None, "attempt": 1}
    return row | {"sub_dispatch_id": None} | more


def dispatch(**more: Any) -> dict[str, Any]:
    row = {"name": "w", "status": "COMPLETED", "result": "b", "root_id": "d"}
    return row | {"parent_id": None, "parent_node": None} | more


def contents() -> database.Contents:
    return database.Contents(
        dispatches={"d": dispatch(), "c": dispatch(name="v", parent_id="d", parent_node=1)},
        nodes={
            ("d", 0): node("a"),
            ("d", 1): node("b", sub_dispatch_id="c"),
            ("c", 0): node("b"),
        },
        missing=[],
        integrity="ok",
    )


def test_a_good_round_is_good() -> None:
    assert checks.violations(JOURNAL, contents(), REFERENCE) == []


def lost_node(found: database.Contents) -> None:
    found.nodes["d", 0] |= {"status": "FAILED", "output": None, "error": "ValueError: x"}


def second_root(found: database.Contents) -> None:
    found.dispatches["e"] = dispatch(root_id="e")


SPOILT: dict[str, Callable[[database.Contents], Any]] = {
    "is RUNNING for ever": lambda found: found.nodes["c", 0].update(status="RUNNING"),
    "dispatch d is PENDING": lambda found: found.dispatches["d"].update(status="PENDING"),
    "2 dispatches of w have one key": second_root,
    "was committed as ['COMPLETED', 'a']": lambda found: found.nodes["d", 0].update(output="z"),
    "is FAILED ValueError": lost_node,
    "had sublattice c": lambda found: found.nodes["d", 1].update(sub_dispatch_id=None),
    "dispatch d was committed as": lambda found: found.dispatches["d"].update(result=None),
    "has 2 nodes": lambda found: found.nodes.pop(("c", 0)),
    "is not there": lambda found: found.missing.append("a"),
    "nobody killed a worker": lambda found: found.nodes["c", 0].update(error="WorkerLost: x"),
}


@pytest.mark.parametrize("told", SPOILT)
def test_what_is_wrong_in_a_store_is_found(told: str) -> None:
    found = contents()
    SPOILT[told](found)
    journal = [entry for entry in JOURNAL if entry[0] != "killed"]
    assert any(told in line for line in checks.violations(journal, found, REFERENCE))


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        (["ran", "d", 0], "('d', 0) had ended, and ran again"),
        (["stored", "x"], "dispatch x was committed and is gone"),
        (["told", "w", "x"], "a program was told of dispatch x"),
        (["cancelled", "d"], "told that dispatch d is cancelled"),
        (["ran", "x", 5], "ran and is not stored"),
    ],
)
def test_what_is_wrong_in_a_journal_is_found(entry: list[Any], told: str) -> None:
    lines = checks.violations([*JOURNAL, entry], contents(), REFERENCE)
    assert any(told in line for line in lines)


def test_too_many_tries_are_found() -> None:
    journal = copy.deepcopy(JOURNAL)
    journal.insert(2, ["ran", "d", 0])
    found = checks.violations(journal, contents(), REFERENCE)
    assert found == ["node ('d', 0) ran 3 times in 1 attempts and 1 kills"]


def test_bytes_that_are_not_there_or_are_others_are_found(tmp_path: Path) -> None:
    good, large = (hashlib.sha256(data).hexdigest() for data in (b"good", b"large"))
    with closing(sqlite3.connect(tmp_path / "qcov.sqlite")) as connection, connection:
        connection.executescript(
            "CREATE TABLE dispatches (id, manifest, result);"
            "CREATE TABLE nodes (dispatch_id, node_id, output);"
            "CREATE TABLE blobs (digest, data);"
        )
        connection.executemany(
            "INSERT INTO blobs VALUES (?, ?)", [(good, b"good"), (large, None), ("bad", b"other")]
        )
        connection.execute("INSERT INTO nodes VALUES ('d', 0, 'named')")
    found = database.read_folder(tmp_path)
    assert found is not None
    assert found.missing == sorted(["bad", large, "named"])

    path = tmp_path / "blobs" / large[:2] / large
    path.parent.mkdir(parents=True)
    path.write_bytes(b"large")
    found = database.read_folder(tmp_path)
    assert found is not None
    assert found.missing == ["bad", "named"]
