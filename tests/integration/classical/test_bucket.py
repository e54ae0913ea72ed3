"""An engine with its large payloads in a bucket, which workers and programs reach themselves."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

import qcov as ct
from qcov.classical.engine.client import call
from qcov.errors import DispatchNotFound, StoreUnavailable
from tests.services.s3 import Bucket
from tests.waiting import ended, until

pytestmark = pytest.mark.services

MEGABYTE = 1 << 20


@ct.electron
def make(seed: int) -> bytes:
    return bytes([seed]) * MEGABYTE


@ct.electron
def mix(*parts: bytes) -> bytes:
    return b"".join(part[:1000] for part in parts) * 1000


@ct.electron
@ct.lattice
def inner(data: bytes) -> bytes:
    return mix(data, b"i" * MEGABYTE)


def workflow(data: bytes) -> Any:
    made = [make(seed) for seed in range(4)]
    return {"mixed": mix(data, *made), "inner": inner(made[0]), "first": made[0], "constant": data}


DATA = b"d" * MEGABYTE
FIRST = bytes(MEGABYTE)


def expected(data: bytes) -> dict[str, bytes]:
    parts = [data, *(bytes([seed]) for seed in range(4))]
    return {
        "mixed": b"".join(part[:1] * 1000 for part in parts) * 1000,
        "inner": (bytes(1000) + b"i" * 1000) * 1000,
        "first": FIRST,
        "constant": data,
    }


@pytest.fixture(autouse=True)
def in_bucket(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    monkeypatch.setenv("QCOV_WORKFLOW_DATA_BASE_DIR", bucket.url)
    return bucket


def test_large_values_go_through_the_bucket(run: Any, in_bucket: Bucket, data_folder: Path) -> None:
    result = run(workflow, DATA)

    assert result.status == "COMPLETED", result.error
    assert result.result == expected(DATA)
    assert result.inputs["args"] == [DATA]
    assert ct.get_result(result.dispatch_id).get_node_result(0)["output"].get_deserialized()
    assert len(in_bucket.payloads) > 8
    assert not (data_folder / "blobs").exists()


def test_they_are_there_for_the_next_engine_and_the_next_run(
    run: Any, data_folder: Path, stop_engine: Callable[[Path], None]
) -> None:
    first = run(workflow, DATA).dispatch_id
    stop_engine(data_folder)

    assert ct.get_result(first).result == expected(DATA)
    again = ct.redispatch(first, reuse_previous_results=True)(b"e" * MEGABYTE)
    result = ct.get_result(again, wait=True, timeout=60)
    assert result.result == expected(b"e" * MEGABYTE)


def test_what_is_old_is_pruned(run: Any, in_bucket: Bucket) -> None:
    old = run(workflow, DATA)
    between = time.time()
    before = in_bucket.payloads
    kept = run(lambda: make(7))
    in_bucket.age()

    removed = call("prune", ended_before=between)

    assert removed["dispatches"] == 1
    assert removed["bytes"] > 8 * MEGABYTE
    assert in_bucket.payloads
    assert in_bucket.payloads.isdisjoint(before)
    assert kept.result == bytes([7]) * MEGABYTE
    with pytest.raises(DispatchNotFound):
        _ = old.result


def test_young_payloads_are_not_pruned(run: Any, in_bucket: Bucket) -> None:
    assert run(lambda: make(7)).status == "COMPLETED"
    before = in_bucket.payloads

    assert call("prune", ended_before=time.time() + 1)["dispatches"] == 1
    assert in_bucket.payloads == before


def test_what_was_computed_waits_until_the_server_is_back(
    gate: Any, counter: Any, in_bucket: Bucket
) -> None:
    note, lines = counter

    @ct.electron
    def waiting(data: bytes) -> bytes:
        note("ran")
        gate.pass_through()
        return data * 2

    dispatch_id = ct.dispatch(ct.lattice(waiting))(DATA)
    gate.wait()
    in_bucket.server.stop()
    try:
        gate.let_go()
        printed = until(lambda: call("nodes", dispatch_id=dispatch_id)[0]["stderr"])
        assert "this electron waits: the object store s3://" in printed
        with pytest.raises(StoreUnavailable, match="Is the server up"):
            ct.dispatch(ct.lattice(waiting))(b"f" * MEGABYTE)
    finally:
        in_bucket.server.start()

    assert ct.get_result(dispatch_id, wait=True, timeout=60).result == DATA * 2
    assert lines() == ["ran"]


def test_an_engine_does_not_start_without_the_bucket(
    monkeypatch: pytest.MonkeyPatch, data_folder: Path
) -> None:
    monkeypatch.setenv("QCOV_WORKFLOW_DATA_BASE_DIR", "s3://no-such-bucket")

    with pytest.raises(StoreUnavailable, match=r"object store s3://no-such-bucket .*Make the"):
        ct.dispatch(ct.lattice(make))(1)
    assert "testing-secret" not in (data_folder / "engine.log").read_text()


def test_an_electron_s_variables_do_not_lead_its_value_elsewhere(run: Any) -> None:
    @ct.electron
    def elsewhere() -> bytes:
        os.environ["AWS_ENDPOINT_URL"] = "http://127.0.0.1:1"
        os.environ.pop("AWS_SECRET_ACCESS_KEY")
        return FIRST

    result = run(elsewhere)
    assert result.status == "COMPLETED", result.error
    assert result.result == FIRST


def test_an_engine_that_was_killed_goes_on(
    gate: Any, counter: Any, data_folder: Path, engine_process: Callable[[Path], psutil.Process]
) -> None:
    note, lines = counter

    @ct.electron
    def waiting(data: bytes) -> bytes:
        note("waited")
        gate.pass_through()
        return data

    @ct.electron
    def first() -> bytes:
        note("first")
        return FIRST

    dispatch_id = ct.dispatch(ct.lattice(lambda: waiting(first())))()
    gate.wait()
    engine = engine_process(data_folder)
    engine.kill()
    until(lambda: ended(engine))

    assert ct.get_result(dispatch_id).status == "RUNNING"
    gate.wait()
    gate.let_go()
    assert ct.get_result(dispatch_id, wait=True, timeout=60).result == FIRST
    assert sorted(lines()) == ["first", "waited", "waited"]


def test_engines_of_one_database_share_a_bucket(
    run: Any, postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    stop_engine: Callable[[Path], None],
) -> None:  # fmt: skip
    monkeypatch.setenv("QCOV_WORKFLOW_DATA_DB_URL", postgresql_url)
    monkeypatch.setenv("QCOV_WORKFLOW_DATA_SEAL_KEY", str(tmp_path / "seal.key"))
    dispatch_id = run(workflow, DATA).dispatch_id

    monkeypatch.setenv("QCOV_DATA_DIR", str(tmp_path / "other"))
    try:
        assert ct.get_result(dispatch_id).result == expected(DATA)
        again = ct.redispatch(dispatch_id)(b"e" * MEGABYTE)
        result = ct.get_result(again, wait=True, timeout=60)
        assert result.result == expected(b"e" * MEGABYTE)
    finally:
        stop_engine(tmp_path / "other")


def test_a_server_stores_what_comes_over_http(in_bucket: Bucket) -> None:
    served = call("serve", host="127.0.0.1", port=0)
    address = served["url"]
    flow = ct.lattice(workflow)

    dispatch_id = ct.dispatch(flow, dispatcher_addr=address)(DATA)
    result = ct.get_result(dispatch_id, wait=True, timeout=60, dispatcher_addr=address)
    assert result.result == expected(DATA)
    assert len(in_bucket.payloads) > 8


def test_many_programs_threads_share_a_connection(run: Any) -> None:
    results: list[Any] = []
    threads = [
        threading.Thread(target=lambda n=n: results.append(run(lambda: make(n)).result))
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(results) == [bytes([n]) * MEGABYTE for n in range(4)]
