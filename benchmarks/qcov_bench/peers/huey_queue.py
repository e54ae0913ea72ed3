"""huey: a queue in SQLite, two processes. It has no graph; a chain is a pipeline of tasks."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from huey import SqliteHuey

_LOOK_EVERY = 1e-3  # seconds; by default it looks for tasks every tenth of a second at first
_FOREVER = 300  # seconds

queue = SqliteHuey(filename="huey.sqlite")


@queue.task()
def noop(value: int) -> int:
    """Return the argument."""
    return value


@queue.task()
def following(value: int) -> int:
    """Return the next number."""
    return value + 1


@contextmanager
def opened() -> Iterator[dict[str, Callable[[int], object]]]:
    """The consumer, and what it can be asked for."""
    consumer = multiprocessing.get_context("fork").Process(target=_consume)
    consumer.start()
    try:
        yield {"fan": _fan, "chain": _chain}
    finally:
        consumer.terminate()
        consumer.join()


def _consume() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    queue.create_consumer(
        workers=2, worker_type="process", periodic=False,
        initial_delay=_LOOK_EVERY, max_delay=_LOOK_EVERY,
    ).run()  # fmt: skip


def _fan(count: int) -> list[int]:
    return [_result(result) for result in [noop(value) for value in range(count)]]


def _chain(links: int) -> int:
    tasks = following.s(0)
    for _ in range(links - 1):
        tasks = tasks.then(following)
    *_, last = queue.enqueue(tasks)  # the result of each
    return _result(last)


def _result(result: object) -> int:
    return result.get(blocking=True, timeout=_FOREVER, max_delay=_LOOK_EVERY)
