"""Dask distributed: two processes of one thread each."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dask.distributed import Client, LocalCluster


def noop(value: int) -> int:
    """Return the argument."""
    return value


def following(value: int) -> int:
    """Return the next number."""
    return value + 1


@contextmanager
def opened() -> Iterator[dict[str, Callable[[int], object]]]:
    """The cluster, and what it can be asked for."""
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):

        def fan(count: int) -> list[int]:
            return client.gather(client.map(noop, range(count), pure=False))

        def chain(links: int) -> int:
            future = client.submit(following, 0, pure=False)
            for _ in range(links - 1):
                future = client.submit(following, future, pure=False)
            return future.result()

        yield {"fan": fan, "chain": chain}
