"""A disk that refuses: at each of a transaction's writes, once or for a while."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from qcov import private_file
from qcov.errors import QcovError, StoreError, StoreUnavailable
from qcov.store import writer
from qcov.store.blobs import Folder
from qcov.store.changes import Changes
from qcov.store.store import Store
from qcov.transport import address

Rows = Callable[..., Changes]

FULL, BROKEN, READONLY = sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_READONLY


@pytest.fixture
def database_url() -> str:
    """A file: of a server's disk nothing is seen here."""
    return ""


class Disk:
    """A connection whose writes are counted, and refused while `refuses` says so."""

    def __init__(self, store: Store) -> None:
        self.real: sqlite3.Connection = store._writer._connection
        self.refuses: Callable[[int], int | None] = lambda _write: None
        self.writes = 0
        store._writer._connection = self

    @property
    def in_transaction(self) -> bool:
        return self.real.in_transaction

    def cursor(self) -> _Cursor:
        return _Cursor(self, self.real.cursor())

    def write(self) -> None:
        self.writes += 1
        if (code := self.refuses(self.writes)) is not None:
            error = sqlite3.OperationalError("the disk refuses")
            error.sqlite_errorcode = code
            raise error


class _Cursor:
    def __init__(self, disk: Disk, real: sqlite3.Cursor) -> None:
        self.disk, self.real = disk, real

    def execute(self, statement: str) -> None:
        if statement != "ROLLBACK":
            self.disk.write()
        self.real.execute(statement)

    def executemany(self, statement: str, rows: Any) -> None:
        self.disk.write()
        self.real.executemany(statement, rows)


@pytest.fixture
def disk(store: Store, monkeypatch: pytest.MonkeyPatch) -> Disk:
    monkeypatch.setattr(writer, "_RETRY_AFTER", 0.001)
    return Disk(store)


