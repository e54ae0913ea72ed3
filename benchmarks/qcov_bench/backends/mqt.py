"""Circuits of MQT Bench, where it is installed.

Quetschlich, Burgholzer, Wille, "MQT Bench: Benchmarking software and design automation tools for
quantum computing", Quantum 7 (2023), arXiv:2204.13719.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pennylane as qml

from qcov.errors import CannotMeasure, suggest
from qcov_bench.backends.qasm import without_last_measurements
from qcov_bench.backends.workload import Workload, fixed


def builder(name: str) -> Callable[[int, int, int], Workload]:
    """What makes circuits of a benchmark, at the level that depends on no device.

    Raises:
        CannotMeasure: MQT Bench is not installed, or has no such benchmark.
    """
    bench = _bench(name)

    def build(wires: int, _depth: int, _seed: int) -> Workload:
        try:
            circuit = bench.get_benchmark_indep(name, wires)
        except Exception as error:  # its benchmarks raise what they like
            reason = f"MQT Bench says: {error}"
            advice = "Ask for another number of qubits."
            raise CannotMeasure(
                what=f"mqt:{name} with {wires} qubits", reason=reason, advice=advice
            ) from error
        script = qml.tape.make_qscript(qml.from_qiskit(circuit, measurements=[]))()
        return fixed(without_last_measurements(script.operations), circuit.num_qubits)

    build.__doc__ = f"MQT Bench's {name}."
    return build


def _bench(name: str) -> Any:
    try:
        import mqt.bench
        from mqt.bench.benchmarks import get_available_benchmark_names
    except ImportError as error:
        raise CannotMeasure(
            what=f"mqt:{name}",
            reason="MQT Bench is not installed",
            advice="Install it: pip install mqt.bench.",
        ) from error
    known = get_available_benchmark_names()
    if name not in known:
        reason = "MQT Bench has no such benchmark"
        raise CannotMeasure(what=f"mqt:{name}", reason=reason, advice=suggest(name, known))
    return mqt.bench
