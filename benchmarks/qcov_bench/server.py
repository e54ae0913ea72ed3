"""The server: how soon it answers, what it needs, how soon pages are there and follow.

Pages are looked at in Chromium where Playwright and a browser are installed.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import statistics
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator

import psutil

import qcov as ct
from qcov.layout import layered
from qcov_bench.engines import own_engine
from qcov_bench.pages import page_rows
from qcov_bench.rows import LeftOut, Row, in_turns, seconds
from qcov_bench.site import Site, served

_DISPATCHES = 10_000
_NODES = 10_000
_READS = 2_000
_AT_ONCE = 4


@ct.electron
def add(value: int, more: int) -> int:
    """An electron that does next to nothing."""
    return value + more


@ct.lattice
def small(value: int) -> int:
    """A dispatch like many others."""
    return add(value, 1)


@ct.lattice
def wide(count: int) -> list[int]:
    """A dispatch of as many electrons, and constants."""
    return [add(value, 1) for value in range(count // 2)]


def rows() -> Iterator[Row | LeftOut]:
    """All of them; the store is filled meanwhile, which takes half a minute."""
    yield _start()
    yield _layout()
    with own_engine() as folder, served(folder) as site:
        yield Row(
            name="memory of an idle server", ours=_memory(site), theirs=None, limit=120, unit="MB"
        )
        filled = _fill()
        yield from _reads(site, filled)
        yield from page_rows(site, wide_id=_wide())


def _start() -> Row:
    """`qcov start` until the server answers, beside an interpreter that does nothing."""

    def start() -> float:
        with own_engine():
            command = [sys.executable, "-m", "qcov", "start", "--no-cluster", "--port", "0"]
            return seconds(lambda: subprocess.run(command, check=True, capture_output=True))

    def bare() -> float:
        return seconds(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True))

    taken = in_turns({"ours": start, "theirs": bare}, repeats=5)
    return Row(
        name="qcov start --no-cluster until it answers", ours=taken["ours"],
        theirs=taken["theirs"], yardstick="an empty Python", limit=1.5,
    )  # fmt: skip


def _layout() -> Row:
    """Positions for a graph like those that programs make: nodes take one or two values each."""
    rng = random.Random(5)
    edges = [
        (rng.randrange(max(0, node - 200), node), node)
        for node in range(1, 5000)
        for _ in range(1 if rng.random() < 0.7 else 2)
    ]
    taken = statistics.median(seconds(lambda: layered(5000, edges)) for _ in range(9))
    return Row(name="layout of a graph of 5,000 nodes", ours=taken, theirs=None, limit=0.05)


def _memory(site: Site) -> float:
    """Megabytes of the server and all that it has started, once a page was looked at."""
    site.read("/api/v1/status")
    server = psutil.Process(site.pid)
    family = [server, *server.children(recursive=True)]
    return sum(process.memory_info().rss for process in family) / 1e6


def _fill() -> str:
    """Dispatches for the list; the id of one of them."""
    ids = [ct.dispatch(small)(number) for number in range(_DISPATCHES)]
    for dispatch_id in ids[-100:]:
        ct.get_result(dispatch_id, wait=True)
    return ids[-1]


def _wide() -> str:
    dispatch_id = ct.dispatch(wide)(_NODES)
    ct.get_result(dispatch_id, wait=True)
    return dispatch_id


def _reads(site: Site, dispatch_id: str) -> Iterator[Row]:
    """Reads by several clients at once, beside an application that says one thing only."""
    asked = {
        "a status": (f"/api/v1/dispatches/{dispatch_id}", 1 / 500),
        "a list of 50": ("/api/v1/dispatches?limit=50", 1 / 200),
    }
    with _bare_application() as bare:
        for name, (path, limit) in asked.items():
            taken = in_turns(
                {"ours": lambda path=path: _each(site, path), "theirs": lambda: _each(bare, "/")},
                repeats=3,
            )
            yield Row(
                name=f"read {name}, one of {_READS:,} by {_AT_ONCE} clients", ours=taken["ours"],
                theirs=taken["theirs"], yardstick="FastAPI that answers {}", limit=limit,
            )  # fmt: skip


def _each(site: Site, path: str) -> float:
    """Seconds for each of many reads."""

    def read() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", site.port)
        for _ in range(_READS // _AT_ONCE):
            connection.request("GET", path, headers=site.headers)
            answer = connection.getresponse()
            assert answer.status == 200, answer.status
            answer.read()
        connection.close()

    threads = [threading.Thread(target=read) for _ in range(_AT_ONCE)]

    def all_of_them() -> None:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return seconds(all_of_them) / _READS


@contextlib.contextmanager
def _bare_application() -> Generator[Site]:
    command = [sys.executable, "-m", "qcov_bench.peers.bare_fastapi"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(json.loads(process.stdout.readline())["port"])
        yield Site(port=port, pid=process.pid, headers={})
        process.terminate()
