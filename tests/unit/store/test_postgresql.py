"""What only a store on PostgreSQL can get wrong."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from qcov.errors import ConfigError, QcovError, StoreUnavailable
from qcov.store import postgresql, writer
from qcov.store.changes import Changes
from qcov.store.store import Store
from tests.services.postgresql import Server

psycopg = pytest.importorskip("psycopg")

Rows = Callable[..., Changes]


@pytest.fixture
def database_url() -> str:
    """Of the store that `dispatch_rows` asks for seals; the tests' own are on the server."""
    return ""


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ada:secret@host:5/db", "postgresql://ada:***@host:5/db"),
        ("postgres://ada:s%40cret@host/db", "postgres://ada:***@host/db"),
        ("postgresql://host/db?password=secret&sslmode=require", "password=hidden&sslmode=require"),
        ("postgresql://host/db?scram_client_key=secret", "?scram_client_key=hidden"),
        ("postgresql://host/db?passfile=%2Fsecret", "?passfile=hidden"),
        ("postgresql://ada@host/db", "postgresql://ada@host/db"),
    ],
)
def test_passwords_are_masked(url: str, shown: str) -> None:
    masked = postgresql.masked(url)

    assert masked.endswith(shown)
    assert "cret" not in masked


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("nothing", "is no URL"),
        ("postgresql://ada:secret@host:port/db", "is no URL"),
        ("mysql://ada:secret@host/db", "names 'mysql'"),
        ("sqlite:///secret", "names 'sqlite'"),
    ],
)
def test_a_url_that_cannot_be_is_refused_without_quoting_it(
    url: str, match: str, data_folder: Path
) -> None:
    with pytest.raises(ConfigError, match=match) as caught:
        Store(data_folder, url=url)

    assert "db_url" in str(caught.value)
    assert "secret" not in f"{caught.value!s}{caught.value.__cause__}"


