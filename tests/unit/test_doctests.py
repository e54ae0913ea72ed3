"""The examples in docstrings run, and give what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from collections.abc import Iterator

import pytest

import qcov
import qcov_bench.backends
import qcov_server

#: Modules that do something when they are imported.
PROGRAMS = {"qcov.__main__"}


def modules() -> Iterator[str]:
    for package in (qcov, qcov_server, qcov_bench.backends):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if found.name not in PROGRAMS and ".migrations." not in found.name:
                yield found.name


@pytest.mark.parametrize("name", list(modules()))
def test_examples(name: str) -> None:
    if "braket_local" in name:  # of which the libraries are on some Pythons only
        pytest.importorskip("braket")
    module = importlib.import_module(name)

    failed, _ = doctest.testmod(module, optionflags=doctest.ELLIPSIS)

    assert failed == 0
