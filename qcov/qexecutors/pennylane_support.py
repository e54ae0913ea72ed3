"""What a device says that it can do, asked once for circuits that are alike.

Part of the adapter around PennyLane; see `qcov.qexecutors.pennylane_adapter`.
"""

# pyright: basic

from __future__ import annotations

from collections.abc import Hashable
from typing import Any
from weakref import WeakKeyDictionary

from pennylane.devices import Device, ExecutionConfig

from qcov.qexecutors.pennylane_structure import structure_key

_MAX_ANSWERS = 512


#: What each device, which belongs to one thread, has answered.
_answers: WeakKeyDictionary[Device, dict[Hashable, bool]] = WeakKeyDictionary()


def supports_derivatives(device: Device, config: ExecutionConfig, circuit: Any) -> bool:
    """Whether a device can differentiate a circuit.

    Lightning prepares a whole circuit to find out about "adjoint", and PennyLane asks five times
    for one gradient, which is a quarter of what the gradient takes.
    """
    if circuit is None or config.gradient_method != "adjoint":
        return device.supports_derivatives(config, circuit)
    structure = structure_key(circuit)
    if structure is None:
        return device.supports_derivatives(config, circuit)
    key = (structure, tuple(circuit.trainable_params))
    known = _answers.setdefault(device, {})
    answer = known.get(key)
    if answer is None:
        if len(known) >= _MAX_ANSWERS:
            known.clear()
        answer = known[key] = device.supports_derivatives(config, circuit)
    return answer
