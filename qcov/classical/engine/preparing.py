"""What runs around an electron, in its worker: commands and functions before and after it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from qcov.classical.engine.channel import Message

#: Loads a blob by its digest; puts a value together from a recipe.
Load = Callable[[str], Any]
Assemble = Callable[[Message], Any]


def run_steps(steps: Sequence[Message], load: Load, assemble: Assemble) -> Message:
    """Run an electron's steps in their order.

    Args:
        steps: As they stand in the electron's bundle.
        load: Loads a step's function.
        assemble: Makes a step's arguments.

    Returns:
        The electron's arguments that the steps are for. Several steps for one make a list.
    """
    given: dict[str, list[Any]] = {}
    for step in steps:
        value = _run(step, load, assemble)
        if step["keyword"]:
            given.setdefault(step["keyword"], []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in given.items()}


def _run(step: Message, load: Load, assemble: Assemble) -> Any:
    try:
        function = load(step["function"])
        return finished(function(*assemble(step["args"]), **assemble(step["kwargs"])))
    except BaseException as error:
        error.add_note(f"This happened in {step['kind']} {step['label']!r} of the electron.")
        raise


def finished(value: Any) -> Any:
    """The value that a coroutine comes to; any other value as it is."""
    return asyncio.run(value) if inspect.iscoroutine(value) else value
