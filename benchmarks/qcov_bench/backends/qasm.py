"""Circuits from OpenQASM files, by whichever importer is installed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pennylane as qml

from qcov.errors import CannotMeasure
from qcov_bench.backends.workload import Workload, fixed

_SUFFIXES = (".qasm", ".qasm2", ".qasm3")
_VERSION = re.compile(r"^\s*OPENQASM\s+(\d)", re.MULTILINE)
_INCLUDE = re.compile(r'\binclude\s+"stdgates\.inc"\s*;')


@dataclass(frozen=True, slots=True, kw_only=True)
class FileCircuit:
    """What a file says."""

    workload: Workload
    gates: int
    digest: str  #: of the text


def files_in(folder: Path) -> list[Path]:
    """The OpenQASM files of a folder, by name.

    Raises:
        CannotMeasure: It has none.
    """
    found = sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES)
    if not found:
        raise CannotMeasure(
            what=f"the folder {folder}",
            reason="it has no OpenQASM file",
            advice=f"Their names end in {', '.join(_SUFFIXES)}.",
        )
    return found


def read(path: Path) -> FileCircuit:
    """The circuit of a file; measurements at its end are left away, as all qubits are measured.

    Raises:
        CannotMeasure: The file cannot be read, is no circuit, or nothing here can import it.
    """
    try:
        text = path.read_text(encoding="utf-8")
        operations = without_last_measurements(_operations(text))
    except CannotMeasure:
        raise
    except Exception as error:  # importers raise what they like
        reason = f"{type(error).__name__}: {_first_line(error)}"
        raise _refused(path, reason) from error
    if not operations:
        raise _refused(path, "it has no gates")
    operations, wires = _numbered(operations)
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return FileCircuit(workload=fixed(operations, wires), gates=len(operations), digest=digest)


def _refused(path: Path, reason: str) -> CannotMeasure:
    advice = "Give a file in OpenQASM 2 or 3 whose gates are known to PennyLane."
    return CannotMeasure(what=f"the file {path}", reason=reason, advice=advice)


def _operations(text: str) -> list[Any]:
    version = _VERSION.search(text)
    if version is not None and version[1] == "3":
        return _queued(_import_3(text))
    return _queued(qml.from_qasm(text, measurements=[]))


def _import_3(text: str) -> Callable[[], Any]:
    """By Qiskit where its importer is there, which knows more of the language; or by PennyLane."""
    try:
        import qiskit_qasm3_import  # noqa: F401  # Qiskit looks for it
        from qiskit import qasm3
    except ImportError:
        return qml.from_qasm3(_INCLUDE.sub("", text))  # which knows the standard gates anyway
    return qml.from_qiskit(qasm3.loads(text), measurements=[])


def _queued(function: Callable[[], Any]) -> list[Any]:
    return list(qml.tape.make_qscript(function)().operations)


def without_last_measurements(operations: Sequence[Any]) -> list[Any]:
    """The operations up to the measurements after which nothing is done to a qubit."""
    kept: list[Any] = []
    busy: set[Any] = set()
    for operation in reversed(operations):
        measures = isinstance(operation, qml.ops.MidMeasure)
        if measures and not operation.reset and not busy.intersection(operation.wires):
            continue
        if isinstance(operation, qml.ops.Conditional):
            busy.update(_measured(operation))
        busy.update(operation.wires)
        kept.append(operation)
    return kept[::-1]


def _measured(operation: Any) -> list[Any]:
    return [wire for one in operation.meas_val.measurements for wire in one.wires]


def _numbered(operations: Sequence[Any]) -> tuple[list[Any], int]:
    """The operations on wires that are numbered in the order of their names."""
    labels = qml.wires.Wires.all_wires([operation.wires for operation in operations])
    numbers = {label: number for number, label in enumerate(sorted(labels, key=_natural))}
    return [operation.map_wires(numbers) for operation in operations], len(numbers)


def _natural(label: Any) -> tuple[Any, ...]:
    """So that q[10] comes after q[9]."""
    parts = re.split(r"(\d+)", str(label))
    return tuple((part.isdigit(), int(part) if part.isdigit() else part) for part in parts)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
