"""Migrations and tables say the same."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from qcov.errors import SchemaMismatch
from qcov.store import migrations
from qcov.store.circuits import Wanted
from qcov.store.schema import metadata
from qcov.store.sqlite import SQLite
from qcov.store.store import Store


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'test.sqlite'}")
    yield engine
    engine.dispose()


def described(engine: sa.Engine) -> dict[str, object]:
    """All that SQLite says of its tables, in an order of our own."""
    inspector = sa.inspect(engine)
    return {
        table: (
            [{**column, "type": str(column["type"])} for column in inspector.get_columns(table)],
            inspector.get_pk_constraint(table)["constrained_columns"],
            sorted(map(str, inspector.get_foreign_keys(table))),
            sorted(tuple(each["column_names"]) for each in inspector.get_unique_constraints(table)),
            sorted((each["name"], *each["column_names"]) for each in inspector.get_indexes(table)),
        )
        for table in inspector.get_table_names()
        if table != "alembic_version"
    }


def test_migrations_give_exactly_the_tables(database: sa.Engine, tmp_path: Path) -> None:
    migrations.migrate(database, "test.sqlite")
    made = sa.create_engine(f"sqlite:///{tmp_path / 'made.sqlite'}")
    metadata.create_all(made)

    assert described(database) == described(made)
    made.dispose()
    with database.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


@pytest.mark.services
def test_migrations_give_the_same_on_a_server(postgresql_url: str) -> None:
    """Nothing is smaller there: SQLite takes numbers and text of any length."""
    engine = sa.create_engine(postgresql_url.replace("postgresql:", "postgresql+psycopg:"))
    migrations.migrate(engine, "it")

    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        sequence = sa.text("SELECT data_type FROM pg_sequences WHERE sequencename LIKE 'circuits%'")
        assert connection.scalars(sequence).all() == ["bigint"]
    engine.dispose()


def test_the_newest_migration_is_the_head() -> None:
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))

    assert scripts.get_heads() == [migrations.HEAD]


def test_an_up_to_date_database_is_left_alone(database: sa.Engine) -> None:
    migrations.migrate(database, "test.sqlite")
    statements: list[str] = []
    sa.event.listen(
        database, "before_cursor_execute", lambda *args: statements.append(args[2].split()[0])
    )

    migrations.migrate(database, "test.sqlite")

    assert migrations.current(database) == migrations.HEAD
    assert set(statements) <= {"SELECT", "PRAGMA"}


def test_a_newer_database_is_refused(database: sa.Engine) -> None:
    migrations.migrate(database, "test.sqlite")
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(SchemaMismatch, match=r"test.sqlite has schema 9999.*Upgrade qcov"):
        migrations.migrate(database, "test.sqlite")
    assert migrations.current(database) == "9999"


DUMPS = sorted(path for path in (Path(__file__).parent / "dumps").glob("*.sql"))


@pytest.mark.parametrize("dump", DUMPS, ids=lambda path: path.stem)
def test_an_old_database_is_brought_up_to_date(dump: Path, data_folder: Path) -> None:
    text = dump.read_text()
    data_folder.mkdir(parents=True, exist_ok=True)
    (data_folder / "seal.key").write_bytes(bytes.fromhex(text.split("seal.key: ")[1].split()[0]))
    with closing(sqlite3.connect(data_folder / "qcov.sqlite")) as connection:
        connection.executescript(text)
    with closing(Store(data_folder)) as store:
        [row], total = store.list_dispatches()
        assert (total, row["status"], row["result_repr"]) == (1, "COMPLETED", "3")
        [node] = store.get_nodes(row["id"])
        assert (node["stdout"], node["reused_from"]) == ("printed", None)
        digest = store.result_digest(row["id"])
        assert store.blob(digest or "") == b"QCOVa value of schema 0001"
        assert store.outputs(row["id"]) == {0: digest}
        assert store.manifest(row["id"])["result"] == {"node": 0}


def test_circuits_of_before_can_be_sorted_and_chosen(data_folder: Path) -> None:
    text = (Path(__file__).parent / "dumps" / "0003.sql").read_text()
    data_folder.mkdir(parents=True)
    (data_folder / "seal.key").write_bytes(bytes.fromhex(text.split("seal.key: ")[1].split()[0]))
    with closing(sqlite3.connect(data_folder / "qcov.sqlite")) as connection:
        connection.executescript(text)
    with closing(Store(data_folder)) as store:
        [dispatch], _ = store.list_dispatches()
        wanted = Wanted(dispatch_id=dispatch["id"], sort="execution_time")
        found = store.list_circuits(wanted, limit=10)
    told = [(row["id"], row["status"], row["execution_time"]) for row in found]
    assert told == [("c1", "FAILED", 0.0), ("c0", "COMPLETED", 0.1)]


def test_every_old_schema_has_a_dump() -> None:
    older = [f"{number:04}" for number in range(1, int(migrations.HEAD))]
    assert [path.stem for path in DUMPS] == older


class Interrupted(Exception):
    """What ends a migration in its middle."""


def test_an_interrupted_migration_resumes(data_folder: Path) -> None:
    """Stopped before each of its statements in turn, it has not happened; then it does."""
    data_folder.mkdir()
    with closing(sqlite3.connect(data_folder / "qcov.sqlite")) as connection:
        connection.executescript((Path(__file__).parent / "dumps" / "0001.sql").read_text())
    at = 0
    while True:
        database = SQLite(data_folder)
        left = at

        def stop(*_: object) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Interrupted

        sa.event.listen(database.writing, "before_cursor_execute", stop)
        try:
            migrations.migrate(database.writing, "it")
        except Interrupted:
            database.close()
        else:
            break
        again = sa.create_engine(f"sqlite:///{data_folder / 'qcov.sqlite'}")
        assert migrations.current(again) == "0001"
        assert "triggers" not in sa.inspect(again).get_table_names()
        again.dispose()
        at += 1
    assert at > 10
    assert migrations.current(database.reading) == migrations.HEAD
    database.close()
