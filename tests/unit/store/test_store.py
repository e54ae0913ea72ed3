"""The store: what was acknowledged stays, and what was altered is refused."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from qcov.errors import (
    DispatchNotFound,
    IntegrityError,
    QcovError,
    SchemaMismatch,
    StoreError,
    StoreUnavailable,
)
from qcov.store import migrations
from qcov.store.blobs import INLINE_LIMIT
from qcov.store.changes import TERMINAL, Changes
from qcov.store.folder import Ownership, prepare_folder
from qcov.store.store import Store
from qcov.transport import address, dumps

Put = Callable[..., QcovError | None]
Open = Callable[[], Store]
Rows = Callable[..., Changes]

NODE = {"of_dispatch": "d", "of_node": 0, "of_attempt": 1}
EMPTY = dict.fromkeys(
    ["new_started", "new_ended", "new_error", "new_output", "new_output_seal", "new_value_repr",
     "new_stdout", "new_stderr", "new_output_key", "new_reused_from"]
)  # fmt: skip

#: What a requeued node has printed in its last try.
TRIED = {"new_stdout": None, "new_stderr": None}


def finished(store: Store, data: bytes, status: str = "COMPLETED", **more: Any) -> Changes:
    digest = address(data)
    row = NODE | EMPTY | {"new_status": status, "new_output": digest, **more}
    place = (row["of_dispatch"], row["of_node"])
    row["new_output_seal"] = store.seal(digest, *place)
    return {"blob": [store.blob_row(digest, data)], "node_finished": [row]}


def alter(store: Store, statement: str, **values: object) -> None:
    """Change the database behind the store's back."""
    with store._database.writing.begin() as connection:
        connection.execute(sa.text(statement), values)


# -- writing and reading


def test_a_change_that_the_driver_refuses_does_not_stop_the_others(
    store: Store, put: Put, dispatch_rows: Rows
) -> None:
    assert isinstance(put(dispatch_rows("bad", name="\ud800")), StoreError)
    assert isinstance(put(dispatch_rows("large", nodes_total=2**70)), StoreError)

    assert put(dispatch_rows("good")) is None
    assert store.list_dispatches()[1] == 1


@pytest.mark.parametrize("size", [0, 10, INLINE_LIMIT, INLINE_LIMIT + 1, 1 << 20])
def test_payloads_of_any_size_come_back(
    store: Store, put: Put, dispatch_rows: Rows, size: int
) -> None:
    data = os.urandom(size)
    put(dispatch_rows())
    assert put(finished(store, data)) is None

    payload = store.payload("d", 0)
    assert payload is not None
    assert payload["data"] == (data if size <= INLINE_LIMIT else None)
    assert store.blob(payload["digest"]) == data


def test_many_small_blobs_come_back_at_once(store: Store, put: Put) -> None:
    many = {address(data): data for data in (str(number).encode() for number in range(1_234))}
    large = os.urandom(INLINE_LIMIT + 1)
    put({"blob": [store.blob_row(digest, data) for digest, data in many.items()]})
    put({"blob": [store.blob_row(address(large), large)]})

    found = dict(store.inline_blobs([*many, address(large), address(b"unknown")]))

    assert found == many | {address(large): None}


def test_what_was_acknowledged_is_there_after_reopening(
    open_store: Open, store: Store, put: Put, dispatch_rows: Rows
) -> None:
    put(dispatch_rows())
    put(finished(store, b"value"))
    store.close()

    again = open_store()
    assert again.outputs("d") == {0: address(b"value")}
    assert again.blob(address(b"value")) == b"value"
    again.close()


def test_an_unknown_dispatch_is_named(store: Store) -> None:
    with pytest.raises(
        DispatchNotFound, match=f"no dispatch 'nowhere' in {re.escape(store.where)}"
    ):
        store.get_dispatch("nowhere")


