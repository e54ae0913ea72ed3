"""Circuit records as rows: thousands of them are alike, so nothing is said twice.

What the table has columns for, what is not there, and an only attempt that says nothing new are
left out of a row, and put back when it is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from qcov.records import CircuitRecord
from qcov.wire import pack, unpack

Row = Mapping[str, Any]

_COLUMNS = ("id", "executor", "device", "execution_time", "structure")
_NOTHING: Row = {item.name: None for item in fields(CircuitRecord)} | {"metadata": {}}


def to_row(record: Row, dispatch_id: str, node_id: int) -> dict[str, Any]:
    """The row of a record that a node of a dispatch left."""
    left_out = {*_COLUMNS, "dispatch_id", "node_id", "structure_data"}
    if record.get("attempts") == [_only_attempt(record)]:
        left_out.add("attempts")
    rest = {
        name: value
        for name, value in record.items()
        if name not in left_out and value != _NOTHING.get(name)
    }
    columns = {name: record[name] for name in _COLUMNS}
    return {"dispatch_id": dispatch_id, "node_id": node_id, "record": pack(rest), **columns}


def from_row(row: Row) -> dict[str, Any]:
    """The record that `to_row` made a row of; `row` has the text of its structure too."""
    columns = {name: row[name] for name in (*_COLUMNS, "dispatch_id", "node_id")}
    record = {**_NOTHING} | unpack(row["record"]) | columns | {"structure_data": row["text"]}
    if record["attempts"] is None:
        record["attempts"] = [_only_attempt(record)]
    return record


def _only_attempt(record: Row) -> dict[str, Any]:
    attempt = {name: record.get(name) for name in ("executor", "started", "finished", "error")}
    return {**attempt, "number": 1, "job_id": record.get("job_id")}
