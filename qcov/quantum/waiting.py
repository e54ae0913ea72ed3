"""Calls that wait to be bound: built when they were made, run together when one is asked for.

See `qcov.quantum.futures`, which says why.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any, Protocol, TypeAlias

from qcov.errors import CircuitError, StaleFuture
from qcov.quantum import pennylane_qnode
from qcov.quantum.futures import CircuitFuture, calling_back_later
from qcov.quantum.pennylane_traces import Traces
from qcov.quantum.pennylane_values import is_traced_by_jax


class Binder(Protocol):
    """What waiting calls need of their qelectron."""

    @property
    def name(self) -> str:
        """What errors call it."""
        ...

    def kind(self, call: pennylane_qnode.Call) -> Hashable:
        """Calls of one kind can be bound together."""
        ...

    def bind(self, calls: Sequence[pennylane_qnode.Call]) -> Sequence[Any]:
        """Run calls, with their interface and derivatives around them."""
        ...

    def finish_bound(self, call: pennylane_qnode.Call, result: Any) -> Any:
        """Give a result the form that the call has."""
        ...


class WaitingCalls:
    """The calls of one qelectron that wait to be bound, by kind."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places = itertools.count()
        self._batches: dict[Hashable, _Batch] = {}

    def __reduce__(self) -> tuple[type[WaitingCalls], tuple[()]]:
        return WaitingCalls, ()  # what waits belongs to the process where it was asked for

    def add(self, qelectron: Binder, call: pennylane_qnode.Call) -> CircuitFuture:
        """Queue a call."""
        thread, traces = threading.get_ident(), Traces(call.tape)
        key: Hashable = (thread, traces.key, qelectron.kind(call))

        def stale() -> StaleFuture | None:
            return StaleFuture(qelectron=qelectron.name) if traces.are_over() else None

        with self._lock:
            batch = self._batches.setdefault(key, _Batch())
            future = CircuitFuture(
                lambda: self._bind(qelectron, thread, key, batch), stale if traces.key else None
            )
            place = next(self._places)
            # A future that nobody holds any more may belong to a trace that is over.
            forget = partial(batch.pop, place, None)
            batch[place] = (weakref.ref(future, lambda _: forget()), call, traces)
            future.withdraw = forget
        return future

    def _bind(self, qelectron: Binder, thread: int, key: Hashable, batch: _Batch) -> None:
        with self._lock:
            if self._batches.get(key) is batch:
                del self._batches[key]
            taken = list(batch.values())
            batch.clear()
        held = [(ref(), call, traces) for ref, call, traces in taken]
        wanted = [
            (future, call)
            for future, call, _ in held
            if future is not None and future.set_running_or_notify_cancel()
        ]
        if wanted and thread != threading.get_ident():
            wanted = _without_strangers(qelectron, wanted)
        wanted = _without_stale(wanted)
        if wanted:
            with held[0][2].outside():
                _run_bound(qelectron, wanted)


class _Batch(dict[int, tuple["weakref.ref[CircuitFuture]", pennylane_qnode.Call, Traces]]):
    """Calls that will be bound together, in the order in which they were made."""


_Pairs: TypeAlias = Sequence[tuple[CircuitFuture, pennylane_qnode.Call]]


def _without_strangers(qelectron: Binder, pairs: _Pairs) -> _Pairs:
    """Refuse calls that JAX traces in another thread: it would make their derivatives zero."""
    own: list[tuple[CircuitFuture, pennylane_qnode.Call]] = []
    for future, call in pairs:
        if is_traced_by_jax(call.tape):
            reason = (
                "JAX traces it in another thread. Ask its future for the result inside the "
                "function that is differentiated or compiled"
            )
            future.set_exception(CircuitError(executor=qelectron.name, reason=reason))
        else:
            own.append((future, call))
    return own


def _without_stale(pairs: _Pairs) -> _Pairs:
    """Refuse calls whose derivative is over."""
    fresh: list[tuple[CircuitFuture, pennylane_qnode.Call]] = []
    for future, call in pairs:
        if (stale := future.stale()) is not None:
            future.set_exception(stale)
        else:
            fresh.append((future, call))
    return fresh


def _run_bound(qelectron: Binder, pairs: _Pairs) -> None:
    try:
        results = qelectron.bind([call for _, call in pairs])
    except Exception as error:  # noqa: BLE001  # it belongs to whoever asks for the result
        if len(pairs) == 1:
            pairs[0][0].set_exception(error)
            return
        for pair in pairs:  # one of them may have spoilt it for the others
            _run_bound(qelectron, [pair])
        return
    with calling_back_later():
        for (future, call), result in zip(pairs, results, strict=True):
            fulfil(future, lambda call=call, result=result: qelectron.finish_bound(call, result))


def fulfil(future: CircuitFuture, make: Callable[[], Any]) -> None:
    """Give a future the value that `make` makes, or what it raises."""
    try:
        value = make()
    except Exception as error:  # noqa: BLE001  # it belongs to whoever asks for the result
        future.set_exception(error)
    else:
        future.set_result(value)