def test_closing_commits_what_is_queued(open_store: Open, dispatch_rows: Rows) -> None:
    first = open_store()
    for number in range(100):
        first.put(dispatch_rows(f"d{number}"))
    first.close()

    again = open_store()
    assert again.list_dispatches()[1] == 100
    again.close()


def test_many_threads_lose_nothing(store: Store, dispatch_rows: Rows) -> None:
    acknowledged: list[QcovError | None] = []

    def write(worker: int) -> None:
        for number in range(50):
            store.put(dispatch_rows(f"{worker}-{number}"), acknowledged.append)

    threads = [threading.Thread(target=write, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done = threading.Event()
    store.put({}, lambda _: done.set())
    assert done.wait(20)

    assert acknowledged == [None] * 400
    assert store.list_dispatches()[1] == 400


def test_the_size_of_a_payload_may_be_large(store: Store, put: Put) -> None:
    row = {"digest": "d" * 64, "size": 3 << 30, "data": None}

    assert put({"blob": [row]}) is None


def test_one_bad_change_does_not_spoil_the_others(
    store: Store, put: Put, dispatch_rows: Rows
) -> None:
    store.put(dispatch_rows("a"))
    told: list[QcovError | None] = []
    store.put(dispatch_rows("a"), told.append)
    store.put(dispatch_rows("b"), told.append)
    assert put(dispatch_rows("c")) is None

    assert isinstance(told[0], StoreError)
    assert told[1] is None
    assert store.list_dispatches()[1] == 3


# -- a finished thing stays finished


@pytest.mark.parametrize("first", TERMINAL)
@pytest.mark.parametrize("second", ["RUNNING", *TERMINAL])
def test_terminal_states_of_nodes_never_change(
    store: Store, put: Put, dispatch_rows: Rows, first: str, second: str
) -> None:
    put(dispatch_rows())
    put(finished(store, b"first", first))

    late: Changes = {
        **finished(store, b"second", second),
        "node_status": [NODE | {"new_status": second}],
        "node_started": [NODE | {"new_status": second, "new_started": 9.0}],
        "node_requeued": [
            NODE | {"new_status": second, "new_attempt": 2, "new_stdout": "", "new_stderr": ""}
        ],
        "node_printed": [NODE | {"new_stdout": "late", "new_stderr": "late"}],
        "node_child": [NODE | {"new_sub_dispatch_id": "late", "new_started": 9.0}],
    }
    assert put(late) is None

    (row,) = store.get_nodes("d")
    assert (row["status"], row["output"], row["attempt"]) == (first, address(b"first"), 1)
    assert (row["started"], row["sub_dispatch_id"]) == (None, None)
    assert not row["stdout"]


@pytest.mark.parametrize("first", TERMINAL)
def test_terminal_states_of_dispatches_never_change(
    store: Store, put: Put, dispatch_rows: Rows, first: str
) -> None:
    put(dispatch_rows())
    ended = {
        "of_dispatch": "d", "new_status": first, "new_ended": 2.0, "new_error": None,
        "new_result": None, "new_result_seal": None, "new_result_repr": "first",
    }  # fmt: skip
    put({"dispatch_ended": [ended]})
    put({
        "dispatch_ended": [ended | {"new_status": "COMPLETED", "new_result_repr": "second"}],
        "dispatch_status": [{"of_dispatch": "d", "new_status": "CANCELING"}],
        "dispatch_started": [{"of_dispatch": "d", "new_status": "RUNNING", "new_started": 9.0}],
    })  # fmt: skip

    row = store.get_dispatch("d")
    assert (row["status"], row["result_repr"], row["started"]) == (first, "first", None)


def test_an_outcome_of_an_earlier_attempt_is_ignored(
    store: Store, put: Put, dispatch_rows: Rows
) -> None:
    put(dispatch_rows())
    put(
        {
            "node_requeued": [
                NODE
                | {"new_status": "PENDING", "new_attempt": 2, "new_stdout": "", "new_stderr": ""}
            ]
        }
    )
    put(finished(store, b"late"))

    (row,) = store.get_nodes("d")
    assert (row["status"], row["attempt"], row["output"]) == ("PENDING", 2, None)


def test_one_node_has_one_child(store: Store, put: Put, dispatch_rows: Rows) -> None:
    put(dispatch_rows("d"))
    assert put(dispatch_rows("child", parent_id="d", parent_node=0)) is None

    assert isinstance(put(dispatch_rows("other", parent_id="d", parent_node=0)), StoreError)
    assert [row["id"] for row in store.unfinished()] == ["d", "child"]


def test_a_key_belongs_to_one_dispatch_until_it_is_released(
    store: Store, put: Put, dispatch_rows: Rows
) -> None:
    put(dispatch_rows("a", key="k"))
    assert isinstance(put(dispatch_rows("b", key="k"), keep=False), StoreError)

    released = {**dispatch_rows("b", key="k"), "key_released": [{"of_dispatch": "a"}]}
    assert put(released) is None
    found = store.find_key("k")
    assert found is not None
    assert found["id"] == "b"


# -- reading


def test_windows_of_the_list(store: Store, put: Put, dispatch_rows: Rows) -> None:
    for number in range(5):
        status = "FAILED" if number % 2 else "RUNNING"
        put(dispatch_rows(f"id-{number}", created=float(number), status=status, name=f"w_{number}"))
    put(dispatch_rows("child", parent_id="id-0", parent_node=0, created=9.0))

    def ids(**window: Any) -> tuple[list[str], int]:
        rows, total = store.list_dispatches(**window)
        return [row["id"] for row in rows], total

    assert ids(limit=2) == (["id-4", "id-3"], 5)
    assert ids(limit=2, offset=4) == (["id-0"], 5)
    assert ids(status="FAILED") == (["id-3", "id-1"], 2)
    assert ids(search="w_3") == (["id-3"], 1)
    assert ids(search="id-2") == (["id-2"], 1)
    assert ids(root_only=False)[1] == 6


def test_lists_are_sorted_and_windows_fit_together(
    store: Store, put: Put, dispatch_rows: Rows
) -> None:
    times = [(5.0, 9.0), (1.0, 2.0), (None, None), (3.0, 3.5), (3.0, 3.5)]
    for number, (started, ended) in enumerate(times):
        name = f"id-{number}"
        put(dispatch_rows(name, created=10.0 + number // 2, name="bADc"[number % 4]))
        if started is not None:
            began = {"of_dispatch": name, "new_status": "RUNNING", "new_started": started}
            came = {
                "of_dispatch": name, "new_status": "COMPLETED", "new_ended": ended,
                "new_error": None, "new_result": None, "new_result_seal": None,
                "new_result_repr": None,
            }  # fmt: skip
            put({"dispatch_started": [began], "dispatch_ended": [came]})

    def order(sort: str) -> str:
        windows = (store.list_dispatches(limit=2, offset=at, sort=sort)[0] for at in (0, 2, 4))
        return "".join(row["id"].removeprefix("id-") for window in windows for row in window)

    assert order("created") == "01234"
    assert order("-created") == "43210"
    assert order("name") == "10432"
    assert order("-duration") == "01432"
    assert order("duration") == "34102"
    assert order("started") == "13402"
    between = store.list_dispatches(created_after=11.0, created_before=12.0)
    assert ([row["id"] for row in between[0]], between[1]) == (["id-3", "id-2"], 2)
    assert store.list_dispatches(status=("RUNNING", "FAILED"))[1] == 1
    assert store.list_dispatches(status=("RUNNING", "COMPLETED"))[1] == 5


def test_nodes_are_sorted_and_chosen(store: Store, put: Put, dispatch_rows: Rows) -> None:
    put(dispatch_rows("d", nodes=3))
    put(dispatch_rows("other", nodes=1))
    put(finished(store, b"value"))

    def found(**window: Any) -> list[int]:
        rows, total = store.list_nodes("d", **window)
        assert total == len(rows)
        return [row["node_id"] for row in rows]

    assert found() == [0, 1, 2]
    assert found(sort="-node_id") == [2, 1, 0]
    assert len(found(status="COMPLETED")) == 1
    assert found(status=("COMPLETED", "FAILED"))[0] not in found(status=["NEW_OBJECT", "PENDING"])
    assert found(search="no such name") == []
    rows, total = store.list_nodes("d", limit=1, offset=1)
    assert ([row["node_id"] for row in rows], total) == ([1], 3)
    with pytest.raises(KeyError):
        store.list_nodes("d", sort="output; DROP TABLE nodes")


@pytest.mark.parametrize("text", ["%", "_", "w%", "' OR 1=1 --", '"; DROP TABLE nodes; --', "\\"])
def test_searching_is_for_text_only(store: Store, put: Put, dispatch_rows: Rows, text: str) -> None:
    put(dispatch_rows())

    assert store.list_dispatches(search=text) == ([], 0)
    assert store.list_dispatches(status=text) == ([], 0)
    assert store.list_dispatches()[1] == 1


def test_progress_counts_the_electrons_of_sublattices(
    store: Store, put: Put, dispatch_rows: Rows
) -> None:
    put(dispatch_rows("d", nodes=2))
    put(dispatch_rows("child", nodes=3, parent_id="d", parent_node=0, root_id="d"))
    put(finished(store, b"value"))

    assert store.progress("d") == {"status": "RUNNING", "done": 1, "total": 5}


# -- what was altered is refused, before anything is loaded


class Canary:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_altered_bytes_are_refused(
    store: Store, put: Put, dispatch_rows: Rows, tmp_path: Path
) -> None:
    put(dispatch_rows())
    put(finished(store, dumps(1, what="it")))
    evil = pickle.dumps(Canary(tmp_path / "canary"))
    digest = store.outputs("d")[0]
    alter(store, "UPDATE blobs SET data = :data WHERE digest = :it", data=evil, it=digest)

    with pytest.raises(IntegrityError, match="does not match its digest"):
        store.blob(digest)
    assert not (tmp_path / "canary").exists()


def test_another_blob_put_in_place_of_an_output_is_refused(
    store: Store, put: Put, dispatch_rows: Rows
) -> None:
    put(dispatch_rows())
    put(finished(store, dumps(1, what="it")))
    evil = b"another"
    alter(store, "INSERT INTO blobs VALUES (:it, 7, :data)", it=address(evil), data=evil)
    alter(store, "UPDATE nodes SET output = :it", it=address(evil))

    with pytest.raises(IntegrityError, match="made elsewhere"):
        store.payload("d", 0)


@pytest.mark.parametrize(
    ("statement", "read"),
    [
        ("UPDATE nodes SET output_seal = NULL", lambda store: store.outputs("d")),
        ("UPDATE nodes SET output_seal = 'x'", lambda store: store.payload("d", 0)),
        ("UPDATE nodes SET node_id = 7", lambda store: store.payload("d", 7)),
        ("UPDATE dispatches SET manifest_seal = ''", lambda store: store.manifest("d")),
        ("UPDATE dispatches SET manifest_seal = ''", lambda store: store.payload("d", "inputs")),
        ("UPDATE dispatches SET manifest_seal = ''", lambda store: store.get_edges("d")),
        (
            "UPDATE dispatches SET (result, result_seal) = (SELECT output, output_seal FROM nodes)",
            lambda store: store.payload("d", "result"),
        ),
    ],
    ids=["no seal", "wrong seal", "moved", "manifest", "inputs", "edges", "another's seal"],
)
def test_an_altered_row_is_refused(
    store: Store,
    put: Put,
    dispatch_rows: Rows,
    statement: str,
    read: Callable[[Store], object],
) -> None:
    put(dispatch_rows())
    put(finished(store, b"value"))
    read_before = store.outputs("d"), store.manifest("d")
    assert read_before[0]
    alter(store, statement)

    with pytest.raises(IntegrityError):
        read(store)


def test_a_store_with_another_key_refuses_everything(
    store: Store, open_store: Open, put: Put, dispatch_rows: Rows, data_folder: Path
) -> None:
    put(dispatch_rows())
    put(finished(store, b"value"))
    if store.leases is not None:
        pytest.skip("a shared database refuses the key itself")
    (data_folder / "seal.key").write_bytes(b"another key, of the right size!!")

    again = open_store()
    for read in (again.manifest, again.outputs):
        with pytest.raises(IntegrityError, match="made elsewhere"):
            read("d")
    again.close()


def test_a_large_payload_whose_file_was_altered_is_refused(
    store: Store, put: Put, dispatch_rows: Rows, data_folder: Path
) -> None:
    data = b"x" * (INLINE_LIMIT + 1)
    put(dispatch_rows())
    put(finished(store, data))
    digest = address(data)
    (data_folder / "blobs" / digest[:2] / digest).write_bytes(b"y" * len(data))

    with pytest.raises(IntegrityError, match="does not match its digest"):
        store.blob(digest)


# -- the folder


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_only_the_user_can_read_a_store(tmp_path: Path, umask: int) -> None:
    folder = tmp_path / "private"
    before = os.umask(umask)
    try:
        store = Store(folder)
        store.blob_row("a" * 64, b"x" * (INLINE_LIMIT + 1))
        owner = Ownership(folder)
        modes = {
            str(path.relative_to(tmp_path)): path.stat().st_mode & 0o777
            for path in (folder, *folder.rglob("*"))
        }
        del owner
        store.close()
    finally:
        os.umask(before)

    assert {"private/qcov.sqlite-wal", "private/seal.key", "private/blobs"} <= modes.keys()
    wrong = {
        name: oct(mode)
        for name, mode in modes.items()
        if mode != (0o700 if (tmp_path / name).is_dir() else 0o600)
    }
    assert wrong == {}


@pytest.mark.parametrize("where", ["file", "file/below", "/proc/qcov", "/proc/self/fd/qcov"])
def test_an_impossible_folder_is_named(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StoreUnavailable, match="cannot be used.*Set QCOV_DATA_DIR"):
        prepare_folder(tmp_path / where)


def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give a folder away")
    os.chown(tmp_path, 12345, 12345)

    with pytest.raises(StoreUnavailable, match="it belongs to another user"):
        prepare_folder(tmp_path)


def test_a_newer_store_is_refused_and_left_alone(store: Store, open_store: Open) -> None:
    store.close()
    alter(store, "UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(SchemaMismatch, match="Upgrade qcov"):
        open_store()
    alter(store, "UPDATE alembic_version SET version_num = :it", it=migrations.HEAD)
    open_store().close()


def test_a_file_that_is_no_database_is_refused_and_left_alone(data_folder: Path) -> None:
    data_folder.mkdir()
    (data_folder / "qcov.sqlite").write_bytes(b"not a database" * 1000)

    with pytest.raises(StoreUnavailable, match="file is not a database"):
        Store(data_folder)
    assert (data_folder / "qcov.sqlite").read_bytes() == b"not a database" * 1000


def test_one_process_owns_a_folder(tmp_path: Path) -> None:
    owner = Ownership(tmp_path)
    owner.acquire(1)
    code = (
        "import sys; from pathlib import Path; from qcov.store.folder import Ownership; "
        "Ownership(Path(sys.argv[1])).acquire(1)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    refused = subprocess.run(command, capture_output=True, text=True)
    assert f"StoreUnavailable: the data folder {tmp_path} cannot be used" in refused.stderr
    assert f"process {os.getpid()} writes to it" in refused.stderr

    owner.release()
    assert subprocess.run(command).returncode == 0


def test_the_file_flushes_every_commit(data_folder: Path) -> None:
    store = Store(data_folder)
    with store._database.writing.connect() as connection:
        for pragma, value in (("synchronous", 2), ("journal_mode", "wal"), ("foreign_keys", 1)):
            assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() == value
    store.close()
