"""Stores of their own, and changes to put in."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from qcov.errors import QcovError
from qcov.store.changes import Changes
from qcov.store.store import Store
from qcov.transport import address
from qcov.wire import pack

Put = Callable[..., QcovError | None]
Open = Callable[[], Store]

DATABASES = ("sqlite", pytest.param("postgresql", marks=pytest.mark.services))
PLACES = ("folder", pytest.param("bucket", marks=pytest.mark.services))


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest) -> str:
    """Both databases in turn, each empty; the URL of SQLite's is empty too."""
    return request.getfixturevalue("postgresql_url") if request.param == "postgresql" else ""


@pytest.fixture
def payloads_at() -> str:
    """Where large payloads are; without a word, in the data folder."""
    return ""


@pytest.fixture
def open_store(data_folder: Path, database_url: str, payloads_at: str) -> Open:
    """Open the test's store, or open it again."""
    return lambda: Store(data_folder, url=database_url, payloads=payloads_at)


@pytest.fixture
def store(open_store: Open) -> Iterator[Store]:
    store = open_store()
    yield store
    store.close()


@pytest.fixture
def put(store: Store) -> Put:
    """Commit changes and wait; returns what they were refused with."""

    def put(changes: Changes, **more: Any) -> QcovError | None:
        told: list[QcovError | None] = []
        done = threading.Event()

        def tell(error: QcovError | None) -> None:
            told.append(error)
            done.set()

        store.put(changes, tell, **more)
        assert done.wait(10)
        return told[0]

    return put


@pytest.fixture
def dispatch_rows(store: Store) -> Callable[..., Changes]:
    """The rows of a dispatch with one electron."""

    def rows(dispatch_id: str = "d", *, nodes: int = 1, **columns: Any) -> Changes:
        text = pack({"inputs": None, "nodes": [], "edges": [[0, 1, "x"]], "result": {}})
        row = {
            "id": dispatch_id, "name": "w", "status": "RUNNING", "key": None,
            "root_id": dispatch_id, "parent_id": None, "parent_node": None, "created": 1.0,
            "inputs_repr": "{}",
            "manifest": address(text), "nodes_total": nodes, "environment": None,
            "manifest_seal": store.seal(address(text), dispatch_id, "manifest"),
        }  # fmt: skip
        node = {
            "dispatch_id": dispatch_id, "name": "f", "kind": "electron", "status": "RUNNING",
            "executor": "local", "attempt": 1, "value_repr": None,
        }  # fmt: skip
        return {
            "dispatch": [row | columns],
            "blob": [store.blob_row(address(text), text)],
            "node": [
                node | {"node_id": number, "output": None, "output_seal": None}
                for number in range(nodes)
            ],
        }

    return rows
