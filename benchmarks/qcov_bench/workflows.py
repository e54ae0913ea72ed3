"""The lattices that the engine is measured with. Their electrons do next to nothing."""

from __future__ import annotations

import qcov as ct

FEW = 5  #: electrons of a sublattice


@ct.electron
def noop(value: int) -> int:
    """Return the argument."""
    return value


@ct.electron
def following(value: int) -> int:
    """Return the next number."""
    return value + 1


@ct.lattice
def fan(count: int) -> list[int]:
    """Independent electrons with distinct arguments."""
    return [noop(value) for value in range(count)]


@ct.lattice
def single(value: int) -> int:
    """One electron."""
    return noop(value)


@ct.lattice
def chained(links: int) -> int:
    """Electrons that wait for each other."""
    value = 0
    for _ in range(links):
        value = following(value)
    return value


@ct.electron
@ct.lattice
def few(first: int) -> list[int]:
    """A small sublattice."""
    return [noop(first + step) for step in range(FEW)]


@ct.lattice
def nested(count: int) -> list[list[int]]:
    """Sublattices with distinct arguments."""
    return [few(FEW * number) for number in range(count)]


def run_fan(count: int) -> None:
    """Dispatch `fan` and fetch what came of it."""
    assert ct.dispatch_sync(fan)(count).result == list(range(count))


def run_one(address: str | None = None) -> None:
    """Dispatch `single`, to the server at `address` if that is given."""
    assert ct.dispatch_sync(single, address)(7).result == 7


def run_chain(links: int) -> None:
    """Dispatch `chained` and fetch what came of it."""
    assert ct.dispatch_sync(chained)(links).result == links


def run_nested(count: int) -> None:
    """Dispatch `nested` and fetch what came of it."""
    result = ct.dispatch_sync(nested)(count).result
    assert [value for values in result for value in values] == list(range(FEW * count))


def warm_up(count: int = 1_000) -> None:
    """Let workers be forked, and load the code."""
    for _ in range(3):
        run_fan(count)
