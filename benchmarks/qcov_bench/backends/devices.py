"""PennyLane's devices without qcov as subjects: the yardstick, and the peers."""

from __future__ import annotations

import importlib.util
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pennylane as qml

from qcov.errors import CannotMeasure, InvalidSetting, suggest
from qcov.qexecutors.qiskit_names import AER, STATEVECTOR, local_name
from qcov_bench.backends.subject import Run, timed
from qcov_bench.backends.workload import Numbers, Workload

_NEEDS = {
    "qiskit.aer": ("pennylane_qiskit", "qcov[qiskit]"),
    "qiskit.remote": ("pennylane_qiskit", "qcov[qiskit]"),
    "braket.local.qubit": ("braket.pennylane_plugin", "qcov[braket]"),
}
_ONLY_SHOTS = ("qiskit.aer", "qiskit.remote")  # without any they take 1,024, unasked
_FAKE = "FakeGuadalupeV2"  #: 16 qubits, on a heavy-hexagon lattice

#: Those that are measured where nobody says which.
USUAL = ("qiskit.aer", f"qiskit.remote:{_FAKE}", "braket.local.qubit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A peer that is not measured, and why."""

    label: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSubject:
    """A device by PennyLane's name and options; see `subject.Subject`."""

    device: str
    options: Mapping[str, Any]
    label: str
    role: str = "peer"
    bare: str | None = None
    identity: str = ""

    def refusal(self, shots: int | None) -> str | None:
        """Those that have shots only would take some unasked."""
        only_shots = shots is None and self.device in _ONLY_SHOTS
        return "it has no analytic results" if only_shots else None

    def estimate(self, circuit: Any, count: int) -> float | None:  # noqa: ARG002
        """Nothing: they run on this machine."""
        return 0.0

    @contextmanager
    def open(self, workload: Workload, shots: int | None) -> Generator[_Runner]:
        """A QNode on a new device."""
        device = qml.device(self.device, wires=workload.wires, **self.options)
        qnode = qml.QNode(workload.function(shots=shots), device, diff_method="parameter-shift")
        yield _Runner(qml.set_shots(qnode, shots=shots))


class _Runner:
    """Runs circuits of one case on one device, as PennyLane does it best."""

    def __init__(self, qnode: Any) -> None:
        self._qnode = qnode

    def call(self, point: Numbers) -> Run:
        """One call of the QNode."""
        seconds, value = timed(lambda: self._qnode(point))
        return Run(seconds=seconds, values=[value], circuits=1)

    def batch(self, points: Sequence[Numbers]) -> Run:
        """By one `qml.execute`, which is faster than a call for each."""
        build = qml.workflow.construct_tape(self._qnode)
        device = self._qnode.device

        def all_at_once() -> Sequence[Any]:
            tapes = [build(point) for point in points]
            return qml.execute(tapes, device, diff_method=None)

        seconds, values = timed(all_at_once)
        return Run(seconds=seconds, values=values, circuits=len(points))

    def gradient(self, point: Numbers) -> Run:
        """By `qml.grad`: the circuit itself, and those that parameters are shifted in."""
        trainable = qml.numpy.array(point, requires_grad=True)
        seconds, _ = timed(lambda: qml.grad(self._qnode)(trainable))
        shifted, _ = qml.gradients.param_shift(qml.workflow.construct_tape(self._qnode)(trainable))
        return Run(seconds=seconds, values=(), circuits=1 + len(shifted))


def peer(name: str) -> DeviceSubject | Missing:
    """A peer by its name: a PennyLane device, and behind a colon the fake backend that it is given.

    Raises:
        CannotMeasure: There is no such device, or no such fake backend.

    Example:
        >>> peer("default.qubit").label
        'PennyLane default.qubit'
    """
    device, _, backend = name.partition(":")
    label = label_of(name)
    module, extra = _NEEDS.get(device, ("pennylane", "qcov"))
    if not _installed(module):
        return Missing(label=label, reason=f"not installed (pip install '{extra}')")
    if device not in qml.plugin_devices:
        advice = suggest(device, qml.plugin_devices)
        raise CannotMeasure(what=f"the peer {name!r}", reason="no such device", advice=advice)
    if device == "qiskit.remote":
        return _on_fake_backend(label, backend or _FAKE)
    options = {"backend": backend} if backend else {}
    return DeviceSubject(device=device, options=options, label=label)


def label_of(name: str) -> str:
    """What a peer is called, by the name that it is asked for."""
    return f"PennyLane {name}"


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package that it would be in
        return False


def _on_fake_backend(label: str, name: str) -> DeviceSubject:
    from qiskit_ibm_runtime import fake_provider

    kind = getattr(fake_provider, name, None)
    if kind is None:
        known = [one for one in vars(fake_provider) if one.startswith("Fake")]
        raise CannotMeasure(
            what=f"the peer {label!r}", reason="no such backend", advice=suggest(name, known)
        )
    return DeviceSubject(device="qiskit.remote", options={"backend": kind()}, label=label)


def bare_of(kind: str, device: str | None, backend: str | None) -> str | None:
    """The peer that is an executor's device without qcov; None if there is none.

    Args:
        kind: The name of the executor's class.
        device: Its setting of this name.
        backend: Its setting of this name.

    Example:
        >>> bare_of("Simulator", "lightning.qubit", None)
        'lightning.qubit'
    """
    if kind == "LocalBraketQubitExecutor":
        return f"braket.local.qubit:{backend}" if backend else "braket.local.qubit"
    if kind == "QiskitExecutor":
        return _bare_of_qiskit(backend) if device == "local_sampler" else None
    return device if device in qml.plugin_devices else None


def _bare_of_qiskit(backend: str | None) -> str | None:
    """The plugin's device for a backend on this machine; it has none for Qiskit's state vector."""
    name = local_name(backend)
    if name == AER:
        return "qiskit.aer"
    kind = None if name == STATEVECTOR else _fake_kind(name)
    return kind and f"qiskit.remote:{kind}"


def _fake_kind(name: str) -> str | None:
    """The class of a fake backend, however its name is written; None if there is none."""
    try:
        from qcov.qexecutors.qiskit_local import fake_backend

        return type(fake_backend(name, "QiskitExecutor")).__name__
    except (ImportError, InvalidSetting):
        return None
