"""What may be removed while other engines write to the same database."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from qcov.errors import QcovError
from qcov.store.changes import Changes
from qcov.store.pruning import last_commits, remaining, removal
from qcov.store.store import Store

pytestmark = pytest.mark.services

BLOB = {"digest": "d" * 64, "size": 1, "data": b"x"}

Put = Callable[..., QcovError | None]


@pytest.fixture
def database_url(postgresql_url: str) -> str:
    return postgresql_url


@pytest.fixture
def other(store: Store, tmp_path: Path, database_url: str) -> Iterator[Store]:
    """Another engine's, with the same key."""
    other = Store(tmp_path / "other", url=database_url, seal_key=store.folder / "seal.key")
    yield other
    other.close()


def write(store: Store, changes: Changes) -> None:
    done = threading.Event()
    store.put(changes, lambda error: None if error else done.set())
    assert done.wait(20)


def test_payloads_go_while_others_are_silent(store: Store, other: Store, put: Put) -> None:
    write(other, {"blob": [BLOB]})
    seen = last_commits(store)
    write(store, {"structures_pruned": [{}]})  # its own commits do not count

    put(removal(store, [BLOB["digest"]], seen))

    assert remaining(store, [BLOB["digest"]]) == set()


def test_payloads_stay_if_another_engine_has_written_since(
    store: Store, other: Store, put: Put
) -> None:
    write(store, {"blob": [BLOB]})
    seen = last_commits(store)
    write(other, {"blob": [BLOB]})  # and what refers to it

    put(removal(store, [BLOB["digest"]], seen))

    assert remaining(store, [BLOB["digest"]]) == {BLOB["digest"]}


def test_payloads_stay_if_an_engine_has_come_since(
    store: Store, put: Put, tmp_path: Path, database_url: str
) -> None:
    write(store, {"blob": [BLOB]})
    seen = last_commits(store)
    new = Store(tmp_path / "new", url=database_url, seal_key=store.folder / "seal.key")
    write(new, {"blob": [BLOB]})

    put(removal(store, [BLOB["digest"]], seen))

    assert remaining(store, [BLOB["digest"]]) == {BLOB["digest"]}
    new.close()


def test_a_transaction_that_is_under_way_is_waited_for(
    store: Store, other: Store, put: Put, database_url: str
) -> None:
    """What it refers to cannot be seen before it ends."""
    write(store, {"blob": [BLOB]})
    seen = last_commits(store)
    told: list[QcovError | None] = []
    removed = threading.Event()
    assert other.leases is not None
    psycopg = pytest.importorskip("psycopg")
    with psycopg.connect(database_url) as connection:
        mark = "UPDATE commits SET token = 'later' WHERE owner = %s"
        connection.execute(mark, (other.leases.owner,))
        store.put(
            removal(store, [BLOB["digest"]], seen),
            lambda error: (told.append(error), removed.set()),
        )
        assert not removed.wait(0.2)

    assert removed.wait(20)
    assert told == [None]
    assert remaining(store, [BLOB["digest"]]) == {BLOB["digest"]}


def test_what_is_removed_may_be_written_at_the_same_time(store: Store, other: Store) -> None:
    """Two engines remove and write the same payloads; each change comes through."""
    rows = [{"digest": f"{number:064}", "size": 1, "data": b"x"} for number in range(50)]

    def remove() -> None:
        for _ in range(20):
            digests = [row["digest"] for row in rows]
            write(other, removal(other, digests, last_commits(other)))

    removing = threading.Thread(target=remove)
    removing.start()
    for _ in range(20):
        write(store, {"blob": rows[::-1]})
        write(store, removal(store, [row["digest"] for row in rows], last_commits(store)))
    removing.join()
