"""Results of many circuits as columns of numbers, for the way between processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

_SCALARS = (float, np.float64, np.complex128)


@dataclass(frozen=True, slots=True)
class Columns:
    """Results that are alike: a column for each measurement of theirs."""

    kinds: tuple[type, ...]
    columns: tuple[Any, ...]
    several: bool  #: whether each result is a tuple


def pack_results(results: Sequence[Any]) -> Columns | list[Any]:
    """Columns of results that have the same types and shapes; other results as they are."""
    forms = {_form(result) for result in results}
    form = forms.pop() if len(forms) == 1 else None
    if form is None:
        return list(results)
    several, *kinds = form
    parts = zip(*results, strict=True) if several else [results]
    columns = tuple([np.array(part) for part in parts])
    return Columns(tuple([kind for kind, *_ in kinds]), columns, several)


def unpack_results(packed: Columns | list[Any]) -> list[Any]:
    """What `pack_results` was given.

    >>> unpack_results(pack_results([(1.0, np.zeros(2)), (2.0, np.ones(2))]))
    [(1.0, array([0., 0.])), (2.0, array([1., 1.]))]
    """
    if isinstance(packed, list):
        return packed
    pairs = zip(packed.kinds, packed.columns, strict=True)
    columns = [_column(kind, values) for kind, values in pairs]
    return [tuple(row) for row in zip(*columns, strict=True)] if packed.several else columns[0]


def _column(kind: type, values: Any) -> list[Any]:
    if kind is float:
        return values.tolist()
    make: Callable[[Any], Any] = np.array if kind is np.ndarray else kind
    return [make(value) for value in values]  # copies: a row would keep all of them alive


def _form(result: Any) -> tuple[Any, ...] | None:
    """What results in the same columns have in common; None if they do not fit in columns."""
    several = isinstance(result, tuple)
    parts = cast("Sequence[Any]", result) if several else [result]
    form = [_form_of_part(part) for part in parts]
    return None if not form or None in form else (several, *form)


def _form_of_part(part: Any) -> tuple[Any, ...] | None:
    kind = cast("Any", type(part))
    if kind in _SCALARS:
        return (kind,)
    if kind is np.ndarray and part.dtype.kind in "fciub":
        return kind, part.shape, part.dtype
    return None
