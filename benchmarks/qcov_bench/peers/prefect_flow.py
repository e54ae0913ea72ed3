"""Prefect: a flow with tasks in threads, and a server of its own on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ |= {  # read when it is imported
    "PREFECT_HOME": str(Path.cwd() / "prefect"),
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}

from prefect import flow, task


@task
def noop(value: int) -> int:
    """Return the argument."""
    return value


@task
def following(value: int) -> int:
    """Return the next number."""
    return value + 1


@flow
def fan(count: int) -> list[int]:
    """Tasks that do not need each other."""
    return [future.result() for future in [noop.submit(value) for value in range(count)]]


@flow
def chain(links: int) -> int:
    """Tasks that do."""
    value = following.submit(0)
    for _ in range(links - 1):
        value = following.submit(value)
    return value.result()


@contextmanager
def opened() -> Iterator[dict[str, Callable[[int], object]]]:
    """The flows; the first one starts the server."""
    fan(1)
    yield {"fan": fan, "chain": chain}
