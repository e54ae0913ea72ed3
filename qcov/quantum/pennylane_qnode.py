"""The QNode under every qelectron: how calls become circuits, and results what the caller expects.

Part of the adapter around PennyLane; see `qcov.qexecutors.pennylane_adapter`.
"""

# pyright: basic

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pennylane
from pennylane.debugging import pldb_device_manager
from pennylane.devices import ExecutionConfig
from pennylane.exceptions import QuantumFunctionError
from pennylane.measurements import (
    MeasurementProcess,
    MutualInfoMP,
    PurityMP,
    Shots,
    VnEntropyMP,
)
from pennylane.queuing import AnnotatedQueue, process_queue
from pennylane.tape import QuantumScript
from pennylane.transforms.core import CompilePipeline

from qcov.errors import CircuitError, UnsupportedInterface
from qcov.qexecutors import pennylane_adapter as adapter
from qcov.quantum.pennylane_device import DEVICE_METHODS, BatchDevice
from qcov.quantum.pennylane_values import (
    all_values,
    interface_of,
    is_mapped_by_jax,
    kind_of,
    order_of,
    orders_to_prepare,
    parameters_of,
    wrapped,
    wrapped_each,
)

qml: Any = pennylane
#: The attribute `pennylane.workflow.qnode` is the decorator; this is the module.
_qnode_module: Any = importlib.import_module("pennylane.workflow.qnode")
_Interface: Any = qml.math.Interface


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A circuit as one call of a QNode built it, and what the call returned."""

    tape: Any
    output: Any
    pipeline: Any  #: the transforms above the circuit
    values: str  #: "numpy", "tensor" (PennyLane's) or "framework" (traced, Torch, JAX)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gradient:
    """How PennyLane shall differentiate a circuit."""

    method: Any
    max_diff: int


_SHIFTS = {
    "finite-diff": qml.gradients.finite_diff,
    "hadamard": qml.gradients.hadamard_grad,
    "spsa": qml.gradients.spsa_grad,
}


def _named(method: Any) -> bool:
    return method is None or isinstance(method, str)


class BatchQNode(pennylane.QNode):
    """A QNode on a `BatchDevice` whose calls share no state, so that threads may share it."""

    device: BatchDevice
    execute_kwargs: dict[str, Any]

    def __init__(self, qnode: Any, device: BatchDevice) -> None:
        super().__init__(**{**qnode._init_args, "device": device})
        self._compile_pipeline = CompilePipeline(qnode.compile_pipeline)
        self._shots = qnode._shots
        self._shots_override_device = qnode._shots_override_device

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the circuit and wait for its value."""
        if qml.capture.enabled():
            raise UnsupportedInterface(
                interface="capture",
                reason="qelectrons hand circuits over, which program capture never makes. "
                "Call qml.capture.disable().",
            )
        return self._impl_call(*args, **kwargs)

    def _impl_call(self, *args: Any, **kwargs: Any) -> Any:
        call = self.build(args, kwargs)
        if self.is_concrete(call):
            circuits, post = self.circuits(call)
            return post(self._run(circuits))
        return self.finish_bound(call, self.bind([call])[0])

    @adapter.unrecorded
    def _run(self, circuits: Sequence[Any]) -> Sequence[Any]:
        if not circuits:
            return ()
        if self.device.tracker.active:
            device = self.device.handing_over(None)
            return device.execute(circuits, ExecutionConfig(mcm_config=self._mcm()))
        return self.device.run(circuits, self.mcm_method, self.postselect_mode)

    def _mcm(self) -> Any:
        return qml.devices.MCMConfig(
            mcm_method=self.mcm_method, postselect_mode=self.postselect_mode
        )

    @property
    def mcm_method(self) -> str | None:
        """How to measure in mid-circuit."""
        return self.execute_kwargs["mcm_method"]

    @property
    def postselect_mode(self) -> str | None:
        """What becomes of shots that postselection drops."""
        return self.execute_kwargs["postselect_mode"]

    # -- building ----------------------------------------------------------------------------

    def build(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
        """Build the circuit of a call, in the caller's thread."""
        kwargs = dict(kwargs)
        shots = self.shots_of_executors(self._get_shots(kwargs))
        with pldb_device_manager(self.device), AnnotatedQueue() as queue:
            output = self.func(*args, **kwargs)
        operations, measurements = process_queue(queue)
        parameters = parameters_of(operations, measurements)
        values = kind_of(parameters)
        trainable = [] if values == "numpy" else qml.math.get_trainable_indices(parameters)
        tape = QuantumScript(operations, measurements, shots, trainable_params=sorted(trainable))
        if not _is_only_measurement(output, tape):
            _qnode_module._validate_qfunc_output(output, tape.measurements)
        pipeline = self._compile_pipeline
        if len(pipeline):
            pipeline = CompilePipeline(pipeline)
            pipeline.set_classical_component(self, args, kwargs)
        return Call(tape=tape, output=output, pipeline=pipeline, values=values)

    def shots_of_executors(self, shots: Any) -> Any:
        """The shots of a circuit; a subclass knows whether executors set their own."""
        return shots

    # -- values that nobody differentiates ---------------------------------------------------

    def is_concrete(self, call: Call) -> bool:
        """Whether the gradient machinery has nothing to do for this call."""
        if call.values == "framework" or call.pipeline.is_informative:
            return False
        if self._interface not in (_Interface.NUMPY, _Interface.AUTO):
            return False
        return not self.device.takes_snapshots

    @adapter.unrecorded
    def shifted(self, call: Call) -> list[Any]:
        """The circuits that a derivative of a call runs besides it, where no device has its own.

        What nobody has marked as trainable is differentiated by all of its parameters.
        """
        tapes = call.pipeline((call.tape,))[0] if len(call.pipeline) else (call.tape,)
        method: Any = self.diff_method
        transform = _SHIFTS.get(method, qml.gradients.param_shift) if _named(method) else method
        shifted: list[Any] = []
        for tape in tapes:
            numbers: Any = adapter.with_numpy_parameters(tape)
            if not tape.trainable_params:
                numbers.trainable_params = range(len(numbers.get_parameters(trainable_only=False)))
            else:
                numbers.trainable_params = tape.trainable_params
            shifted += transform(numbers)[0]
        return shifted

    def circuits(self, call: Call) -> tuple[Sequence[Any], Callable[[Any], Any]]:
        """The circuits that a concrete call runs, and what makes the call's value of their results.

        Neither keeps the gates alive where no executor needs them.
        """
        self._check_postselection(call.tape)
        self._check_method(call.tape)
        circuits, post = (call.tape,), _first
        if len(call.pipeline):
            circuits, process = call.pipeline((call.tape,))
            post = adapter.unrecorded(lambda results: process(tuple(results))[0])
        tensors = [
            call.values == "tensor" and kind_of(all_values(tape)) != "numpy" for tape in circuits
        ]
        autograd = any(tensors) and self._interface == _Interface.AUTO
        if any(tensors) and not self._keeps_tensors(call.tape):
            circuits = [adapter.with_numpy_parameters(tape) for tape in circuits]
        conversions = [
            self._conversion(tape, autograd=autograd, tensor=tensor)
            for tape, tensor in zip(circuits, tensors, strict=True)
        ]
        sent, arrange = self.device.compacted(circuits), _arrangement(call)

        def finish(results: Sequence[Any]) -> Any:
            typed = self.device.as_original(results, sent)
            pairs = zip(conversions, typed, strict=True)
            return arrange(post([convert(result) for convert, result in pairs]))

        return sent, finish

    def _check_method(self, tape: Any) -> None:
        """Refuse a derivative that was asked for by name where the bare QNode refuses it.

        Executors of another kind may be able to, and parameter-shift is for those that are not.
        """
        method = self.diff_method
        if method not in ("adjoint", "backprop", "device") or not self._is_bare():
            return
        config = ExecutionConfig(gradient_method=method)  # type: ignore[arg-type]
        if not self.device.original.supports_derivatives(config, tape):
            raise QuantumFunctionError(
                f"Device {self.device} does not support {method} with requested circuit."
            )

    def _check_postselection(self, tape: Any) -> None:
        """Let the original device refuse what it cannot do, as it does before anything runs."""
        if not self.postselect_mode:
            return
        config = ExecutionConfig(gradient_method=self.diff_method, mcm_config=self._mcm())
        if self.device.original.supports_derivatives(config, tape):
            self.device.original.setup_execution_config(config, tape)

    def _keeps_tensors(self, tape: Any) -> bool:
        """Whether executors get PennyLane's tensors, as the bare QNode's device does."""
        if self._interface == _Interface.AUTO and not self._own_backprop(tape):
            return False
        return self._is_bare()

    def _is_bare(self) -> bool:
        """Whether circuits run here on devices like the original, so that types are the same."""
        return self.device.is_original() and bool(self.device.derivative_devices())

    def _conversion(self, tape: Any, *, autograd: bool, tensor: bool) -> Callable[[Any], Any]:
        """What gives a result the type with which it leaves the bare QNode's interface."""
        if autograd and not self._own_backprop(tape):
            return partial(wrapped, wrap=np.array)
        if tensor and not tape.shots and self.device.original.name in _TAKE_TENSORS:
            wrap = partial(qml.numpy.array, requires_grad=True)
            kinds = [_TENSOR_RESULTS.get(type(m), _TENSOR_RESULT) for m in tape.measurements]
            return partial(wrapped_each, wrap=wrap, kinds=kinds)
        return _unchanged

    # -- values that somebody differentiates, traces, or keeps in a framework ----------------

    @adapter.unrecorded
    def bind(self, calls: Sequence[Call]) -> Sequence[Any]:
        """Run calls of one kind as one batch, with their interface and gradients around it."""
        pipeline = calls[0].pipeline
        tapes, post = pipeline(tuple([call.tape for call in calls]))
        if pipeline.is_informative or not tapes:
            return post(tapes)
        self._check_method(tapes[0])
        gradient = self.gradient(tapes)
        if self._expands(gradient, tapes):
            tapes, stack = _BROADCAST_EXPAND(tapes)  # as the bare QNode does, outside its interface
        else:
            stack = _unchanged
        options = {**self.execute_kwargs, "max_diff": gradient.max_diff}
        if options["cache"] == "auto":
            options["cache"] = False  # its keys, PennyLane's tape hashes, collide
        differentiated = any(tape.trainable_params for tape in tapes)
        results = qml.execute(
            tapes,
            device=self.device.handing_over(_name_of(gradient.method) if differentiated else None),
            diff_method=gradient.method,
            interface=self._interface_for(gradient, tapes),
            gradient_kwargs=self.gradient_kwargs,
            **options,
        )
        return post(stack(results))

    def finish_bound(self, call: Call, result: Any) -> Any:
        """Give a result its interface, where the circuit has no parameters, and its container."""
        if call.pipeline.is_informative:
            return _arrangement(call)(result)
        bare = not all_values(call.tape)
        if bare and self._interface != _Interface.AUTO:
            result = _qnode_module._convert_to_interface(result, self._interface)
        elif not self._own_backprop(call.tape):
            result = wrapped(result, np.array, only=qml.numpy.tensor)
        elif not self._is_bare():
            result = wrapped(result, qml.numpy.array, only=np.ndarray)
        return _arrangement(call)(result)

    def kind(self, call: Call) -> Hashable:
        """Calls of the same kind may be bound as one batch."""
        if len(call.pipeline):
            return object()  # transforms remember the arguments of their call
        gradient = self.gradient([call.tape])
        midway = adapter.measures_midway(call.tape)
        interface = interface_of([call.tape])
        trains = bool(call.tape.trainable_params)  # Torch's adjoint does not know how to mix them
        return (gradient, interface, call.tape.shots, midway, trains)

    def gradient(self, tapes: Sequence[Any]) -> Gradient:
        """Decide how to differentiate circuits that run together.

        The simulators' own derivative is used where all executors can: backprop is right to any
        order, adjoint to the first. PennyLane says nothing when it gives a second
        derivative that it was not asked to prepare, but a wrong one; so parameter-shift is
        prepared for as many orders as are taken. Finite differences are not: taken twice, or
        between numbers of single precision, as they would be then, they are noise.

        Raises:
            CircuitError: By parameter-shift, autograd would get zero for a third derivative.
        """
        method, max_diff = self.diff_method, self.execute_kwargs["max_diff"]
        if method in DEVICE_METHODS:
            if method in ("best", "backprop", "device") and self._differentiates("backprop", tapes):
                return Gradient(method="backprop", max_diff=max_diff)
            order = order_of(tapes)
            wanted = method in ("adjoint", "device") or order is not None
            if wanted and (order or 0) <= 1 and self._differentiates("adjoint", tapes):
                return Gradient(method="adjoint", max_diff=1)
            if (
                (order or 0) > 2
                and interface_of(tapes) == "autograd"
                and self._own_backprop(tapes[0])
            ):
                raise CircuitError(executor="PennyLane", reason=_TOO_HIGH)
            method = "best"  # which is parameter-shift, for this device has no other
        if method in ("best", "parameter-shift"):
            max_diff = max(max_diff, orders_to_prepare(tapes))
        return Gradient(method=method, max_diff=max_diff)

    def _expands(self, gradient: Gradient, tapes: Sequence[Any]) -> bool:
        """Whether broadcast circuits must be taken apart before they are differentiated.

        Adjoint does so in the bare QNode. Parameter-shift cannot differentiate them at all, which
        must not be seen where it only stands in for the bare QNode's backprop.
        """
        if gradient.method in ("adjoint", "backprop"):
            return False
        if self._own_adjoint(tapes[0]):
            return True
        stands_in = gradient.method == "best" and self._own_backprop(tapes[0])
        return stands_in and any(tape.batch_size and tape.trainable_params for tape in tapes)

    def _interface_for(self, gradient: Gradient, tapes: Sequence[Any]) -> Any:
        """The interface; where JAX maps over circuits that the bare QNode traces, one that can."""
        if self._interface not in (_Interface.AUTO, _Interface.JAX):
            return self._interface
        mapped = any(is_mapped_by_jax(value) for tape in tapes for value in all_values(tape))
        stands_in = gradient.method in ("best", "adjoint")
        if mapped and stands_in and self._own_backprop(tapes[0]):
            return _Interface.JAX_JIT
        return self._interface

    def _differentiates(self, method: str, tapes: Sequence[Any]) -> bool:
        if method == "backprop" and any(tape.shots for tape in tapes):
            return False  # whatever a device says
        return self.device.differentiates(_CONFIGS[method], tapes)

    def _own_backprop(self, tape: Any) -> bool:
        """Whether the bare QNode would use backprop."""
        if self.diff_method not in ("best", "backprop") or tape.shots:
            return False
        supports = self.device.original.supports_derivatives
        # Whether Lightning has its best method takes a while to find out; this one it has never.
        return supports(_CONFIGS["backprop"], tape) and supports(
            _CONFIGS[str(self.diff_method)], tape
        )

    def _own_adjoint(self, tape: Any) -> bool:
        """Whether the bare QNode would use adjoint."""
        if self.diff_method not in ("best", "adjoint") or self._own_backprop(tape):
            return False
        return self.device.original.supports_derivatives(_CONFIGS["adjoint"], tape)

    # -- copies ------------------------------------------------------------------------------

    def __copy__(self) -> Any:
        new = super().__copy__()  # a plain QNode, whatever this is
        new.__class__ = type(self)
        return new

    def update(self, **settings: Any) -> Any:
        """The same with other settings."""
        new = super().update(**settings)
        new.__class__ = type(self)
        for key, value in self.__dict__.items():
            new.__dict__.setdefault(key, value)
        return new

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_tape": None, "_qfunc_output": None}


_TOO_HIGH = (
    "it gives autograd 0 for derivatives of third order that it takes by parameter-shift. They "
    "need backprop: choose Simulator('default.qubit') executors only, with threads or "
    "parallel=False, or JAX or Torch"
)
_CONFIGS = {
    method: ExecutionConfig(gradient_method=method)  # type: ignore[arg-type]
    for method in ("best", "adjoint", "backprop")
}
_BROADCAST_EXPAND = CompilePipeline(qml.transforms.broadcast_expand)
#: Devices whose analytic results are PennyLane's tensors where their parameters are.
_TAKE_TENSORS = ("default.qubit", "default.mixed")
_TENSOR_RESULT: Any = np.ndarray | np.float64
#: Measurements that are computed with NumPy's functions, whatever the parameters are.
_TENSOR_RESULTS: Mapping[type, Any] = {
    VnEntropyMP: (),
    MutualInfoMP: (),
    PurityMP: np.ndarray,  # of several circuits in one
}


def is_qnode(value: object) -> bool:
    """Whether `value` is a PennyLane QNode."""
    return isinstance(value, qml.QNode)


def portable(qnode: Any) -> Any:
    """A copy of a QNode that can be pickled even if it was used."""
    new = copy.copy(qnode)
    device = adapter.renew_device(new.device)
    new.device = device
    new._init_args = {**new._init_args, "device": device}
    new._tape = new._qfunc_output = None
    return new


def _is_only_measurement(output: Any, tape: Any) -> bool:
    return len(tape.measurements) == 1 and tape.measurements[0] is output


def _unchanged(result: Any) -> Any:
    return result


def _first(results: Sequence[Any]) -> Any:
    return results[0]


def _name_of(method: Any) -> str | None:
    """A differentiation method as users write it."""
    if isinstance(method, str):
        return "parameter-shift" if method == "best" else method
    return None if method is None else str(getattr(method, "__name__", method))


def _arrangement(call: Call) -> Callable[[Any], Any]:
    """What puts results into the container that the quantum function returned."""
    output, partitioned = call.output, call.tape.shots.has_partitioned_shots
    if isinstance(output, MeasurementProcess) and not partitioned:
        return _unchanged
    return lambda result: _qnode_module._to_qfunc_output_type(result, output, partitioned)


def override_shots(shots: Any, override: int | None) -> Any:
    """Shots as executors want them: 0 leaves them, None makes circuits analytic."""
    return shots if override == 0 else Shots(override)
