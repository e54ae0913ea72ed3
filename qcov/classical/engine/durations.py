"""How long electrons take, by their functions."""

from __future__ import annotations

from qcov.classical.engine.tasks import Task

_SHORT = 0.01  # seconds: an electron below this is handed over ahead of time
_REMEMBERED = 10_000  # functions whose duration is known


class Durations:
    """Remembers what electrons of a function have taken lately."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def is_short(self, task: Task) -> bool:
        """True if it is known to take so little that a worker should have the next one at hand."""
        return self._seconds.get(_function_of(task), _SHORT) < _SHORT

    def learn(self, task: Task, seconds: float) -> None:
        """One has taken so long."""
        name = _function_of(task)
        if len(self._seconds) > _REMEMBERED:
            self._seconds.clear()
        self._seconds[name] = 0.7 * self._seconds.get(name, seconds) + 0.3 * seconds


def _function_of(task: Task) -> str:
    return task.function[0] if task.function else task.name
