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
    return {name: _said(value) for name, value in vars(device).items() if name not in _NOT_SETTINGS}


def _said(value: Any) -> Any:
    """A class by its name, where the versions say what it is: text is quicker to compare."""
    if isinstance(value, type) and value.__module__.partition(".")[0] in _VERSIONED:
        return f"class {value.__module__}.{value.__qualname__}"
    return value


_VERSIONED = frozenset({"pennylane", "pennylane_lightning", "numpy"})
