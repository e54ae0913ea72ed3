"""A circuit's row says nothing twice, and gives the whole record back."""

from typing import Any

import pytest

from qcov.records import CircuitRecord
from qcov.store.circuits import from_row, to_row
from qcov.wire import pack

RAN = {
    "id": "abc0001",
    "dispatch_id": "d",
    "node_id": 3,
    "qelectron": "circuit",
    "description": None,
    "executor": "Simulator",
    "device": "lightning.qubit",
    "backend": None,
    "shots": None,
    "wires": 4,
    "structure": "f" * 32,
    "structure_data": None,
    "parameters": [0.1, 0.2],
    "result": 0.5,
    "queued": 1.0,
    "started": 2.0,
    "finished": 3.0,
    "execution_time": 0.1,
    "job_id": None,
    "error": None,
    "cost": None,
    "metadata": {},
}
ONLY = {
    "executor": "Simulator",
    "number": 1,
    "started": 2.0,
    "finished": 3.0,
    "job_id": None,
    "error": None,
}
RECORDS: dict[str, dict[str, Any]] = {
    "plain": RAN | {"attempts": [ONLY]},
    "failed": RAN | {"error": "x", "result": None, "attempts": [ONLY | {"error": "x"}]},
    "two attempts": RAN | {"attempts": [ONLY | {"error": "x"}, ONLY | {"number": 2}]},
    "not persisted": RAN
    | {"structure": None, "parameters": None, "result": None, "attempts": [ONLY]},
    "told more": RAN | {"metadata": {"queue": 3}, "backend": "b", "attempts": [ONLY]},
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_comes_back_whole(name: str) -> None:
    record = RECORDS[name]
    row = to_row(record, "d", 3)

    back = from_row({**row, "text": record["structure_data"]})
    assert record.items() <= back.items()
    assert CircuitRecord.from_dict(back) == CircuitRecord.from_dict(record)


def test_a_plain_row_is_a_fraction_of_the_record() -> None:
    record = RECORDS["plain"]
    assert len(to_row(record, "d", 3)["record"]) < len(pack(record)) / 3
