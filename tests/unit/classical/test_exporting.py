"""What is exported, and how much work that is."""

from __future__ import annotations

import cProfile
import json
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qcov.classical.engine import exporting
from qcov.classical.engine.crate import write_crate
from qcov.errors import DispatchNotFound, ServerBusy
from qcov.store.store import Store
from qcov.transport import address
from qcov.wire import pack

_SECRET = "do-not-tell-this"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "data")
    yield store
    store.close()


def add(store: Store, dispatch_id: str, count: int) -> None:
    """A chain of electrons."""
    settings = {"api_token": _SECRET, "url": f"https://me:{_SECRET}@qpu.org", "shots": 100}
    manifest = pack({
        "source": "def w(): ...",
        "nodes": [{"function": 0, "executor": 0} for _ in range(count)],
        "edges": [[number, number + 1, "x"] for number in range(count - 1)],
        "functions": [{"digest": "ab" * 32, "source": "def f(x): ..."}],
        "executors": [{"short_name": "mine", "attributes": settings}],
        "result": {},
    })  # fmt: skip
    digest = address(manifest)
    row = {
        "id": dispatch_id, "root_id": dispatch_id, "name": "w", "status": "RUNNING", "key": None,
        "parent_id": None, "parent_node": None, "created": 1.0, "nodes_total": count,
        "inputs_repr": '{"args": ["1"], "kwargs": {}}', "manifest": digest, "environment": None,
        "manifest_seal": store.seal(digest, dispatch_id, "manifest"),
    }  # fmt: skip
    node = {
        "dispatch_id": dispatch_id, "name": "f", "kind": "electron", "status": "COMPLETED",
        "executor": "mine", "attempt": 1, "value_repr": "1", "output": None, "output_seal": None,
    }  # fmt: skip
    done = threading.Event()
    store.put(
        {
            "dispatch": [row],
            "blob": [store.blob_row(digest, manifest)],
            "node": [node | {"node_id": number} for number in range(count)],
        },
        lambda _: done.set(),
    )
    assert done.wait(10)


def calls(store: Store, dispatch_id: str, path: Path) -> int:
    """How many functions are called to export it."""
    profile = cProfile.Profile()
    profile.runcall(write_crate, store, dispatch_id, path)
    return sum(entry.callcount for entry in profile.getstats())


def test_twice_as_many_nodes_are_twice_the_work(store: Store, tmp_path: Path) -> None:
    add(store, "few", 200)
    add(store, "more", 400)
    path = tmp_path / "it.zip"
    write_crate(store, "few", path)  # what is imported once is not counted

    assert calls(store, "more", path) < 2.2 * calls(store, "few", path)


def test_what_executors_were_told_in_secret_is_not_exported(store: Store, tmp_path: Path) -> None:
    add(store, "d", 2)
    write_crate(store, "d", tmp_path / "it.zip")

    with zipfile.ZipFile(tmp_path / "it.zip") as crate:
        texts = {name: crate.read(name).decode() for name in crate.namelist()}
    assert not [name for name, text in texts.items() if _SECRET in text]
    [executor] = json.loads(texts["graph.json"])["executors"]
    told = {"api_token": "hidden", "url": "https://qpu.org", "shots": 100}
    assert executor["attributes"] == told


def test_no_more_than_two_are_written_at_a_time(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(store, "d", 2)
    exports = exporting.Exporting(store)
    begun, go_on = threading.Semaphore(0), threading.Event()

    def slowly(*about: Any) -> None:
        begun.release()
        assert go_on.wait(10)
        write_crate(*about)

    monkeypatch.setattr(exporting, "write_crate", slowly)
    threads = [
        threading.Thread(target=exports.export, args=("d", tmp_path / f"{number}.zip"))
        for number in range(2)
    ]
    for thread in threads:
        thread.start()
        assert begun.acquire(timeout=10)
    with pytest.raises(ServerBusy, match="2 exports are being written, .* Try again soon"):
        exports.export("d", tmp_path / "2.zip")
    go_on.set()
    for thread in threads:
        thread.join()

    with pytest.raises(DispatchNotFound):
        exports.export("unknown", tmp_path / "2.zip")
    exports.export("d", tmp_path / "2.zip")  # and a failed one does not count any more
    assert all(zipfile.is_zipfile(tmp_path / f"{number}.zip") for number in range(3))
