"""Functions of electrons whose circuits are paid from a budget."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from qcov.budget import Budget, paid_from


class Paid:
    """A function; while it runs, budgets pay for the circuits that it asks for."""

    def __init__(self, function: Callable[..., Any], budgets: Sequence[Budget]) -> None:
        self._function, self._budgets = function, tuple(budgets)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it."""
        with paid_from(self._budgets):
            value = self._function(*args, **kwargs)
        return self._awaited(value) if inspect.iscoroutine(value) else value

    def __qcov_key__(self) -> object:
        """What it computes does not depend on who pays."""
        return self._function

    async def _awaited(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        with paid_from(self._budgets):
            return await coroutine
