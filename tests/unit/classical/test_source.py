"""The source of functions, as people wrote it."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from qcov.classical.source import source_of


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def inner(*args: Any) -> Any:
        return function(*args)

    return inner


@decorated
def wrapped(x: int) -> int:  # a comment
    return x


class Adder:
    def __call__(self, x: int) -> int:
        return x + 1

    def method(self, x: int) -> int:
        return x


one, other = lambda x: x + 1, lambda x: x + 2


@pytest.mark.parametrize(
    "function", [decorated, wrapped, Adder.method, Adder().method, one, other, Adder]
)
def test_it_is_found_each_time(function: Any) -> None:
    for _ in range(2):
        assert source_of(function) == inspect.getsource(inspect.unwrap(function))


made = eval(compile("lambda: 1", "<nowhere>", "eval"))


@pytest.mark.parametrize("function", [abs, Adder(), functools.partial(one, 1), made])
def test_some_have_none(function: Any) -> None:
    assert source_of(function) == ""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    (tmp_path / "written_by_a_user.py").write_text("def f(x):\n    return x\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("written_by_a_user")
    del sys.modules["written_by_a_user"]


def test_a_new_source_is_found(module: ModuleType) -> None:
    assert source_of(module.f) == "def f(x):\n    return x\n"

    Path(str(module.__file__)).write_text("def f(x):\n    # the same code\n    return x\n")
    importlib.reload(module)

    assert source_of(module.f) == "def f(x):\n    # the same code\n    return x\n"
