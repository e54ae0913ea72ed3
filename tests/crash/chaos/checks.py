"""What must hold after a round. Pure: a journal and a store's contents in, violations out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chaos.database import Contents, Row

TERMINAL = ("COMPLETED", "FAILED", "CANCELLED")
Journal = Sequence[Sequence[Any]]
Reference = Mapping[tuple[Any, ...], Row]


def violations(journal: Journal, contents: Contents, reference: Reference) -> list[str]:
    """All that is wrong, in words."""
    return [
        *_database(contents),
        *_nothing_goes_on(contents),
        *_one_per_key(contents),
        *_acknowledged(journal, contents),
        *_committed(journal, contents),
        *_completed_ran_again(journal),
        *_ran_too_often(journal, contents),
        *_others_than(reference, journal, contents),
    ]


def _database(contents: Contents) -> Iterator[str]:
    if contents.integrity != "ok":
        yield f"the database is damaged: {contents.integrity}"
    for digest in contents.missing:
        yield f"blob {digest} is named by a row, and is not there"


def _nothing_goes_on(contents: Contents) -> Iterator[str]:
    for dispatch_id, row in contents.dispatches.items():
        if row["status"] not in TERMINAL:
            yield f"dispatch {dispatch_id} is {row['status']} for ever"
    for key, row in contents.nodes.items():
        if row["status"] not in (*TERMINAL, "NEW_OBJECT"):
            yield f"node {key} is {row['status']} for ever"


def _one_per_key(contents: Contents) -> Iterator[str]:
    """A key starts something new only after a failure or a cancellation."""
    roots = [row for row in contents.dispatches.values() if row["parent_id"] is None]
    good = Counter(row["name"] for row in roots if row["status"] not in ("FAILED", "CANCELLED"))
    for name, count in good.items():
        if count > 1:
            yield f"{count} dispatches of {name} have one key"


def _acknowledged(journal: Journal, contents: Contents) -> Iterator[str]:
    """What a program was told is still so."""
    for what, *about in journal:
        if what == "told" and about[1] not in contents.dispatches:
            yield f"a program was told of dispatch {about[1]}, and it is gone"
        elif what == "cancelled" and contents.dispatches[about[0]]["status"] != "CANCELLED":
            yield f"a program was told that dispatch {about[0]} is cancelled, and it is not"


def _committed(journal: Journal, contents: Contents) -> Iterator[str]:
    """What was on disk is still there, and still the same."""
    for what, *about in journal:
        if what == "stored" and about[0] not in contents.dispatches:
            yield f"dispatch {about[0]} was committed and is gone"
        elif what == "ended":
            row = contents.nodes.get((about[0], about[1]))
            if row is None or [row["status"], row["output"]] != about[2:]:
                yield f"node {about[:2]} was committed as {about[2:]} and is {row}"
        elif what == "over":
            row = contents.dispatches.get(about[0])
            if row is None or [row["status"], row["result"]] != about[1:]:
                yield f"dispatch {about[0]} was committed as {about[1:]} and is {row}"
        elif what == "child":
            row = contents.nodes.get((about[0], about[1]))
            if row is None or row["sub_dispatch_id"] != about[2]:
                yield f"node {about[:2]} had sublattice {about[2]} and has {row}"


def _completed_ran_again(journal: Journal) -> Iterator[str]:
    ended: set[tuple[str, int]] = set()
    for what, *about in journal:
        if what == "ended":
            ended.add((about[0], about[1]))
        elif what == "ran" and (about[0], about[1]) in ended:
            yield f"node {tuple(about)} had ended, and ran again"


def _ran_too_often(journal: Journal, contents: Contents) -> Iterator[str]:
    """Each attempt runs once, and once more for each process that was killed meanwhile."""
    kills = sum(what == "killed" for what, *_ in journal)
    ran = Counter((about[0], about[1]) for what, *about in journal if what == "ran")
    for key, count in ran.items():
        row = contents.nodes.get(key)
        if row is None:
            yield f"node {key} ran and is not stored"
        elif count > row["attempt"] + kills:
            yield f"node {key} ran {count} times in {row['attempt']} attempts and {kills} kills"


def _others_than(reference: Reference, journal: Journal, contents: Contents) -> Iterator[str]:
    """Every node has come to what it comes to when nothing is killed.

    Unless its worker was: then it has failed for that reason, and what waits for it has not run.
    Or its dispatch was cancelled.
    """
    killed = any(what == "killed" and about[0] != "client" for what, *about in journal)
    for root, nodes in contents.trees().items():
        lost = {path for path, row in nodes.items() if "WorkerLost" in str(row["error"])}
        stopped = contents.dispatches[root]["status"] == "CANCELLED"
        if lost and not killed:
            yield f"nobody killed a worker, and {sorted(lost)} lost theirs"
        less = {"NEW_OBJECT"} if lost or stopped else set[str]()
        less |= ({"FAILED"} if lost else set()) | ({"CANCELLED"} if stopped else set())
        for path, row in nodes.items():
            if row["status"] not in less and not _same(row, reference.get(path)):
                yield f"node {path} is {row['status']} {row['error']}, not {reference.get(path)}"
        name = contents.dispatches[root]["name"]
        if not less and {path for path in reference if path[0] == name} != set(nodes):
            yield f"dispatch {root} of {name} has {len(nodes)} nodes"


def _same(row: Row, wanted: Row | None) -> bool:
    return wanted is not None and all(row[name] == wanted[name] for name in ("status", "output"))
