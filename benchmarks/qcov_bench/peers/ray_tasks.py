"""Ray: tasks on two cores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import ray


@ray.remote
def noop(value: int) -> int:
    """Return the argument."""
    return value


@ray.remote
def following(value: int) -> int:
    """Return the next number."""
    return value + 1


@contextmanager
def opened() -> Iterator[dict[str, Callable[[int], object]]]:
    """The cluster, and what it can be asked for."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        yield {"fan": _fan, "chain": _chain}
    finally:
        ray.shutdown()


def _fan(count: int) -> list[int]:
    return ray.get([noop.remote(value) for value in range(count)])


def _chain(links: int) -> int:
    value = following.remote(0)
    for _ in range(links - 1):
        value = following.remote(value)
    return ray.get(value)
