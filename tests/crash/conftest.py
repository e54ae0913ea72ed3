"""Rounds in which processes are killed."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # the engines, workers and programs of a round import `chaos` too


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents and item.path.name != "test_checks.py":
            item.add_marker(pytest.mark.process)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A round per seed; the seeds come from the run's own, which pytest prints."""
    for name, part in (("round_seed", 1), ("shared_seed", 8)):
        if name not in metafunc.fixturenames:
            continue
        rounds = max(1, metafunc.config.getoption("--crash-rounds") // part)
        first = metafunc.config.getoption("--crash-seed")
        if first is None:
            first = random.Random(metafunc.config.getoption("randomly_seed", 0)).randrange(10**6)
        metafunc.parametrize(name, range(first, first + rounds))


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[Any, Any]:
    """What the workflow comes to when nothing is killed."""
    from chaos.rounds import reference_of

    return reference_of(tmp_path_factory.mktemp("reference") / "round")


@pytest.fixture(scope="session")
def shown(request: pytest.FixtureRequest) -> Callable[[Any], None]:
    """Takes what a round has shown, and writes the report anew if one is asked for."""
    from chaos.report import markdown

    outcomes: list[Any] = []
    path, rounds = map(request.config.getoption, ("--crash-report", "--crash-rounds"))

    def show(outcome: Any) -> None:
        outcomes.append(outcome)
        if path:
            shown = sorted(outcomes, key=lambda outcome: outcome.seed)
            Path(path).write_text(markdown(shown, rounds=rounds))

    return show


@pytest.fixture
def engine_of() -> Callable[[Path], psutil.Process]:
    """The engine of a data folder, as a process."""

    def find(folder: Path) -> psutil.Process:
        return psutil.Process(json.loads((folder / "engine.json").read_text())["pid"])

    return find
