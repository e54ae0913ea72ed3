"""What tells one simulator device from another: all that decides about results but the circuit.

Part of the adapter around PennyLane; see `qcov.qexecutors.pennylane_adapter`.
"""

# pyright: basic

from __future__ import annotations

from functools import cache
from importlib import metadata
from typing import Any

import pennylane
from pennylane.devices import Device

#: What a device carries around that is not a setting of it.
_NOT_SETTINGS = frozenset(
    {"tracker", "_shots", "_wires", "_wire_map", "_rng", "_debugger", "_statevector", "_tensornet"}
)


@cache
def device_versions(name: str) -> tuple[str, ...]:
    """Of PennyLane, and of the package that a device comes from."""
    (entry,) = metadata.entry_points(group="pennylane.plugins", name=name)
    plugin = () if entry.dist is None else (entry.dist.name, entry.dist.version)
    return (pennylane.version(), *plugin)


def device_settings_of(device: Device) -> dict[str, Any]:
    """The settings that a device was made with, as far as it keeps them."""
    return {name: value for name, value in vars(device).items() if name not in _NOT_SETTINGS}
