"""Whether a PennyLane device can run a circuit, asked of its own preprocessing.

Part of the adapter around PennyLane; see `qcov.qexecutors.pennylane_adapter`.
"""

# pyright: basic

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pennylane
from pennylane.devices import ExecutionConfig
from pennylane.workflow._setup_transform_program import _setup_transform_program
from pennylane.workflow.resolution import _resolve_execution_config

from qcov.qexecutors.base import Circuit

qml: Any = pennylane


def refusal_of(make_device: Callable[[], Any], circuit: Circuit) -> str | None:
    """Why a device cannot run `circuit`; None if it can.

    A device decomposes what it does not know, so only its preprocessing can tell. It costs about
    what preparing the circuit does.
    """
    circuits: Any = (circuit,)
    config = ExecutionConfig(interface=qml.math.Interface.NUMPY, gradient_method=None)
    try:
        device = make_device()
        config = _resolve_execution_config(config, device, circuits)
        _, pipeline = _setup_transform_program(device, config, None, 0)
        pipeline(circuits)
    except Exception as error:  # noqa: BLE001  # every device refuses in a way of its own
        return f"cannot run it: {error}"
    return None
