"""A PennyLane device that evolves states with Braket's local simulators.

Part of the adapter around PennyLane; see `qcov.qexecutors.pennylane_adapter`.

Braket's own plugin writes each circuit as OpenQASM, which the simulator then parses: four fifths of
what a small circuit takes. Here the simulator gets its gates as the objects that its parser would
make. What is measured in the state, and how shots are drawn from it, is PennyLane's own work, as in
`default.qubit` and `default.mixed`; so whatever those can measure can be measured here.

The simulators' kernels, which are Numba's, end the whole process when two threads are in them at
the same time. So one thread at a time may be; several circuits at once need several processes.
"""

# pyright: basic

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pennylane
from pennylane.devices import Device, ExecutionConfig, MCMConfig, qubit, qubit_mixed
from pennylane.devices.preprocess import (
    decompose,
    validate_device_wires,
    validate_measurements,
)
from pennylane.exceptions import DeviceError
from pennylane.measurements import ClassicalShadowMP, SampleMeasurement, ShadowExpvalMP
from pennylane.tape import QuantumScript
from pennylane.transforms import broadcast_expand, defer_measurements
from pennylane.transforms.core import CompilePipeline

from qcov.qexecutors.braket_gates import angles_of, gate_of

qml: Any = pennylane

# Type checkers may not have the SDK, which some versions of Python have not.
_sdk: Any = importlib.import_module("braket.default_simulator")
_GATES: Any = importlib.import_module("braket.default_simulator.gate_operations").BRAKET_GATES
_Kraus: Any = importlib.import_module("braket.default_simulator.noise_operations").Kraus
_Measure = Callable[..., Any]
_SIMULATORS: dict[str, tuple[Any, _Measure]] = {
    "braket_sv": (_sdk.StateVectorSimulator, qubit.measure_final_state),
    "braket_dm": (_sdk.DensityMatrixSimulator, qubit_mixed.measure_final_state),
}

_kernels = threading.Lock()


def _renew_lock() -> None:
    global _kernels
    _kernels = threading.Lock()  # another thread of the parent's may have held it


os.register_at_fork(after_in_child=_renew_lock)


class LocalBraketDevice(Device):
    """Circuits on one of Braket's local simulators.

    Args:
        wires: As `qml.device` takes them.
        backend: "braket_sv" for state vectors, "braket_dm" for density matrices and noise.
        batch_size: How many gates the simulator multiplies before it applies them to a state.
    """

    def __init__(
        self, wires: int | tuple[Any, ...] | None, *, backend: str, batch_size: int = 1
    ) -> None:
        super().__init__(wires=wires)
        kind, self._measure = _SIMULATORS[backend]
        self._simulator = kind()
        self._mixed = backend == "braket_dm"
        self._batch_size = batch_size
        # As PennyLane's own devices do, so that NumPy's seed decides about shots.
        self._rng = np.random.default_rng(np.random.randint(10_000_000))

    @property
    def name(self) -> str:
        """What PennyLane's messages call it."""
        return "Braket's local density matrix" if self._mixed else "Braket's local state vector"

    def setup_execution_config(
        self,
        config: ExecutionConfig | None = None,
        circuit: QuantumScript | None = None,  # noqa: ARG002  # PennyLane passes it
    ) -> ExecutionConfig:
        """Measurements in mid-circuit become measurements at the end, on wires of their own."""
        config = config or ExecutionConfig()
        asked: Any = config.mcm_config
        method = asked.mcm_method
        if method not in (None, "device", "deferred"):
            raise DeviceError(
                f"{self.name} measures in mid-circuit by 'deferred', not {str(method)!r}"
            )
        return replace(config, mcm_config=MCMConfig(mcm_method="deferred"))

    def preprocess_transforms(self, execution_config: ExecutionConfig | None = None) -> Any:  # noqa: ARG002
        """Bring circuits to gates that the simulator knows."""
        pipeline: Any = CompilePipeline()
        # Before measurements are deferred to wires that the device need not have.
        pipeline.add_transform(validate_device_wires, self.wires, name=self.name)
        pipeline.add_transform(defer_measurements, allow_postselect=False)
        pipeline.add_transform(
            decompose,
            stopping_condition=self._knows,
            skip_initial_state_prep=False,
            name=self.name,
        )
        pipeline.add_transform(
            validate_measurements, sample_measurements=_can_be_sampled, name=self.name
        )
        pipeline.add_transform(broadcast_expand)
        return pipeline

    def execute(
        self,
        circuits: Any,
        execution_config: ExecutionConfig | None = None,  # noqa: ARG002  # PennyLane passes it
    ) -> tuple[Any, ...]:
        """Run circuits, one after the other."""
        return tuple(self._run(circuit.map_to_standard_wires()) for circuit in circuits)

    def _knows(self, operation: Any) -> bool:
        if gate_of(operation) or operation.name in ("QubitUnitary", "GlobalPhase"):
            return True
        if isinstance(operation, qml.operation.Channel):
            return self._mixed
        return operation.has_matrix and not operation.has_decomposition

    def _run(self, circuit: QuantumScript) -> Any:
        count = circuit.num_wires
        simulation = self._simulator.initialize_simulation(
            qubit_count=count, shots=0, batch_size=self._batch_size
        )
        operations = [_translated(operation) for operation in circuit.operations]
        with _kernels:
            simulation.evolve(operations)
        state = simulation.density_matrix if self._mixed else simulation.state_vector
        tensor = np.reshape(state, [2] * (count * (2 if self._mixed else 1)))
        return self._measure(circuit, tensor, False, rng=self._rng)


def _can_be_sampled(measurement: Any) -> bool:
    return isinstance(measurement, SampleMeasurement | ClassicalShadowMP | ShadowExpvalMP)


def _translated(operation: Any) -> Any:
    """An operation as the simulator's own."""
    targets = tuple(operation.wires)
    name = gate_of(operation)
    if name is not None:
        return _GATES[name](targets, *angles_of(operation))
    if operation.name == "GlobalPhase":
        return _GATES["gphase"](targets, -float(operation.data[0]))
    if isinstance(operation, qml.operation.Channel):
        return _Kraus(targets, operation.kraus_matrices())
    return _GATES["unitary"](targets, np.asarray(operation.matrix(), dtype=complex))


def most_qubits(backend: str) -> int:
    """How many qubits a local simulator has, as Braket says."""
    kind, _ = _SIMULATORS[backend]
    return kind().properties.paradigm.qubitCount
