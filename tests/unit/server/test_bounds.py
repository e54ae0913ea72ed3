"""What belongs to a dispatch that somebody was let in to see."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from qcov_server import bounds
from qcov_server.bounds import Bounds

if TYPE_CHECKING:
    from conftest import MemoryEngine


def held(engine: MemoryEngine, path: str, dispatch_id: str) -> bool:
    return asyncio.run(Bounds(engine).hold(path, dispatch_id))


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("/dispatches/mine", True),
        ("/dispatches/mine/nodes/1", True),
        ("/api/v1/dispatches/mine/wait", True),
        ("/dispatches/part", True),
        ("/static/app.css", True),
        ("/api/v1/events", True),
        ("/dispatches/other", False),
        ("/dispatches", False),
        ("/x/dispatches/mine", False),  # only where it begins with that
        ("/settings/dispatches/mine", False),
        ("/api/v1/x/api/v1/dispatches/mine", False),
        ("//dispatches/mine", False),
        ("/api/v1/events/dispatches/mine", False),
    ],
)
def test_an_address_is_one_of_the_dispatch_as_a_whole(
    engine: MemoryEngine, path: str, inside: bool
) -> None:
    engine.store.add("other")
    engine.store.add("mine")
    engine.store.add("part", parent_id="mine", root_id="mine")

    assert held(engine, path, "mine") is inside


def chain(engine: MemoryEngine, length: int) -> None:
    for number in range(length):
        parent = str(number - 1) if number else None
        engine.store.add(str(number), parent_id=parent, root_id="0")


def test_sublattices_may_be_deep(engine: MemoryEngine) -> None:
    chain(engine, 1500)
    engine.store.add("other")
    for asked, of, inside in (
        ("1499", "0", True), ("1499", "600", True), ("600", "1499", False), ("2", "1", True),
        ("1499", "other", False), ("other", "0", False), ("1", "gone", False), ("0", "1", False),
    ):  # fmt: skip
        assert held(engine, f"/dispatches/{asked}", of) is inside, (asked, of)


def test_it_is_not_looked_for_without_end(
    engine: MemoryEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "_DEEPEST", 10)
    chain(engine, 15)
    engine.store.add("a", parent_id="b", root_id="0")
    engine.store.add("b", parent_id="a", root_id="0")  # as only a damaged database has it

    assert held(engine, "/dispatches/12", "1")
    assert not held(engine, "/dispatches/13", "1")
    assert not held(engine, "/dispatches/a", "1")
