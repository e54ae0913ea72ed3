"""What is told of other engines' dispatches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from types import SimpleNamespace
from typing import Any

import pytest

from qcov.classical.engine import neighbours
from qcov.classical.engine.events import Events
from qcov.classical.engine.neighbours import Neighbours

Told = tuple[str, int | None, str]


class Others:
    """What the database says of other engines; each look is one of the `scenes`."""

    def __init__(self, *scenes: tuple[dict[str, str], list[dict[str, Any]]]) -> None:
        self._scenes = list(scenes)
        self.seen_all = asyncio.Event()

    def elsewhere(self, also: Collection[str]) -> list[dict[str, str]]:
        statuses = self._scenes[0][0]
        return [
            {"id": each, "root_id": each, "status": status} for each, status in statuses.items()
        ]

    def nodes_since(self, dispatch_id: str, moment: float) -> list[dict[str, Any]]:
        return [
            node
            for node in self._scenes[0][1]
            if max(node["started"] or 0.0, node["ended"] or 0.0) > moment
        ]


def node(number: int, status: str, *, started: float, ended: float | None) -> dict[str, Any]:
    return {"node_id": number, "status": status, "started": started, "ended": ended}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Told]]:
    """What is told of some scenes, one after the other."""

    def told(*scenes: tuple[dict[str, str], list[dict[str, Any]]]) -> list[Told]:
        async def run() -> list[Told]:
            events, others = Events(), Others(*scenes)
            looks = list(scenes)

            async def next_look(_: float) -> None:
                others._scenes = looks[:1]
                if not looks:
                    raise asyncio.CancelledError
                del looks[0]

            leases: Any = others
            # The module's own: the loops of other tests' threads sleep too.
            mine = SimpleNamespace(sleep=next_look, to_thread=asyncio.to_thread)
            monkeypatch.setattr(neighbours, "asyncio", mine)
            async with events.subscribe():
                with pytest.raises(asyncio.CancelledError):
                    await Neighbours(events, leases).watch()
            found = events.since(0) or []
            return [(each["dispatch"], each["node"], each["status"]) for each in found]

        return asyncio.run(run())

    return told


def test_an_outcome_that_is_committed_late_is_told(told: Callable[..., list[Told]]) -> None:
    quick = node(0, "COMPLETED", started=101.0, ended=103.0)
    late = node(1, "COMPLETED", started=101.0, ended=102.0)

    found = told(({"d": "RUNNING"}, [quick]), ({"d": "RUNNING"}, [quick, late]))

    assert found == [("d", 0, "COMPLETED"), ("d", None, "RUNNING"), ("d", 1, "COMPLETED")]


def test_one_that_another_engine_has_deleted_is_told_once(
    told: Callable[..., list[Told]],
) -> None:
    found = told(({"d": "RUNNING"}, []), ({}, []), ({}, []))

    assert found == [("d", None, "RUNNING")] * 2
