"""What a worker keeps of functions that it was sent."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Mapping
from typing import Any

from qcov.classical.engine.functions import Functions
from qcov.transport import address, dumps


def reading(digest: str, blobs: Mapping[str, bytes]) -> bytes:
    return blobs[digest]


def counting(size: int = 0) -> bytes:
    """A function that counts its calls, and holds itself and so many bytes."""
    ballast, calls = bytes(size), [0]

    def count() -> int:
        assert len(ballast) == size
        calls[0] += bool(count)
        return calls[0]

    return dumps(count, what="a function")


def task(blob: bytes) -> dict[str, Any]:
    return {"function": address(blob), "blobs": {address(blob): blob}}


def test_a_function_starts_anew_with_each_dispatch() -> None:
    functions, blob = Functions(reading), counting()
    functions.keep(task(blob))
    assert [functions[address(blob)]() for _ in range(3)] == [1, 2, 3]

    functions.begin()
    functions.keep({"function": address(blob), "blobs": {}})  # it is sent once
    assert functions[address(blob)]() == 1


def test_tasks_without_a_function_of_their_own() -> None:
    functions = Functions(reading)
    functions.keep({"blobs": {}})
    functions.keep(task(blob := counting()))
    assert functions[address(blob)]() == 1


def test_large_functions_do_not_gather() -> None:
    functions, blob = Functions(reading), counting(4 << 20)
    functions.keep(task(blob))
    gc.disable()  # it counts objects, and there are few
    try:
        seen: list[weakref.ref[Any]] = []
        for _ in range(50):
            functions.begin()
            seen.append(weakref.ref(functions[address(blob)]))
        assert sum(each() is not None for each in seen) <= 5
    finally:
        gc.enable()


def test_what_an_earlier_dispatch_has_left_goes_at_rest() -> None:
    functions, blob = Functions(reading), counting()
    functions.keep(task(blob))
    gc.disable()
    try:
        left = weakref.ref(functions[address(blob)])
        assert not functions.garbage
        functions.begin()
        assert functions.garbage
        assert left() is not None
        functions.collect()
        assert left() is None
        assert not functions.garbage
    finally:
        gc.enable()
