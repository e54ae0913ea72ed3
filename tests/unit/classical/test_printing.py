"""What of an electron's output is told at its end, which the store learns of a moment later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from qcov.classical.engine import printing
from qcov.classical.engine.printing import Printed, Printing


class Ended:
    """A runner whose electron has ended, and what can be read of that, one look after the other."""

    def __init__(self, rows: Sequence[dict[str, Any]]) -> None:
        self.rows = list(rows)
        self.store = self
        self.events = SimpleNamespace(number=0)

    def running(self, dispatch_id: str, node_id: int) -> None:
        return None

    def get_nodes(self, dispatch_id: str, *, node_id: int) -> list[dict[str, Any]]:
        if len(self.rows) == 1:
            return self.rows
        asyncio.get_running_loop().call_later(0.01, self._change)
        return [self.rows.pop(0)]

    def _change(self) -> None:
        self.events.number += 1

    async def read(self, look: Callable[..., Any], *what: Any) -> Any:
        return look(*what)


def asked(rows: Sequence[dict[str, Any]], source: str, timeout: float) -> Printed:
    async def ask() -> Printed:
        runner: Any = Ended(rows)
        streams = Printing(runner).streams
        return await streams("d", 0, source=source, after=(6, 0), timeout=timeout)

    return asyncio.run(ask())


RUNNING = {"attempt": 1, "status": "RUNNING", "stdout": None, "stderr": None}
COMPLETED = RUNNING | {"status": "COMPLETED", "stdout": "begun\nended\n"}


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(printing, "_LOOK_AGAIN", 0.001)


def test_who_follows_it_waits_until_all_of_it_is_stored() -> None:
    printed = asked([RUNNING, RUNNING, COMPLETED], "attempt 1", timeout=60.0)
    assert (printed.source, printed.status) == ("stored", "COMPLETED")
    assert printed.parts[0].text == "begun\nended\n"


def test_who_does_not_wait_keeps_what_they_have() -> None:
    printed = asked([RUNNING], "attempt 1", timeout=0.0)
    assert (printed.source, printed.status) == ("attempt 1", "RUNNING")
    assert [(part.start, part.text) for part in printed.parts] == [(6, ""), (0, "")]


def test_of_an_attempt_that_is_over_nothing_is_kept() -> None:
    printed = asked([RUNNING | {"attempt": 2, "status": "PENDING"}], "attempt 1", timeout=60.0)
    assert (printed.source, printed.parts[0].text) == ("stored", "")
