"""`map`: one call for each of many arguments."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from qcov.classical.electron import Electron
from qcov.errors import NotAQElectron, NotYetSupported
from qcov.quantum.futures import CircuitFuture
from qcov.quantum.progress import show_progress
from qcov.quantum.qelectron import QElectron


def map(  # noqa: A001
    circuit: QElectron, *arguments: Iterable[Any], progress: bool = False, **same: Any
) -> list[CircuitFuture]:
    """Call a circuit later for each of many arguments; a future for each call, in order.

    All circuits are built here and now, and run together as those of `run_later` do.

    Args:
        circuit: The qelectron.
        arguments: An iterable for each of its positional arguments, all equally long.
        progress: Whether to show a bar on standard error, if that is a terminal or a notebook. It
            moves when a batch is back; an executor's `max_batch` makes batches smaller.
        same: Keyword arguments that are the same for all calls.

    Raises:
        NotAQElectron: `circuit` is something else; a TypeError.
        NotYetSupported: `circuit` is an electron; a TypeError.
        ValueError: One iterable is longer than another.

    Example:
        >>> import pennylane as qml
        >>> from qcov.quantum.futures import gather
        >>> from qcov.quantum.qelectron import qelectron
        >>> @qelectron
        ... @qml.qnode(qml.device("default.qubit", wires=1))
        ... def circuit(angle):
        ...     qml.RX(angle, wires=0)
        ...     return qml.expval(qml.Z(0))
        >>> [round(float(value)) for value in gather(map(circuit, [0.0, 3.141592653589793]))]
        [1, -1]
    """
    _check(circuit, arguments)
    columns = [list(argument) for argument in arguments]  # all, before the first call is made
    sizes = [len(column) for column in columns]
    if len(set(sizes)) > 1:
        raise ValueError(f"ct.map needs iterables of one length, not of {sizes}")
    calls = list(zip(*columns, strict=True))
    futures = [circuit.run_later(*call, **same) for call in calls]
    if progress:
        show_progress(futures, circuit.name)
    return futures


def _check(circuit: object, arguments: tuple[object, ...]) -> None:
    if isinstance(circuit, Electron):
        raise NotYetSupported(feature="map over an electron")
    if not isinstance(circuit, QElectron):
        raise NotAQElectron(got=repr(circuit))
    if not arguments:
        raise TypeError("ct.map needs an iterable for each positional argument of the circuit")
    for argument in arguments:
        try:
            iter(cast("Iterable[Any]", argument))
        except TypeError:
            message = f"ct.map needs iterables of arguments, not {argument!r}"
            raise TypeError(message) from None
