"""What a `QiskitExecutor` holds in one process only."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

if TYPE_CHECKING:
    from qcov.qexecutors.qiskit_local import LocalBackend

_MAX_SEED = 2**31


class LocalState:
    """What an executor holds in this process only. A copy, a pickle or a fork starts anew."""

    def __init__(self) -> None:
        self.forget()
        _alive.add(self)

    def forget(self) -> None:
        """Leave everything to the process that it belongs to."""
        self._lock = threading.RLock()
        self._backend: LocalBackend | None = None
        self._numbers: Any = None

    def backend(self, make: Callable[[], LocalBackend]) -> LocalBackend:
        """The backend, made on first use."""
        with self._lock:
            if self._backend is None:
                self._backend = make()
            return self._backend

    def next_seed(self, seed: int | None) -> int | None:
        """The seed of the next job, drawn from the executor's."""
        if seed is None:
            return None
        with self._lock:
            if self._numbers is None:
                import numpy as np

                self._numbers = np.random.default_rng(seed)
            return int(self._numbers.integers(_MAX_SEED))

    def __reduce__(self) -> tuple[type[LocalState], tuple[()]]:
        return LocalState, ()

    def __copy__(self) -> LocalState:
        return LocalState()

    def __deepcopy__(self, _memo: object) -> LocalState:
        return LocalState()


_alive: WeakSet[LocalState] = WeakSet()


def _forget_parent() -> None:
    for state in _alive:
        state.forget()


os.register_at_fork(after_in_child=_forget_parent)
