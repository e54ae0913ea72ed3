"""What is removed while something else begins to need it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from qcov.classical.engine import deleting, pruning
from qcov.classical.engine.deleting import Deleting
from qcov.classical.engine.events import Events
from qcov.classical.engine.pruning import Pruner
from qcov.classical.engine.reading import Reading
from qcov.errors import DispatchNotFound, IntegrityError
from qcov.store.blobs import INLINE_LIMIT
from qcov.store.changes import Changes
from qcov.store.store import Store
from qcov.transport import address
from qcov.wire import pack

GRAPH = pack({"nodes": [], "edges": [], "result": {}})
COUNT = 250  # more than go at once


class Engine:
    """Writes to its store, and may be interrupted before the first removal."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.meanwhile: Any = lambda: None

    def reused(self) -> set[str]:
        return set()

    async def committed(self, changes: Changes) -> None:
        if "dispatch_pruned" in changes:
            self.meanwhile()
            self.meanwhile = lambda: None
        written = asyncio.get_running_loop().create_future()
        loop = asyncio.get_running_loop()
        self.store.put(changes, lambda _: loop.call_soon_threadsafe(written.set_result, None))
        await written


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    store = Store(tmp_path)
    yield Engine(store)
    store.close()


def dispatch(store: Store, number: int) -> dict[str, Any]:
    digest, dispatch_id = address(GRAPH), f"d{number:03}"
    return {
        "id": dispatch_id, "root_id": dispatch_id, "name": "w", "status": "PENDING", "key": None,
        "parent_id": None, "parent_node": None, "created": 1.0, "inputs_repr": "{}",
        "manifest": digest, "manifest_seal": store.seal(digest, dispatch_id, "manifest"),
        "nodes_total": 0,
        "environment": None,
    }  # fmt: skip


def ended(number: int) -> dict[str, Any]:
    new = dict.fromkeys(("new_error", "new_result", "new_result_seal", "new_result_repr"))
    about = {"of_dispatch": f"d{number:03}", "new_status": "COMPLETED"}
    return {**new, **about, "new_ended": 2.0 + number}


def pruned(engine: Engine, meanwhile: Any) -> tuple[dict[str, Any], set[str]]:
    """Remove all; what is told of it, and which dispatches are left."""
    environments: Any = SimpleNamespace(prune=lambda _: 0)
    store = engine.store

    async def run() -> dict[str, Any]:
        pruner = Pruner(engine, environments)
        rows = [dispatch(store, number) for number in range(COUNT)]
        await engine.committed({"dispatch": rows, "blob": [store.blob_row(address(GRAPH), GRAPH)]})
        await engine.committed({"dispatch_ended": [ended(number) for number in range(COUNT)]})
        engine.meanwhile = lambda: meanwhile(pruner)
        return await pruner.prune(1e6)

    told = asyncio.run(run())
    found, _ = store.list_dispatches(limit=COUNT)
    return told, {row["id"] for row in found}


def test_what_is_taken_over_meanwhile_stays(engine: Engine) -> None:
    with contextlib.ExitStack() as stack:
        told, left = pruned(engine, lambda pruner: stack.enter_context(pruner.using("d249")))

    assert left == {"d249"}
    assert told["dispatches"] == COUNT - 1
    assert engine.store.blob(address(GRAPH)) == GRAPH


def test_what_is_about_to_go_cannot_be_taken_over(engine: Engine) -> None:
    def take(pruner: Pruner) -> None:
        with pytest.raises(DispatchNotFound), pruner.using("d000"):
            pass

    told, left = pruned(engine, take)
    assert left == set()
    assert told["dispatches"] == COUNT


def test_files_that_nothing_names_go_when_they_are_old(engine: Engine) -> None:
    folder = engine.store.folder / "blobs" / "ab"
    folder.mkdir(parents=True)
    old, draft, young = folder / ("ab" * 32), folder / f".{'ac' * 32}.1f", folder / ("ad" * 32)
    for path in (old, draft, young):
        path.write_bytes(b"12345")
    for path in (old, draft):
        os.utime(path, (1, 1))
    gone = folder / f".{'ae' * 32}.2f"
    gone.symlink_to(folder / "renamed")  # as a draft is that gets its name meanwhile

    told, _ = pruned(engine, lambda _: None)
    assert {*folder.iterdir()} == {young, gone}
    assert told["bytes"] == 10 + len(GRAPH)


