"""Parsl: its executor of high throughput, two workers on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import parsl
from parsl.app.app import python_app
from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.providers import LocalProvider


@python_app
def noop(value: int) -> int:
    """Return the argument."""
    return value


@python_app
def following(value: int) -> int:
    """Return the next number."""
    return value + 1


@contextmanager
def opened() -> Iterator[dict[str, Callable[[int], object]]]:
    """The executor, and what it can be asked for."""
    executor = HighThroughputExecutor(
        address="127.0.0.1",
        max_workers_per_node=2,
        provider=LocalProvider(init_blocks=1, max_blocks=1),
    )
    with parsl.load(Config(executors=[executor], run_dir="runs", usage_tracking=0)):
        yield {"fan": _fan, "chain": _chain}


def _fan(count: int) -> list[int]:
    return [future.result() for future in [noop(value) for value in range(count)]]


def _chain(links: int) -> int:
    future = following(0)
    for _ in range(links - 1):
        future = following(future)
    return future.result()
