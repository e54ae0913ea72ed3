"""`qcov db`: without an engine, and politely refused beside one."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qcov.store.folder import Ownership
from qcov.store.migrations import HEAD
from qcov.store.store import Store

if TYPE_CHECKING:
    from conftest import Run

DUMPS = Path(__file__).parents[1] / "store" / "dumps"


def old(folder: Path, dump: str) -> Path:
    """A data folder with a database of an old schema."""
    folder.mkdir(parents=True)
    with closing(sqlite3.connect(folder / "qcov.sqlite")) as connection:
        connection.executescript((DUMPS / f"{dump}.sql").read_text())
    return folder


def revision(folder: Path) -> str:
    with closing(sqlite3.connect(folder / "qcov.sqlite")) as connection:
        return connection.execute("SELECT version_num FROM alembic_version").fetchone()[0]


@pytest.mark.parametrize("dump", ["0001", "0002"])
def test_an_old_database_is_migrated(run: Run, data_folder: Path, dump: str) -> None:
    old(data_folder, dump)

    assert json.loads(run("db", "migrate", "--json").out) == {"before": dump, "now": HEAD}
    assert run("db", "migrate").out == f"The database is up to date (schema {HEAD}).\n"
    assert revision(data_folder) == HEAD


def test_an_empty_folder_gets_a_database(run: Run, data_folder: Path) -> None:
    assert run("db", "migrate").out == f"The database has schema {HEAD} now; it had none.\n"
    Store(data_folder).close()


def test_it_is_refused_while_an_engine_has_it(run: Run, data_folder: Path) -> None:
    old(data_folder, "0001")
    owner = Ownership(data_folder)
    owner.acquire(1)
    for verb in (["migrate"], ["alembic", "upgrade", "head"]):
        ran = run("db", *verb)
        assert (ran.code, ran.out) == (1, "")
        assert "has it open" in ran.err
        assert "qcov stop" in ran.err
    assert revision(data_folder) == "0001"
    assert run("db", "alembic", "current").code == 0
    owner.release()


def test_a_newer_database_is_refused(run: Run, data_folder: Path) -> None:
    old(data_folder, "0002")
    with closing(sqlite3.connect(data_folder / "qcov.sqlite")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")

    ran = run("db", "migrate")
    assert ran.code == 1
    assert "Upgrade qcov" in ran.err
    assert revision(data_folder) == "9999"


def test_alembic_itself(run: Run, data_folder: Path) -> None:
    old(data_folder, "0001")

    assert f"-> {HEAD} (head)" in run("db", "alembic", "history").out
    assert "0001" in run("db", "alembic", "current").out
    assert run("db", "alembic", "upgrade", "0002").code == 0
    assert revision(data_folder) == "0002"
    wrong = run("db", "alembic", "upgrade", "nowhere")
    assert (wrong.code, "nowhere" in wrong.err) == (1, True)
    assert run("db", "alembic", "no-such-command").code == 2
    assert "usage: qcov db alembic" in run("db", "alembic", "--help").out


def test_there_is_no_way_back(run: Run, data_folder: Path) -> None:
    old(data_folder, "0002")

    ran = run("db", "alembic", "downgrade", "0001")
    assert (ran.code, "no way back" in ran.err) == (1, True)
    assert revision(data_folder) == "0002"


@pytest.mark.services
@pytest.mark.timeout(60)
def test_it_is_refused_while_an_engine_of_another_folder_has_it(
    run: Run, tmp_path: Path, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QCOV_WORKFLOW_DATA_DB_URL", postgresql_url)
    other = Store(tmp_path / "other", url=postgresql_url)
    assert other.leases is not None
    for verb in (["stamp", "0002"], ["upgrade", "head"]):
        ran = run("db", "alembic", *verb)
        assert (ran.code, ran.out) == (1, "")
        assert f"engines have it open: {other.leases.owner}" in ran.err
    assert HEAD in run("db", "alembic", "current").out
    assert run("db", "migrate").code == 0  # there is nothing to do
    other.close()

    while run("db", "alembic", "stamp", "0002").code:  # the server has not heard of it yet
        pass
    assert "0002" in run("db", "alembic", "current").out


@pytest.mark.services
def test_an_empty_database_on_a_server_gets_its_tables(
    run: Run, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QCOV_WORKFLOW_DATA_DB_URL", postgresql_url)

    assert run("db", "alembic", "upgrade", "head").code == 0
    assert run("db", "migrate").out == f"The database is up to date (schema {HEAD}).\n"


@pytest.mark.parametrize("url", ["postgresql://ada:secret@host/db", "secret", "a://b:c@d:secret/e"])
@pytest.mark.parametrize("asked", [[], ["workflow_data"], ["workflow_data.db_url"], ["--json"]])
def test_settings_are_shown_without_passwords(
    run: Run, monkeypatch: pytest.MonkeyPatch, url: str, asked: list[str]
) -> None:
    monkeypatch.setenv("QCOV_WORKFLOW_DATA_DB_URL", url)

    ran = run("config", *asked)
    assert ran.code == 0
    assert "***" in ran.out
    assert "secret" not in ran.out