def test_a_server_that_does_not_answer_is_named(data_folder: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"postgresql://ada:secret@127.0.0.1:{unused.getsockname()[1]}/db"

        with pytest.raises(StoreUnavailable, match="connection failed.*Is the server up") as caught:
            Store(data_folder, url=url)

    assert "ada:***@127.0.0.1" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_missing_driver_is_named(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)

    with pytest.raises(StoreUnavailable, match=r"pip install 'qcov\[postgresql\]'"):
        Store(data_folder, url="postgresql://host/db")


@pytest.mark.services
def test_text_with_nul_is_kept_as_well_as_can_be(
    data_folder: Path, postgresql_url: str, dispatch_rows: Rows
) -> None:
    store = Store(data_folder, url=postgresql_url)
    put(store, dispatch_rows("d", name="a\0b"))

    assert store.get_dispatch("d")["name"] == "a\u2400b"
    assert store.list_dispatches(search="a\0")[1] == 1
    store.close()


@pytest.mark.services
def test_what_must_be_kept_waits_for_a_server_that_was_restarted(
    data_folder: Path,
    postgresql_server: Server,
    postgresql_url: str,
    dispatch_rows: Rows,
) -> None:
    store = Store(data_folder, url=postgresql_url)
    put(store, dispatch_rows("before"))
    postgresql_server.stop()
    try:
        refused = put(store, dispatch_rows("refused"), keep=False)
        told: list[QcovError | None] = []
        done = threading.Event()
        store.put(dispatch_rows("kept"), lambda error: (told.append(error), done.set()))
        with pytest.raises(StoreUnavailable):
            store.has_dispatch("before")
        assert not done.is_set()
    finally:
        postgresql_server.start()
    assert done.wait(20)

    assert isinstance(refused, StoreUnavailable)
    assert told == [None]
    assert [store.has_dispatch(each) for each in ("before", "refused", "kept")] == [1, 0, 1]
    store.close()


@pytest.mark.services
def test_a_server_that_writes_nothing_now_is_named_and_waited_for(
    data_folder: Path, postgresql_server: Server, postgresql_url: str, dispatch_rows: Rows
) -> None:
    store = Store(data_folder, url=postgresql_url)
    leases, told = store.leases, Told()
    assert leases is not None
    put(store, dispatch_rows("before"))

    with postgresql_server.read_only(postgresql_url):
        for ask in (leases.renew, lambda: leases.ask_to_cancel("before", None), leases.give_back):
            with pytest.raises(StoreUnavailable, match="read-only transaction.*Is the server up"):
                ask()
        assert isinstance(put(store, dispatch_rows("refused"), keep=False), StoreUnavailable)
        store.put(dispatch_rows("kept"), told.of("kept"))
        assert store.has_dispatch("before")
        assert told.errors == {}

    assert told.wait("kept") is None
    assert [store.has_dispatch(each) for each in ("before", "refused", "kept")] == [1, 0, 1]
    store.close()


@pytest.mark.services
def test_a_restart_while_nothing_was_written_refuses_nothing(
    data_folder: Path, postgresql_server: Server, postgresql_url: str, dispatch_rows: Rows
) -> None:
    store = Store(data_folder, url=postgresql_url)
    put(store, dispatch_rows("before"))
    postgresql_server.stop()
    postgresql_server.start()

    assert put(store, dispatch_rows("after"), keep=False) is None
    assert store.has_dispatch("after")
    store.close()


@pytest.mark.services
def test_engines_that_write_equal_payloads_in_other_orders_do_not_disturb_each_other(
    tmp_path: Path, postgresql_url: str
) -> None:
    key = tmp_path / "key"
    refused: list[QcovError] = []
    key.write_bytes(b"k" * 32)
    stores = [Store(tmp_path / name, url=postgresql_url, seal_key=key) for name in "ab"]
    both = threading.Barrier(2)

    def write(store: Store, step: int) -> None:
        for number in range(20):
            digests = [f"{number}-{each}" for each in range(40)][::step]
            rows = [{"digest": digest, "size": 1, "data": b"x" * 3000} for digest in digests]
            both.wait(20)
            if error := put(store, {"blob": rows}, keep=False):
                refused.append(error)

    threads = [
        threading.Thread(target=write, args=each) for each in zip(stores, (1, -1), strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with psycopg.connect(postgresql_url) as connection:
        deadlocks = connection.execute(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        ).fetchone()

    assert (refused, deadlocks) == ([], (0,))
    for store in stores:
        store.close()


@pytest.mark.services
def test_a_transaction_that_gave_way_to_another_one_is_tried_again(
    data_folder: Path, postgresql_url: str
) -> None:
    """Both have what the other waits for: the server stops the store's, which looks sooner."""
    store = Store(data_folder, url=postgresql_url)
    rows = [{"digest": digest, "size": 1, "data": b"x"} for digest in "ab"]
    told = Told()
    insert = "INSERT INTO blobs VALUES (%s, 1, 'x')"
    with psycopg.connect(postgresql_url) as other:
        other.execute("SET deadlock_timeout = '30s'")
        other.execute(insert, ("b",))
        store.put({"blob": rows}, told.of("both"), keep=False)
        until_somebody_waits(postgresql_url)
        other.execute(insert, ("a",))

    assert told.wait("both") is None
    store.close()


def until_somebody_waits(url: str) -> None:
    waits = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    with psycopg.connect(url, autocommit=True) as connection:
        while connection.execute(waits).fetchone() == (0,):
            time.sleep(0.01)


@pytest.mark.services
@pytest.mark.parametrize("writes", [True, False])
def test_closing_does_not_wait_for_a_server_that_hangs(
    data_folder: Path,
    postgresql_server: Server,
    postgresql_url: str,
    dispatch_rows: Rows,
    monkeypatch: pytest.MonkeyPatch,
    *,
    writes: bool,
) -> None:
    monkeypatch.setattr(writer, "_ANSWERS_WITHIN", 0.2)
    store = Store(data_folder, url=postgresql_url)
    put(store, dispatch_rows("before"))
    with postgresql_server.frozen():
        if writes:
            store.put(dispatch_rows("d"))
        closing = threading.Thread(target=store.close)
        closing.start()
        closing.join(20)
        assert not closing.is_alive()


@pytest.mark.services
def test_what_waits_for_a_lock_is_told_in_the_end(data_folder: Path, postgresql_url: str) -> None:
    options = "?options=-c%20lock_timeout%3D200ms"
    store = Store(data_folder, url=postgresql_url + options)
    with psycopg.connect(postgresql_url) as other:
        other.execute("LOCK TABLE blobs")
        rows = [{"digest": "d", "size": 1, "data": b"x"}]
        refused = put(store, {"blob": rows}, keep=False)

    assert isinstance(refused, StoreUnavailable)
    assert "lock timeout" in str(refused)
    store.close()


@pytest.mark.services
def test_the_server_ends_what_takes_too_long_unless_it_has_other_limits(
    data_folder: Path, postgresql_url: str
) -> None:
    def limits(url: str) -> list[str]:
        database = postgresql.PostgreSQL(url, owner="somebody")
        with database.reading.connect() as connection:
            found = [
                str(connection.scalar(sa.text(f"SHOW {name}")))
                for name in ("lock_timeout", "statement_timeout")
            ]
        database.close()
        return found

    assert limits(postgresql_url) == ["30s", "10min"]
    assert limits(f"{postgresql_url}?options=-c%20lock_timeout%3D2s") == ["2s", "10min"]


class DeafAtCommit:
    """A connection that breaks while a transaction is ended; the end is heard, or is not."""

    def __init__(self, real: Any, *, heard: bool, then: Callable[[], object] = int) -> None:
        self.real, self.heard, self.then = real, heard, then
        self.info = real.info

    @property
    def closed(self) -> bool:
        return self.real.closed

    def cursor(self) -> DeafAtCommit:
        self.statements = self.real.cursor()
        return self

    def execute(self, statement: str, parameters: Any = None) -> None:
        if statement != "COMMIT":
            self.statements.execute(statement, parameters)
            return
        if self.heard:
            self.statements.execute(statement)
        self.then()
        self.real.close()
        raise psycopg.OperationalError("the connection was lost")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.statements, name)


@pytest.mark.services
@pytest.mark.parametrize("heard", [True, False])
@pytest.mark.parametrize("keep", [True, False])
def test_a_commit_whose_answer_was_lost_is_neither_lost_nor_written_twice(
    data_folder: Path, postgresql_url: str, dispatch_rows: Rows, *, heard: bool, keep: bool
) -> None:
    store = Store(data_folder, url=postgresql_url)
    put(store, dispatch_rows("d", nodes=1))
    store._writer._connection = DeafAtCommit(store._writer._connection, heard=heard)
    printed = {"of_dispatch": "d", "of_node": 0, "of_attempt": 1}
    printed |= {"new_stdout": "once", "new_stderr": ""}

    told = put(store, {"node_printed": [printed]}, keep=keep)

    assert told is None
    assert store.get_nodes("d")[0]["stdout"] == "once"
    store.close()


@pytest.mark.services
def test_a_commit_that_a_crash_has_undone_is_done_again(
    data_folder: Path, postgresql_server: Server, postgresql_url: str, dispatch_rows: Rows
) -> None:
    """After a crash the server gives out again the numbers of transactions that it has lost."""
    store = Store(data_folder, url=postgresql_url)
    put(store, dispatch_rows("before"))

    def crash() -> None:
        postgresql_server.stop()
        postgresql_server.start()
        with psycopg.connect(postgresql_url, autocommit=True) as another:
            for _ in range(50):
                another.execute("UPDATE sealing SET sign = sign")

    store._writer._connection = DeafAtCommit(store._writer._connection, heard=False, then=crash)

    assert put(store, dispatch_rows("d")) is None
    assert store.has_dispatch("d")
    store.close()


@pytest.mark.services
def test_while_nobody_can_say_whether_a_commit_happened_what_must_be_kept_waits(
    data_folder: Path,
    postgresql_server: Server,
    postgresql_url: str,
    dispatch_rows: Rows,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writer, "_PATIENCE", 0.1)
    store = Store(data_folder, url=postgresql_url)
    put(store, dispatch_rows("d", nodes=1))
    printed = {"of_dispatch": "d", "of_node": 0, "of_attempt": 1}
    printed |= {"new_stdout": "once", "new_stderr": ""}
    told = Told()
    with told.together(store):
        store._writer._connection = DeafAtCommit(
            store._writer._connection, heard=True, then=postgresql_server.stop
        )
        store.put({"node_printed": [printed]}, told.of("kept"))
        store.put(dispatch_rows("asked"), told.of("asked"), keep=False)
    try:
        refused = told.wait("asked")
        assert "kept" not in told.errors
    finally:
        postgresql_server.start()

    assert isinstance(refused, StoreUnavailable)
    assert "whether it was is not known" in str(refused)
    assert told.wait("kept") is None
    assert store.get_nodes("d")[0]["stdout"] == "once"
    store.close()


@pytest.mark.services
def test_closing_ends_the_wait_for_an_answer(
    data_folder: Path, postgresql_server: Server, postgresql_url: str, dispatch_rows: Rows
) -> None:
    store = Store(data_folder, url=postgresql_url)
    told, gone = Told(), threading.Event()
    store._writer._connection = DeafAtCommit(
        store._writer._connection,
        heard=False,
        then=lambda: (postgresql_server.stop(), gone.set()),
    )
    store.put(dispatch_rows("d"), told.of("d"))
    assert gone.wait(20)
    try:
        store.close()
    finally:
        postgresql_server.start()

    assert "whether it was is not known" in str(told.wait("d"))


@pytest.mark.services
def test_two_that_open_an_empty_database_do_not_disturb_each_other(
    tmp_path: Path, postgresql_url: str
) -> None:
    stores: list[Store] = []
    key = tmp_path / "key"
    key.write_bytes(b"k" * 32)

    def opened(number: int) -> None:
        stores.append(Store(tmp_path / str(number), url=postgresql_url, seal_key=key))

    threads = [threading.Thread(target=opened, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(stores) == 4
    for store in stores:
        store.close()


@pytest.mark.services
def test_a_folder_with_another_key_is_told_which_it_needs(
    tmp_path: Path, postgresql_url: str
) -> None:
    first = Store(tmp_path / "a", url=postgresql_url)

    with pytest.raises(StoreUnavailable, match=r"sealed with another key.*workflow_data.seal_key"):
        Store(tmp_path / "b", url=postgresql_url)
    Store(tmp_path / "b", url=postgresql_url, seal_key=tmp_path / "a" / "seal.key").close()
    first.close()


def put(store: Store, changes: Changes, *, keep: bool = True) -> QcovError | None:
    told = Told()
    store.put(changes, told.of(""), keep=keep)
    return told.wait("")


class Told:
    """What became of changes, by name."""

    def __init__(self) -> None:
        self.errors: dict[str, QcovError | None] = {}
        self._said = threading.Condition()

    def of(self, name: str) -> Callable[[QcovError | None], None]:
        def done(error: QcovError | None) -> None:
            with self._said:
                self.errors[name] = error
                self._said.notify_all()

        return done

    def wait(self, name: str) -> QcovError | None:
        with self._said:
            assert self._said.wait_for(lambda: name in self.errors, 20)
            return self.errors[name]

    @contextlib.contextmanager
    def together(self, store: Store) -> Iterator[None]:
        """What is put inside is written as one transaction."""
        begun, go_on = threading.Event(), threading.Event()
        store.put({}, lambda _: (begun.set(), go_on.wait(20)))
        assert begun.wait(20)
        yield
        go_on.set()
