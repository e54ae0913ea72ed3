"""The engine: what electrons cost from dispatch to result, beside other engines in the same run.

Durable means that an electron's value is on disk before anything starts because of it; what it
prints is captured. Most other engines keep nothing on disk: their rows say which do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from qcov_bench import large_arrays, recovery, workflows
from qcov_bench.commits import committing
from qcov_bench.engines import WORKERS, memory_of_engine, own_engine, serving
from qcov_bench.peers import PEERS, beside
from qcov_bench.rows import LeftOut, Row, in_a_row, in_turns, interleaved, medians, seconds

_PER_SECOND = 5_000
_COUNT = 10_000
_IN_A_ROW = 10  # of what is timed one by one: right after another's flush, ours takes longer


def rows(*, pythons: Sequence[str] = ()) -> Iterator[Row | LeftOut]:
    """All figures; `pythons` are interpreters that have other engines, besides this one."""
    with own_engine():
        workflows.warm_up()
        yield independent(_COUNT)
        yield from one()
        yield chain(1_000)
        yield sublattices(200)
    yield building(_COUNT)
    with own_engine():
        yield from large_arrays.rows(100)
    with own_engine():
        workflows.warm_up()
        yield many(100_000)
    yield recovery.row(_COUNT)
    for peer in PEERS:
        with own_engine():
            workflows.warm_up()
            yield from beside(peer, pythons=pythons)


def independent(count: int, *, repeats: int = 7) -> Row:
    """Electrons that do nothing: built, dispatched, run and fetched."""
    taken = _median(partial(workflows.run_fan, count), repeats)
    name = f"{count:,} independent electrons, dispatch to result, durable, {WORKERS} workers"
    return Row(name=name, ours=taken, theirs=None, limit=count / _PER_SECOND, count=count)


def one(*, repeats: int = 40) -> Iterator[Row]:
    """One electron, on the socket and, of an engine that serves pages too, through HTTP.

    Args:
        repeats: How often it is run some times in a row.
    """
    yield _one("on the socket", workflows.run_one, 2.5e-3, repeats)
    with serving() as address:
        yield _one("through HTTP", partial(workflows.run_one, address), 10e-3, repeats)


def _one(way: str, run: Callable[[], None], limit: float, repeats: int) -> Row:
    """Two commits are the disk's part of it: of what is to run, and of what came of it."""
    with committing() as commit:
        ways = {"run": run, "disk": partial(commit, 2)}
        in_a_row(run, _IN_A_ROW)
        taken = in_turns(
            {each: partial(in_a_row, function, _IN_A_ROW) for each, function in ways.items()},
            repeats=repeats,
        )
    yard = {"theirs": taken["disk"], "yardstick": "two commits of SQLite, flushed"}
    name = f"one electron, warm, dispatch to result, {way}"
    return Row(name=name, ours=taken["run"], limit=limit, **yard)


def chain(links: int, *, repeats: int = 5) -> Row:
    """Electrons that wait for each other; a commit for each is the disk's part of it."""
    with committing() as commit:
        run, disk = partial(workflows.run_chain, links), partial(commit, links)
        ours, bare = interleaved(run, disk, repeats=repeats)
    name = f"a chain of {links:,} electrons, per link"
    yard = {"theirs": bare / links, "yardstick": "a commit of SQLite, flushed"}
    return Row(name=name, ours=ours / links, limit=1e-3, **yard)


def sublattices(count: int, *, repeats: int = 5) -> Row:
    """Lattices in a lattice."""
    taken = _median(partial(workflows.run_nested, count), repeats)
    name = f"{count} sublattices of {workflows.FEW} electrons, per sublattice"
    return Row(name=name, ours=taken / count, theirs=None, limit=5e-3)


def building(count: int, *, repeats: int = 7) -> Row:
    """The graph alone."""
    taken = _median(partial(workflows.fan.build_graph, count), repeats)
    name = f"build_graph of {count:,} electrons"
    return Row(name=name, ours=taken, theirs=None, limit=1.0, count=count)


def many(count: int) -> Row:
    """A lattice that is large, and what the engine's memory keeps of it."""
    before = memory_of_engine()
    taken = seconds(partial(workflows.run_fan, count))
    kept = max(0, memory_of_engine() - before) / count
    name = f"memory per finished electron in the engine, {count:,} in a lattice ({taken:.0f} s)"
    return Row(name=name, ours=kept, theirs=None, limit=3_000, unit="B")


def _median(function: Callable[[], object], repeats: int) -> float:
    return medians({"": function}, repeats=repeats)[""]
