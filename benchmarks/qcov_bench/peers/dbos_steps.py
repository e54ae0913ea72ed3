"""DBOS: steps of a workflow, each recorded in SQLite before the next one begins.

They run in the process that called: there are no workers to wait for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dbos import DBOS


@DBOS.step()
def noop(value: int) -> int:
    """Return the argument."""
    return value


@DBOS.step()
def following(value: int) -> int:
    """Return the next number."""
    return value + 1


@DBOS.workflow()
def fan(count: int) -> list[int]:
    """Steps that do not need each other."""
    return [noop(value) for value in range(count)]


@DBOS.workflow()
def chain(links: int) -> int:
    """Steps that do."""
    value = 0
    for _ in range(links):
        value = following(value)
    return value


@contextmanager
def opened() -> Iterator[dict[str, Callable[[int], object]]]:
    """The workflows."""
    database = "sqlite:///dbos.sqlite"
    DBOS(config={"name": "qcov-bench", "system_database_url": database, "log_level": "ERROR"})
    DBOS.launch()
    try:
        yield {"fan": fan, "chain": chain}
    finally:
        DBOS.destroy()
