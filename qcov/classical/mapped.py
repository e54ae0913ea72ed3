"""One electron called for each of many items: a sublattice, so one node where it is drawn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any, cast

from qcov.classical.builder import building, is_output
from qcov.classical.electron import Electron
from qcov.classical.lattice import Lattice
from qcov.errors import WrongArguments


def map_electron(
    electron: Electron, iterables: Sequence[Iterable[Any]], same: Mapping[str, Any]
) -> Any:
    """Call an electron for each of many items; see `qcov.mapping.map`."""
    given = [list(each) if isinstance(each, Iterator) else each for each in iterables]
    sizes = [len(cast("Sized", each)) for each in given if _has_length(each)]
    if len(set(sizes)) > 1:
        raise ValueError(f"ct.map needs iterables of one length, not of {sizes}")
    builder = building()
    if builder is not None:  # else the calls themselves tell
        builder.standing_for(electron).check_call((None,) * len(given), dict(same))
    return Electron(Lattice(_Mapped(electron)))(*given, **same)


def _has_length(value: object) -> bool:
    return hasattr(type(value), "__len__") and not hasattr(value, "__electron__")


def _numbered(value: Any, place: int) -> Any:
    """The same; a node says in its name which item it is for."""
    builder = building()
    if builder is not None and is_output(value):
        builder.add_to_name(value, f" of item {place}")
    return value


class _Mapped:
    """Calls an electron for each of many items."""

    def __init__(self, electron: Electron) -> None:
        self._electron = electron
        self.__name__ = f"map({electron.name})"

    def __call__(self, *iterables: Iterable[Any], **same: Any) -> list[Any]:
        calls = zip(*iterables, strict=True)
        try:
            return [
                _numbered(self._electron(*call, **same), place) for place, call in enumerate(calls)
            ]
        except ValueError as error:
            if "zip()" not in str(error):  # the electron's own, where no graph is built
                raise
            raise WrongArguments(
                electron=self.__name__,
                signature="iterables of one length",
                reason="one iterable is longer than another",
            ) from error
