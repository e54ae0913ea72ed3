"""What all tests share: a data folder of their own, and no engine left behind."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, settings

from tests.services.postgresql import postgresql_server, postgresql_url
from tests.services.s3 import _s3_server, bucket
from tests.waiting import ended, until

# How long an example takes says more of the machine than of what is tested.
settings.register_profile("qcov", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("qcov")

__all__ = ["_s3_server", "bucket", "postgresql_server", "postgresql_url"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """How long `tests/crash` goes on; pytest reads options only here."""
    crash = parser.getgroup("crash")
    crash.addoption("--crash-rounds", type=int, default=40, help="rounds with killed processes")
    crash.addoption("--crash-seed", type=int, help="the first round's seed; others count on")
    crash.addoption("--crash-report", metavar="PATH", help="write what the rounds have shown here")
    crash.addoption("--dispatches", type=int, default=20, help="that each of many programs makes")


def engine_pid(folder: Path) -> int | None:
    """The engine that a data folder announces, if it lives."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        pid = int(json.loads((folder / "engine.json").read_text())["pid"])
        return pid if psutil.pid_exists(pid) else None
    return None


def stop_engine(folder: Path) -> None:
    """End a folder's engine, and wait until it is gone."""
    pid = engine_pid(folder)
    if pid is None:
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        process.terminate()
        try:
            until(lambda: ended(process), 10)
        except AssertionError:
            process.kill()
            until(lambda: ended(process), 10)


@pytest.fixture(autouse=True)
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The test's own data folder; an engine that it starts there is stopped at its end."""
    folder = tmp_path / "data"
    monkeypatch.setenv("QCOV_DATA_DIR", str(folder))
    monkeypatch.setenv("QCOV_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("QCOV_ENGINE_WORKERS", "2")
    monkeypatch.setenv("QCOV_SDK_NO_CLUSTER", "true")  # tests of it want it
    yield folder
    stop_engine(folder)


@pytest.fixture(scope="session")
def _common_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("common") / "data"
    yield folder
    stop_engine(folder)


@pytest.fixture
def common_engine(data_folder: Path, _common_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """For tests that only need an engine: one for all of them. Returns its data folder."""
    monkeypatch.setenv("QCOV_DATA_DIR", str(_common_folder))
    return _common_folder


@pytest.fixture(name="stop_engine")
def _stop_engine() -> Callable[[Path], None]:
    """Stop the engine of another folder than the test's own."""
    return stop_engine
