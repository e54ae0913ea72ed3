"""Where electrons run that name no executor: it is written, and costs no commit of its own."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import qcov as ct
from qcov.classical.engine.engine import Engine
from qcov.classical.engine.process import configured_store
from qcov.classical.engine.spawn import Spawner
from qcov.classical.manifest import build_manifest, code_of, environment
from qcov.classical.status import Status
from qcov.store.store import Store

pytestmark = pytest.mark.process


@ct.electron
def step(value: int) -> int:
    return value + 1


@ct.lattice
def chain(links: int) -> Any:
    value: Any = 0
    for _ in range(links):
        value = step(value)
    return value


class _OnePlace(Spawner):
    def need(self, places: int) -> None:
        told, self.on_places = self.on_places, lambda _: None
        told(1)


async def _ran(store: Store) -> str:
    """The chain, run by an engine whose cluster is of local processes."""
    engine = Engine(store, workers=1)
    engine.use_dask(_OnePlace, lambda: True)
    manifest = build_manifest(chain, (4,), {})
    manifest |= {"id": str(uuid.uuid4()), "environment": environment(code_of(manifest))}
    dispatch_id = await engine.submit(manifest)
    async with asyncio.timeout(60):
        while not Status(store.status(dispatch_id)).terminal:
            await asyncio.sleep(0.02)
    engine.close()
    return dispatch_id


def test_where_electrons_run_is_written_along_with_what_comes_of_them(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_folder.mkdir(mode=0o700)
    store = configured_store(data_folder)
    put, written = store.put, list[Mapping[str, Any]]()

    def noted(changes: Mapping[str, Any], *more: Any, **named: Any) -> None:
        written.append(dict(changes))
        put(changes, *more, **named)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(store, "put", noted)

    dispatch_id = asyncio.run(_ran(store))

    nodes = store.get_nodes(dispatch_id)
    assert [node["executor"] for node in nodes if node["name"] == "step"] == ["dask"] * 4
    placed = [changes for changes in written if "node_placed" in changes]
    assert len(placed) == 4
    assert all(changes.keys() & {"node_finished", "node_started"} for changes in placed)
    store.close()