class Told:
    """What became of changes, by name."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.errors: dict[str, QcovError | None] = {}
        self.times: list[str] = []

    def put(self, name: str, changes: Changes, *, keep: bool) -> None:
        def done(error: QcovError | None) -> None:
            self.times.append(name)
            self.errors[name] = error

        self.store.put(changes, done, keep=keep)

    def wait(self) -> None:
        done = threading.Event()
        self.store.put({}, lambda _: done.set())
        assert done.wait(10)


def stored(folder: Path) -> set[str]:
    with closing(sqlite3.connect(folder / "qcov.sqlite")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        dispatches = {row[0] for row in connection.execute("SELECT id FROM dispatches")}
        with_nodes = {row[0] for row in connection.execute("SELECT dispatch_id FROM nodes")}
    assert dispatches == with_nodes  # each change is there as a whole, or not at all
    return dispatches


def put_group(store: Store, told: Told, rows: Rows) -> None:
    """Six changes that are waiting together, half of which must not be lost."""
    begun, go_on = threading.Event(), threading.Event()
    store.put({}, lambda _: (begun.set(), go_on.wait(10)))
    assert begun.wait(10)
    for number in range(6):
        told.put(f"d{number}", rows(f"d{number}"), keep=number % 2 == 0)
    go_on.set()
    told.wait()


@pytest.mark.parametrize("code", [FULL, BROKEN, READONLY])
@pytest.mark.parametrize("times", [1, 3, 12])
@pytest.mark.parametrize("first", range(1, 25))
def test_whatever_write_is_refused_nothing_is_lost(
    data_folder: Path, store: Store, disk: Disk, dispatch_rows: Rows,
    first: int, times: int, code: int,
) -> None:  # fmt: skip
    begun = disk.writes
    disk.refuses = lambda write: code if first <= write - begun < first + times else None
    told = Told(store)
    put_group(store, told, dispatch_rows)
    disk.refuses = lambda _write: None
    told.put("later", dispatch_rows("later"), keep=False)
    told.wait()

    assert sorted(told.times) == [*(f"d{number}" for number in range(6)), "later"]  # each once
    good = {name for name, error in told.errors.items() if error is None}
    assert good == stored(data_folder)
    assert good >= {"d0", "d2", "d4", "later"}
    for error in filter(None, told.errors.values()):
        assert isinstance(error, StoreUnavailable)
        assert "the disk refuses. Free some space" in str(error)


def test_changes_that_wait_for_the_disk_keep_their_order(
    store: Store, disk: Disk, dispatch_rows: Rows
) -> None:
    told, refusing = Told(store), threading.Event()
    disk.refuses = lambda _write: refusing.set() or FULL
    for number in range(20):
        told.put(f"d{number}", dispatch_rows(f"d{number}"), keep=True)
    assert refusing.wait(10)
    disk.refuses = lambda _write: None
    told.wait()

    assert told.times == [f"d{number}" for number in range(20)]


def test_closing_while_the_disk_is_full_ends_and_says_so(
    data_folder: Path, store: Store, disk: Disk, dispatch_rows: Rows
) -> None:
    told, refusing = Told(store), threading.Event()
    told.put("before", dispatch_rows("before"), keep=True)
    told.wait()
    disk.refuses = lambda _write: refusing.set() or FULL
    for number in range(3):
        told.put(f"d{number}", dispatch_rows(f"d{number}"), keep=True)
    assert refusing.wait(10)
    store._writer.close()

    assert stored(data_folder) == {"before"}
    assert {name for name, error in told.errors.items() if error} == {"d0", "d1", "d2"}


def test_a_refusal_that_nobody_waits_for_is_logged(
    store: Store, dispatch_rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    store.put(dispatch_rows("d"))
    store.put(dispatch_rows("d"))
    with caplog.at_level(logging.ERROR, "qcov.store"):
        Told(store).wait()

    assert "the store refused a change: UNIQUE constraint failed: dispatches.id" in caplog.text


def test_waiting_for_the_disk_is_logged_with_its_end(
    store: Store, disk: Disk, dispatch_rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    left = iter(range(5))
    disk.refuses = lambda _write: FULL if next(left, None) is not None else None
    with caplog.at_level(logging.INFO, "qcov.store"):
        store.put(dispatch_rows("d"))
        Told(store).wait()

    said = [one.getMessage() for one in caplog.records if one.name == "qcov.store"]
    assert said == [
        "the store takes no changes, they wait: the disk refuses",
        "the store takes changes again",
    ]


# -- files


def calls(monkeypatch: pytest.MonkeyPatch, fails_at: int) -> list[str]:
    """Let the call with this number fail that a file's writing, in this thread, makes."""
    made: list[str] = []
    here = threading.get_ident()

    def watch(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() != here:
                return real(*args, **kwargs)
            made.append(name)
            if len(made) == fails_at:
                raise OSError(28, "No space left on device")
            return real(*args, **kwargs)

        monkeypatch.setattr(owner, name, call)

    for owner, name in ((private_file.os, "open"), (private_file.os, "fsync"), (Path, "replace")):
        watch(owner, name)
    watch(Path, "mkdir")
    return made


def test_whatever_call_fails_a_blob_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    data = b"x" * 100_000
    digest = address(data)
    with pytest.MonkeyPatch.context() as monkeypatch:
        made = calls(monkeypatch, fails_at=0)
        Folder(tmp_path / "good").write(digest, data)
    assert made.count("fsync") == 4  # two folders' names, the file, its name
    for number in range(1, len(made) + 1):
        folder = tmp_path / str(number)
        with pytest.MonkeyPatch.context() as monkeypatch:
            calls(monkeypatch, fails_at=number)
            with pytest.raises(StoreUnavailable, match="No space left on device. Free some"):
                Folder(folder).write(digest, data)
        found = [path for path in folder.rglob("*") if path.is_file()] if folder.exists() else []
        assert [path.name for path in found] in ([], [digest])  # no draft is left
        assert all(path.read_bytes() == data for path in found)

        Folder(folder).write(digest, data)  # there is space again
        assert Folder(folder).read(digest) == data


def test_a_refused_change_names_its_reason(store: Store) -> None:
    told = Told(store)
    told.put("x", {"key_released": [{"of_dispatch": object()}]}, keep=True)
    told.wait()
    assert isinstance(told.errors["x"], StoreError)
