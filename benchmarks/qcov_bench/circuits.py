"""What circuits leave behind: memory, disk, records that others read, results that are reused."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pennylane as qml

import qcov as ct
from qcov.settings import data_dir
from qcov_bench.engines import own_engine
from qcov_bench.rows import Row, recorded

_WIRES = 4
_COUNT = 10_000
_BATCH = 1_000
_READ = """
import sys
import qcov as ct

print(len(ct.get_result(sys.argv[1]).get_node_result(0)["qelectron"]))
"""


@ct.qelectron
@qml.qnode(qml.device("lightning.qubit", wires=_WIRES))
def circuit(angles: Any) -> Any:
    """Four rotations, three CNOTs."""
    for wire in range(_WIRES):
        qml.RX(angles[wire], wires=wire)
    for wire in range(_WIRES - 1):
        qml.CNOT(wires=[wire, wire + 1])
    return qml.expval(qml.Z(0))


@ct.electron
def run_many(count: int) -> float:
    """Run circuits; the bytes of memory that each of them took for good."""
    points = np.random.default_rng(0).random((count + _BATCH, _WIRES))
    ct.gather(ct.map(circuit, points[:_BATCH]))  # what a batch needs while it runs
    before = _peak()
    for start in range(_BATCH, len(points), _BATCH):
        ct.gather(ct.map(circuit, points[start : start + _BATCH]))
    return (_peak() - before) / count


def _peak() -> int:
    """The most memory that this process has had, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@ct.lattice
def workflow(count: int) -> float:
    """One electron that runs many circuits."""
    return run_many(count)


def rows() -> list[Row]:
    """The cache, and 10,000 circuits of one electron."""
    return [cache_hit(), *many_circuits()]


def cache_hit(calls: int = 100, rounds: int = 9) -> Row:
    """A synchronous call whose circuit ran before."""
    with tempfile.TemporaryDirectory(prefix="qcov-bench-") as folder:
        bare = circuit.original_qnode
        cached = ct.qelectron(bare, cache=ct.CircuitCache(Path(folder, "cache.sqlite")))
        point = np.linspace(0.1, 0.4, _WIRES)
        mine, others = recorded(
            lambda: [cached(point) for _ in range(calls)],
            lambda: [bare(point) for _ in range(calls)],
            repeats=rounds,
        )
    return Row(
        name="qelectron: a hit in the circuit cache",
        ours=mine / calls,
        theirs=others / calls,
        yardstick="the bare QNode",
        limit=0.3e-3,
    )


def many_circuits() -> list[Row]:
    """What 10,000 circuits of one electron leave in memory, on disk, and for others to read."""
    with own_engine():
        ct.dispatch_sync(workflow)(_BATCH)
        before = _size_of(data_dir())
        result = ct.dispatch_sync(workflow)(_COUNT)
        disk = (_size_of(data_dir()) - before) / (_COUNT + _BATCH)
        command = [sys.executable, "-c", _READ, result.dispatch_id]
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        memory = result.result
    missing = _COUNT + _BATCH - int(found)
    name = f"{_COUNT:,} circuits of an electron:"
    return [
        Row(name=f"{name} memory, each", ours=memory, theirs=None, limit=2000, unit="B"),
        Row(name=f"{name} disk, each", ours=disk, theirs=None, limit=1000, unit="B"),
        Row(name=f"{name} not readable elsewhere", ours=missing, theirs=None, limit=0, unit=""),
    ]


def _size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
