"""Circuits on Qiskit's samplers, next to PennyLane's own plugin for Qiskit in the same run."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from typing import Any

import numpy as np
import pennylane as qml

from qcov.qexecutors.base import CircuitBatch
from qcov_bench.rows import LeftOut, Row, interleaved

_WIRES = 4
_CIRCUITS = 20
_SHOTS = 1024
_PLUGIN = "PennyLane-Qiskit"


def rows() -> list[Row | LeftOut]:
    """A batch on a fake backend as one job, a gradient, and the conversion of circuits."""
    missing = [name for name in ("qiskit_aer", "pennylane_qiskit") if find_spec(name) is None]
    if missing:
        reason = f"{', '.join(missing)} not installed: pip install 'qcov[qiskit]'"
        return [LeftOut(name="Qiskit", reason=reason)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Qiskit's own plugins
        return [batch_of_circuits(), gradient(), conversion()]


def batch_of_circuits(repeats: int = 5) -> Row:
    """20 circuits on a backend with noise: one job, and one after the other."""
    scripts = [_script(angles) for angles in _angles(_CIRCUITS)]
    ours, theirs = _on_the_same_backend(scripts, repeats)
    return Row(
        name=f"{_CIRCUITS} circuits on fake_manila, {_SHOTS} shots, in one job",
        ours=ours,
        theirs=theirs,
        yardstick=f"{_PLUGIN}, qiskit.remote",
        ratio=0.1,
        count=_CIRCUITS,
    )


def gradient(repeats: int = 5) -> Row:
    """The shifted circuits of a gradient of four angles."""
    (angles,) = _angles(1)
    script = _script(angles)
    script.trainable_params = range(_WIRES)
    shifted, _ = qml.gradients.param_shift(script)
    ours, theirs = _on_the_same_backend(list(shifted), repeats)
    return Row(
        name=f"the {len(shifted)} circuits of a gradient on fake_manila, in one job",
        ours=ours,
        theirs=theirs,
        yardstick=f"{_PLUGIN}, qiskit.remote",
        count=len(shifted),
    )


def conversion(calls: int = 50, repeats: int = 15) -> Row:
    """A circuit of 16 gates as Qiskit's, with its numbers in it."""
    from pennylane_qiskit.converter import circuit_to_qiskit

    from qcov.qexecutors.qiskit_circuits import Parts

    script = _script(np.linspace(0.1, 0.8, 2 * _WIRES), layers=2)
    wires = range(_WIRES)

    def convert() -> Any:
        parts = Parts(wires)
        parts.add(script.operations)
        return parts.structure(wires).circuit(parts.values)

    def convert_by_plugin() -> Any:
        return circuit_to_qiskit(script, _WIRES, diagonalize=False)

    assert convert().count_ops() == convert_by_plugin().count_ops()
    ours, theirs = interleaved(
        lambda: [convert() for _ in range(calls)],
        lambda: [convert_by_plugin() for _ in range(calls)],
        repeats=repeats,
    )
    return Row(
        name=f"a circuit of {len(script.operations)} gates as Qiskit's",
        ours=ours / calls,
        theirs=theirs / calls,
        yardstick=f"{_PLUGIN}'s circuit_to_qiskit",
        limit=3e-4,
    )


def _on_the_same_backend(scripts: list[Any], repeats: int) -> tuple[float, float]:
    from qiskit_ibm_runtime.fake_provider import FakeManilaV2

    from qcov.qexecutors.qiskit import QiskitExecutor

    executor = QiskitExecutor(
        backend="fake_manila", shots=_SHOTS, options={"optimization_level": 1}
    )
    device = qml.device("qiskit.remote", wires=_WIRES, backend=FakeManilaV2())
    batch = CircuitBatch(circuits=tuple(scripts), wires=_WIRES)

    def by_plugin() -> Any:
        return qml.execute(scripts, device, diff_method=None)

    _check(executor.run_batch(batch), by_plugin())
    return interleaved(lambda: executor.run_batch(batch), by_plugin, repeats=repeats)


def _check(ours: Any, theirs: Any) -> None:
    """Both must have run the same circuits: noise is the same, and chance the rest."""
    values = [result.value for result in ours]
    np.testing.assert_allclose(values, np.asarray(theirs, dtype=float), atol=8 / _SHOTS**0.5)


def _angles(count: int) -> Any:
    return np.random.default_rng(1).random((count, _WIRES)) * np.pi


def _script(angles: Any, layers: int = 1) -> Any:
    """Rotations and a ring of CNOTs, as often as there are layers."""
    with qml.queuing.AnnotatedQueue() as queue:
        for layer in range(layers):
            for wire in range(_WIRES):
                qml.RX(angles[layer * _WIRES + wire], wires=wire)
            for wire in range(_WIRES):
                qml.CNOT(wires=[wire, (wire + 1) % _WIRES])
        qml.expval(qml.Z(_WIRES - 1))
    return qml.tape.QuantumScript.from_queue(queue, shots=_SHOTS)
