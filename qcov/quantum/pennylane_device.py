"""The device under every qelectron, as PennyLane wants a device to be.

Part of the adapter around PennyLane; see `qcov.qexecutors.pennylane_adapter`.
"""

# pyright: basic

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from pennylane.devices import Device, ExecutionConfig
from pennylane.devices.modifiers import simulator_tracking
from pennylane.tape import QuantumScript
from pennylane.transforms.core import CompilePipeline

from qcov.qexecutors import pennylane_adapter as adapter
from qcov.qexecutors.base import Circuit

#: Methods by which a device differentiates, rather than PennyLane around it.
DEVICE_METHODS = ("best", "adjoint", "backprop", "device")


class BatchDevice(Device):
    """A device with an empty pipeline whose batches go to `run`.

    Derivatives are asked of `derivative_device`, if there is one and the method is its own.
    """

    def __init__(self, original: Device) -> None:
        self.original = original
        super().__init__(wires=original.wires)
        self._shots = original.shots  # set on the device itself, as PennyLane once did
        self.executor_wires = adapter.device_wires(original)

    # What `qml.Tracker` is given, be it this device or the original one, sees what happens here.
    @property
    def tracker(self) -> Any:
        """The original device's tracker."""
        return self.original.tracker

    @tracker.setter
    def tracker(self, tracker: Any) -> None:
        if tracker is not self.original.tracker and hasattr(self, "executor_wires"):
            self.original.tracker = tracker

    @property
    def name(self) -> str:
        """What PennyLane calls it."""
        return "qcov.qelectron"

    def run(
        self, circuits: Sequence[Circuit], mcm_method: str | None, postselect_mode: str | None
    ) -> list[Any]:
        """Run circuits and wait for their results."""
        raise NotImplementedError

    def derivative_device(self) -> Any | None:
        """This thread's device that may differentiate by itself, if there is one."""
        raise NotImplementedError

    def remember(self, circuits: Sequence[Circuit], results: Sequence[Any], started: float) -> None:
        """File circuits that `derivative_device` ran."""
        raise NotImplementedError

    def setup_execution_config(
        self, config: ExecutionConfig | None = None, circuit: QuantumScript | None = None
    ) -> ExecutionConfig:
        """Take the choices of the device that differentiates, if one does."""
        config = config or ExecutionConfig()
        device = self._differentiates(config, circuit)
        if device is not None:
            return device.setup_execution_config(config, circuit)
        if config.gradient_method == "best":
            return replace(config, gradient_method=None)
        return config

    def preprocess_transforms(
        self, execution_config: ExecutionConfig | None = None
    ) -> CompilePipeline:
        """Prepare nothing, except for the device that differentiates."""
        config = execution_config or ExecutionConfig()
        if config.use_device_gradient:
            return self.derivative_device().preprocess_transforms(config)  # type: ignore[union-attr]
        return CompilePipeline()

    def supports_derivatives(
        self, execution_config: ExecutionConfig | None = None, circuit: QuantumScript | None = None
    ) -> bool:
        """Whether the method is a device's own and `derivative_device` has it."""
        if execution_config is None:
            return True
        if circuit is None and execution_config.gradient_method in DEVICE_METHODS:
            return True  # while the QNode is made; what a circuit gets is decided when it is there
        return self._differentiates(execution_config, circuit) is not None

    def execute(self, circuits: Any, execution_config: ExecutionConfig | None = None) -> Any:
        """Run a batch."""
        config = execution_config or ExecutionConfig()
        if config.use_device_gradient:
            return self._differentiate("execute", circuits, config)
        mcm: Any = config.mcm_config
        results = self.run(circuits, mcm.mcm_method, mcm.postselect_mode)
        return tuple([as_arrays(result) for result in results])

    def compute_derivatives(
        self, circuits: Any, execution_config: ExecutionConfig | None = None
    ) -> Any:
        """Differentiate a batch."""
        return self.derivative_device().compute_derivatives(circuits, execution_config)  # type: ignore[union-attr]

    def execute_and_compute_derivatives(
        self, circuits: Any, execution_config: ExecutionConfig | None = None
    ) -> Any:
        """Run a batch and differentiate it."""
        return self._differentiate("execute_and_compute_derivatives", circuits, execution_config)

    def supports_jvp(self, execution_config: Any = None, circuit: Any = None) -> bool:  # noqa: ARG002
        """Leave products with Jacobians to PennyLane."""
        return False

    def supports_vjp(self, execution_config: Any = None, circuit: Any = None) -> bool:  # noqa: ARG002
        """Leave products with Jacobians to PennyLane."""
        return False

    def _differentiates(self, config: ExecutionConfig, circuit: Any) -> Any | None:
        if config.gradient_method not in ("adjoint", "backprop"):
            return None  # "best" was decided before, by the QNode
        device = self.derivative_device()
        return device if device and device.supports_derivatives(config, circuit) else None

    def _differentiate(self, method: str, circuits: Any, config: Any) -> Any:
        started = time.time()
        answer = getattr(self.derivative_device(), method)(circuits, config)
        if config.gradient_method == "adjoint":  # whose results go through PennyLane's boundary
            results = answer if method == "execute" else answer[0]
            results = tuple([as_arrays(result) for result in results])
            answer = results if method == "execute" else (results, answer[1])
        results = answer if method == "execute" else answer[0]
        circuits = [adapter.untraced_circuit(circuit) for circuit in circuits]
        self.remember(circuits, [adapter.untraced(result) for result in results], started)
        return answer

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "original": adapter.renew_device(self.original)}


simulator_tracking(BatchDevice)  # in place; as a decorator it would hide the type


def as_arrays(result: Any) -> Any:
    """Make Python's floats NumPy's: Torch would take the former for single precision."""
    if isinstance(result, float):
        return np.float64(result)
    if isinstance(result, tuple):
        return tuple([as_arrays(item) for item in result])
    return result
