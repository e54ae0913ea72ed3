"""`map`: one call for each of many arguments."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast, overload

from qcov.classical.electron import Electron
from qcov.classical.mapped import map_electron
from qcov.errors import NotAQElectron, WrongSetting

if TYPE_CHECKING:
    from qcov.quantum.futures import CircuitFuture
    from qcov.quantum.qelectron import QElectron


@overload
def map(  # noqa: A001
    circuit: QElectron, *arguments: Iterable[Any], progress: bool = False, **same: Any
) -> list[CircuitFuture]: ...


@overload
def map(  # noqa: A001
    circuit: Electron, *arguments: Iterable[Any], **same: Any
) -> Any: ...


def map(  # noqa: A001
    circuit: QElectron | Electron,
    *arguments: Iterable[Any],
    progress: bool = False,
    **same: Any,
) -> Any:
    """Call a qelectron or an electron for each of many arguments.

    A qelectron's circuits are built here and now, and run together as those of `run_later` do;
    there is a future for each call, in order.

    An electron in a lattice becomes one node, which runs all calls as a dispatch of its own and
    whose value is the list of theirs. An iterable may be an electron's value: how many calls there
    are is then known when it is there. Outside a lattice the electron is called at once.

    Args:
        circuit: The qelectron, or the electron.
        arguments: An iterable for each of its positional arguments, all equally long.
        progress: Whether to show a bar in a terminal or a notebook, after a second. It moves when a
            batch is back; an executor's `max_batch` makes batches smaller.
        same: Keyword arguments that are the same for all calls.

    Raises:
        NotAQElectron: `circuit` is something else; a TypeError.
        ValueError: One iterable is longer than another.
        WrongSetting: `progress` is set for an electron.

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
        >>> from qcov.classical.electron import electron
        >>> map(electron(abs), [1, -2, 3])
        [1, 2, 3]
    """
    if isinstance(circuit, Electron):
        _check_iterables(arguments, electrons=True)
        if progress:
            expected = "left out for electrons: ct.watch tells how far a dispatch is"
            raise WrongSetting(setting="progress", got="True", expected=expected)
        return map_electron(circuit, arguments, same)
    return _map_circuit(circuit, arguments, same, progress=progress)


def _map_circuit(
    circuit: QElectron,
    arguments: tuple[Iterable[Any], ...],
    same: dict[str, Any],
    *,
    progress: bool,
) -> list[CircuitFuture]:
    from qcov.quantum.progress import show_progress
    from qcov.quantum.qelectron import QElectron  # PennyLane takes seconds: electrons do without

    if not isinstance(circuit, QElectron):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise NotAQElectron(got=repr(circuit))
    _check_iterables(arguments, electrons=False)
    columns = [list(argument) for argument in arguments]  # all, before the first call is made
    sizes = [len(column) for column in columns]
    if len(set(sizes)) > 1:
        raise ValueError(f"ct.map needs iterables of one length, not of {sizes}")
    calls = list(zip(*columns, strict=True))
    futures = [circuit.run_later(*call, **same) for call in calls]
    if progress:
        show_progress(futures, circuit.name)
    return futures


def _check_iterables(arguments: tuple[object, ...], *, electrons: bool) -> None:
    if not arguments:
        raise TypeError("ct.map needs an iterable for each positional argument of what it calls")
    for argument in arguments:
        if electrons and hasattr(argument, "__electron__"):
            continue  # it will be seen when its value is there
        try:
            iter(cast("Iterable[Any]", argument))
        except TypeError:
            message = f"ct.map needs iterables of arguments, not {argument!r}"
            raise TypeError(message) from None
