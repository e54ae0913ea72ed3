"""The public names: a change here is a change for users."""

from __future__ import annotations

import importlib

import pytest

import qcov
import qcov.aio
import qcov.executor
import qcov.fs
import qcov.fs_strategies
import qcov.jobs
import qcov.selectors

PUBLIC = {
    "Budget", "CircuitCache", "Credential", "DepsBash", "DepsCall", "DepsModule", "DepsPip",
    "Electron", "Lattice", "Lepton", "QCluster",
    "Result", "TransportableObject", "__version__", "aio",
    "as_completed", "cancel", "dispatch", "dispatch_sync", "electron", "executor", "fs",
    "fs_strategies", "gather", "get_config", "get_context", "get_result",
    "jobs", "lattice", "leptons",
    "list_dispatches", "list_triggers", "map", "qelectron", "redispatch", "reload_config",
    "selectors", "set_config", "status", "stop_triggers", "triggers", "wait", "watch",
}  # fmt: skip
EXECUTORS = {
    "AsyncBaseExecutor", "BaseExecutor", "BaseQExecutor", "BraketQubitExecutor",
    "DaskExecutor", "DaskQExecutor",
    "DispatchInfo", "FakeQPU", "IBMQExecutor", "LocalBraketQubitExecutor", "LocalExecutor",
    "QCluster", "QiskitExecutor", "Simulator",
    "wrapper_fn",
}  # fmt: skip
SELECTORS = {
    "Capable", "Cheapest", "Choice", "Cyclic", "Fastest", "Filter", "InOrder", "LeastBusy", "Only",
    "QueueAware", "Random", "Selector", "Weighted",
}  # fmt: skip
FS = {"File", "FileTransfer", "Folder", "Order", "TransferFromRemote", "TransferToRemote"}
STRATEGIES = {"Blob", "FileTransferStrategy", "GCloud", "HTTP", "Rsync", "S3", "Shutil"}
JOBS = {"attach", "cancel", "list_jobs", "refresh", "resolve"}
AWAITABLE = {"cancel", "dispatch", "dispatch_sync", "get_result", "redispatch"}


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("qcov", PUBLIC),
        ("qcov.executor", EXECUTORS),
        ("qcov.aio", AWAITABLE),
        ("qcov.jobs", JOBS),
        ("qcov.selectors", SELECTORS),
        ("qcov.fs", FS),
        ("qcov.fs_strategies", STRATEGIES),
    ],
)
def test_the_public_names_are_these(module: str, names: set[str]) -> None:
    assert set(importlib.import_module(module).__all__) == names


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_name_can_be_loaded(name: str) -> None:
    assert getattr(qcov, name) is not None


@pytest.mark.parametrize("name", sorted(EXECUTORS))
def test_every_executor_can_be_loaded(name: str) -> None:
    assert callable(getattr(qcov.executor, name))


def test_completion_offers_the_public_names() -> None:
    assert dir(qcov) == sorted(PUBLIC)
    assert dir(qcov.executor) == sorted(EXECUTORS)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Electrn'"):
        qcov.Electrn  # noqa: B018
    with pytest.raises(AttributeError, match="Known: AsyncBaseExecutor, "):
        qcov.executor.SlurmExecutr  # noqa: B018