# -- payloads that nothing refers to

LARGE = b"large" * INLINE_LIMIT


def freed(
    engine: Engine, *, old: bool, during: str = "", then: Any = None
) -> tuple[set[str], Path]:
    """Free a payload in a file, and do something in the midst; what was too young, and the file.

    Args:
        engine: Whose it is.
        old: Whether it was written long ago.
        during: In which step.
        then: What to do before it, with the pruner.
    """
    environments: Any = SimpleNamespace(prune=lambda _: 0)
    store, large = engine.store, address(LARGE)
    pruner = Pruner(engine, environments)

    def first(step: Any) -> Any:
        def both(*given: Any) -> Any:
            then(pruner)
            return step(*given)

        return both

    async def run() -> set[str]:
        await engine.committed({"blob": [store.blob_row(large, LARGE)]})
        if old:
            os.utime(path, (1, 1))
        with pytest.MonkeyPatch.context() as patch:
            if during:
                where, name = steps[during]
                patch.setattr(where, name, first(getattr(where, name)))
            return await pruner.free({large})

    steps: dict[str, tuple[Any, str]] = {
        "looks": (pruning, "sizes_of"),
        "asks": (store.payloads, "ages"),
        "removes": (engine, "committed"),
    }
    path = store.folder / "blobs" / large[:2] / large
    return asyncio.run(run()), path


def test_a_young_payload_stays_until_it_is_old(engine: Engine) -> None:
    """What refers to it may not have been committed yet."""
    for old in (False, True):
        young, path = freed(engine, old=old)
        assert young == (set() if old else {path.name})
        assert there(engine.store, path.name) == [not old]
        assert path.exists() is not old


@pytest.mark.parametrize("during", ["looks", "asks"])
def test_a_payload_that_is_named_while_it_is_looked_at_stays(engine: Engine, during: str) -> None:
    for old in (True, False):  # and is not looked at again for its age
        young, path = freed(
            engine, old=old, during=during, then=lambda pruner: pruner.keep([address(LARGE)])
        )
        assert young == ({path.name} if during == "asks" and not old else set())
        assert there(engine.store, path.name) == [True]
        assert path.exists()


def test_the_file_of_a_payload_that_is_named_while_its_row_goes_stays(engine: Engine) -> None:
    """Whoever names it has seen the file, and brings the row."""
    _, path = freed(
        engine, old=True, during="removes", then=lambda pruner: pruner.keep([address(LARGE)])
    )
    assert path.exists()


