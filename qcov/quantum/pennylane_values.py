"""What the parameters of circuits are: numbers, or values that a framework follows.

Part of the adapter around PennyLane; see `qcov.qexecutors.pennylane_adapter`.
"""

# pyright: basic

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pennylane
from pennylane.ops.functions import bind_new_parameters
from pennylane.tape import QuantumScript

from qcov.qexecutors import pennylane_adapter as adapter
from qcov.qexecutors import pennylane_structure as structure

qml: Any = pennylane

#: Orders of derivatives that parameter-shift is prepared for with Torch. Each costs the first one
#: some hundredths of its time, and one that is not prepared would be wrong without a word.
_TORCH_ORDERS = 4


def all_values(tape: Any) -> list[Any]:
    """All parameters of a circuit, its observables' too."""
    return parameters_of(tape.operations, tape.measurements)


def parameters_of(operations: Iterable[Any], measurements: Iterable[Any]) -> list[Any]:
    """All parameters, in PennyLane's order."""
    values = [value for operation in operations for value in operation.data]
    for measurement in measurements:
        if measurement.obs is not None:
            values += measurement.obs.data
    return values


_SCALARS = frozenset({float, int, bool, complex, np.float64, np.complex128, np.int64})
_NUMBERS = _SCALARS | {np.ndarray}


def kind_of(parameters: Sequence[Any]) -> str:
    """Which kind of values a circuit has: "numpy", "tensor" (PennyLane's) or "framework"."""
    kind = "numpy"
    for value in parameters:
        if type(value) in _NUMBERS or isinstance(value, np.generic):
            continue
        if not isinstance(value, qml.numpy.tensor):
            return "framework"
        kind = "tensor"
    return kind


def order_of(tapes: Sequence[Any]) -> int | None:
    """How many derivatives are being taken of circuits; None if their framework does not tell.

    By one parameter or by several: each derivative follows its values with a trace of its own.
    """
    traces = set[int]()
    for value in [value for tape in tapes for value in all_values(tape)]:
        kind = type(value)
        if kind.__module__.startswith("torch") and value.requires_grad:
            return None
        if kind.__name__ == "DynamicJaxprTracer":
            return None  # what is compiled here may be differentiated around the compilation
        traces.update(_traces(value))
    return len(traces)


def orders_to_prepare(tapes: Sequence[Any]) -> int:
    """For how many orders of derivatives parameter-shift must be prepared.

    Torch does not tell how many there will be. What JAX compiles PennyLane differentiates twice.
    Where no second derivative can follow, preparing one would cost autograd its cached Jacobian.
    """
    order = order_of(tapes)
    if order is None:
        return _TORCH_ORDERS if interface_of(tapes) == "torch" else 2
    if order <= 1 and all(interface_of([tape]) in ("autograd", "numpy") for tape in tapes):
        return 1
    return max(order, 2)


def interface_of(tapes: Sequence[Any]) -> str:
    """The framework that the parameters of circuits belong to."""
    return qml.math.get_interface(*(value for tape in tapes for value in all_values(tape)))


def _traces(value: Any) -> Iterator[int]:
    """The derivatives that follow a value: autograd numbers them, JAX has an object for each."""
    while True:
        kind = type(value).__name__
        if kind == "ArrayBox":
            yield value._trace
            value = value._value
        elif kind in ("JVPTracer", "LinearizeTracer"):
            yield id(value._trace)
            value = value.primal
        elif kind == "BatchTracer":
            value = value.val
        else:
            return


def is_traced_by_jax(tape: Any) -> bool:
    """Whether a circuit's values exist only while JAX traces the function that made them."""
    kinds = [kind for value in all_values(tape) for kind in type(value).__mro__]
    return any(kind.__module__.startswith("jax") and kind.__name__ == "Tracer" for kind in kinds)


def is_mapped_by_jax(value: Any) -> bool:
    """Whether `jax.vmap` made a value, maybe within a derivative."""
    while value is not None and type(value).__name__ != "BatchTracer":
        value = getattr(value, "primal", None)
    return value is not None


def wrapped(result: Any, wrap: Callable[[Any], Any], only: Any = object) -> Any:
    """A result whose values of type `only` are put into what `wrap` makes."""
    if isinstance(result, list | tuple):
        return tuple([wrapped(item, wrap, only) for item in result])
    if isinstance(result, dict) or not isinstance(result, only):
        return result
    return wrap(result)


def wrapped_each(result: Any, wrap: Callable[[Any], Any], kinds: Sequence[Any]) -> Any:
    """The results of a circuit's measurements, each in what `wrap` makes if it is of its kind."""
    if len(kinds) == 1:
        return wrapped(result, wrap, kinds[0])
    return tuple([wrapped(one, wrap, kind) for one, kind in zip(result, kinds, strict=True)])


# -- arrays that belong to the user --------------------------------------------------------------


@adapter.unrecorded
def with_own_arrays(tape: Any) -> Any:
    """The same circuit, whatever becomes of the arrays that it was made of."""
    observables = [m.obs for m in tape.measurements if m.obs is not None]
    if not any(map(_has_arrays, (*tape.operations, *observables))):
        return tape
    measurements = [copy.copy(measurement) for measurement in tape.measurements]
    for measurement in measurements:
        if measurement.obs is not None:
            measurement.obs = _with_own_arrays(measurement.obs)
    operations = [_with_own_arrays(operation) for operation in tape.operations]
    return QuantumScript(
        operations, measurements, tape.shots, trainable_params=tape.trainable_params
    )


def _with_own_arrays(operator: Any) -> Any:
    if not _has_arrays(operator):
        return operator
    held = {name: one for name, one in _held_by(operator) if _holds_arrays(one)}
    if held:
        operator = copy.copy(operator)
        for name, one in held.items():
            operator.hyperparameters[name] = _held_copy(one)
    if not any(map(_is_array, operator.data)):
        return operator
    values = [_own(value) if _is_array(value) else value for value in operator.data]
    try:
        return bind_new_parameters(operator, values)
    except Exception:  # noqa: BLE001  # PennyLane cannot for some, such as a product of terms
        return operator


def _held_by(operator: Any) -> Iterator[tuple[str, Any]]:
    """The operators that an operator was made of but does not show as its own parameters."""
    held = getattr(operator, "_hyperparameters", None) or {}
    return ((name, one) for name, one in held.items() if isinstance(one, qml.operation.Operator))


def _held_copy(operator: Any) -> Any:
    own = _with_own_arrays(operator)
    if _has_coefficients(own):
        own = copy.copy(own)
        own._coeffs = own._coeffs.copy()
    return own


def _has_arrays(operator: Any) -> bool:
    for value in operator.data:  # plain loops: this is asked for every gate of every circuit
        if type(value) not in _SCALARS and _is_array(value):
            return True
    if type(operator) in structure.PLAIN_GATES:  # which hold nothing else
        return False
    return any(_holds_arrays(one) for _, one in _held_by(operator))


def _holds_arrays(operator: Any) -> bool:
    return _has_coefficients(operator) or _has_arrays(operator)


def _has_coefficients(operator: Any) -> bool:
    """Whether it has its coefficients in an array of the user's; it shows them as numbers."""
    return isinstance(getattr(operator, "_coeffs", None), np.ndarray)


def _is_array(value: Any) -> bool:
    if isinstance(value, np.ndarray) or hasattr(value, "tocsr"):  # a sparse one
        return True
    return type(value).__module__.startswith("torch") and hasattr(value, "clone")


def _own(array: Any) -> Any:
    """A copy; of a Torch tensor one that its derivatives go through."""
    return array.clone() if hasattr(array, "clone") else array.copy()