def test_no_payload_goes_while_other_engines_run(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they are about to refer to is not known here."""
    _, path = freed(engine, old=False)
    os.utime(path, (1, 1))
    environments: Any = SimpleNamespace(prune=lambda _: 0)
    with monkeypatch.context() as patch:
        patch.setattr(engine.store, "leases", SimpleNamespace(others_run=lambda: True))
        young = asyncio.run(Pruner(engine, environments).free({path.name}))

    assert young == set()
    assert there(engine.store, path.name) == [True]
    assert path.exists()


# -- dispatches that are deleted one by one


class Deletes:
    """What deletes from an engine's store, and what it asked to be freed."""

    def __init__(self, engine: Engine) -> None:
        environments: Any = SimpleNamespace(prune=lambda _: 0)
        self.pruner = Pruner(engine, environments)
        self.asked: list[set[str]] = []
        self.freed = asyncio.Event()
        self.fails: Exception | None = None
        runner: Any = SimpleNamespace(
            store=engine.store, read=Reading(engine.store), events=Events(), pruner=self
        )
        self.remove = self.pruner.remove
        self.deleting = Deleting(runner)

    async def free(self, digests: set[str]) -> set[str]:
        self.asked.append(digests)
        try:
            if self.fails is not None:
                raise self.fails
            return await self.pruner.free(digests)
        finally:
            self.freed.set()


def own_graph(number: int, *named: str) -> bytes:
    return pack({"nodes": [], "edges": [], "result": {}, "number": number, "named": named})


async def put_ended(engine: Engine, number: int, *named: str) -> str:
    """A dispatch that has ended, with a graph of its own that names payloads; the graph's name."""
    graph = own_graph(number, *named)
    digest, row = address(graph), dispatch(engine.store, number)
    row |= {
        "manifest": digest,
        "manifest_seal": engine.store.seal(digest, row["id"], "manifest"),
    }
    await engine.committed({"dispatch": [row], "blob": [engine.store.blob_row(digest, graph)]})
    await engine.committed({"dispatch_ended": [ended(number)]})
    return digest


def there(store: Store, *digests: str) -> list[bool]:
    return [store.blob_size(digest) is not None for digest in digests]


def test_many_deletes_make_one_sweep_of_what_was_theirs_alone(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deleting, "_SOON", 0.3)
    own, both, nobodys = (address(text) for text in (b"own", b"both", b"nobody's"))

    async def run() -> tuple[list[set[str]], list[str]]:
        deletes = Deletes(engine)
        rows = [
            engine.store.blob_row(address(text), text) for text in (b"own", b"both", b"nobody's")
        ]
        await engine.committed({"blob": rows})
        graphs = [await put_ended(engine, 0, own, both), await put_ended(engine, 1, both)]
        graphs += [await put_ended(engine, number) for number in (2, 3, 4)]
        for number in (0, 2, 3, 4):
            await deletes.deleting.delete(f"d{number:03}")
        await asyncio.wait_for(deletes.freed.wait(), 10)
        deletes.deleting.close()
        return deletes.asked, graphs

    asked, graphs = asyncio.run(run())
    assert asked == [{own, both, graphs[0], *graphs[2:]}]
    assert there(engine.store, own, both, nobodys) == [False, True, True]
    assert there(engine.store, *graphs) == [False, True, False, False, False]


def test_nothing_is_freed_while_a_graph_cannot_be_read(engine: Engine) -> None:
    word = address(b"word")

    async def run() -> None:
        deletes = Deletes(engine)
        await engine.committed({"blob": [engine.store.blob_row(word, b"word")]})
        damaged = await put_ended(engine, 1)
        await engine.committed({"blob_pruned": [{"of_digest": damaged}]})
        await deletes.pruner.free({word})

    with pytest.raises((IntegrityError, OSError)):
        asyncio.run(run())
    assert there(engine.store, word) == [True]


def test_a_sweep_that_fails_is_told_and_tried_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(deleting, "_SOON", 0.01)

    async def run() -> list[str]:
        deletes = Deletes(engine)
        deletes.fails = IntegrityError(blob="b", reason="the test says so")
        graphs = [await put_ended(engine, number) for number in range(2)]
        for number in range(2):
            deletes.freed.clear()
            await deletes.deleting.delete(f"d{number:03}")
            await asyncio.wait_for(deletes.freed.wait(), 10)
            deletes.fails = None
        deletes.deleting.close()
        return graphs

    graphs = asyncio.run(run())
    assert "the test says so" in caplog.text
    assert there(engine.store, *graphs) == [False, False]


def test_what_was_too_young_is_looked_at_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deleting, "_SOON", 0.01)
    monkeypatch.setattr(deleting, "_LATER", 0.01)
    large = address(LARGE)

    async def run() -> None:
        deletes = Deletes(engine)
        await engine.committed({"blob": [engine.store.blob_row(large, LARGE)]})
        await put_ended(engine, 0, large)
        await deletes.deleting.delete("d000")
        await asyncio.wait_for(deletes.freed.wait(), 10)
        assert there(engine.store, large) == [True]
        os.utime(engine.store.folder / "blobs" / large[:2] / large, (1, 1))
        async with asyncio.timeout(10):
            while there(engine.store, large) == [True]:
                deletes.freed.clear()
                await deletes.freed.wait()
        deletes.deleting.close()

    asyncio.run(run())
