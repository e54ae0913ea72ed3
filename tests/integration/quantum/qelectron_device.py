"""A pytest plugin: PennyLane's device suite finds qelectrons where it looks for a device.

`--device=qcov.device` gives it a qelectron's device, which its plain QNodes run on. With
`--device=qcov.qelectron` its QNodes become qelectrons, as `@ct.qelectron` makes them.

`--device-kwargs original=lightning.qubit` says which device the qelectron is made for, and
`cluster=default.qubit,lightning.qubit` on which ones its executors run.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint
from typing import Any

import pennylane as qml
from pennylane.devices.device_constructor import plugin_devices

import qcov as ct
from qcov.quantum.device import QElectronDevice
from qcov.quantum.qelectron import qelectron  # now: its class is made from PennyLane's own QNode

_QNODE = qml.QNode


def device(
    wires: Any = None, *, original: str = "default.qubit", cluster: str = "", **options: Any
) -> QElectronDevice:
    """The device of a qelectron."""
    qnode = _QNODE(lambda: None, qml.device(original, wires=wires, **options))
    executors = [ct.executor.Simulator(name, parallel=False) for name in cluster.split(",") if name]
    return qelectron(qnode, executors=executors or None).device


def qelectron_device(*args: Any, **settings: Any) -> QElectronDevice:
    """The device of a qelectron, whose QNodes are to be qelectrons."""
    made = device(*args, **settings)
    made.wants_qelectrons = True
    return made


class _QNodeOrQElectron(type):
    def __call__(cls, function: Callable[..., Any], device: Any, **settings: Any) -> Any:
        if not getattr(device, "wants_qelectrons", False):
            return _QNODE(function, device, **settings)
        return qelectron(_QNODE(function, device.original, **settings), executors=device.executor)

    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, _QNODE)


class QNode(metaclass=_QNodeOrQElectron):
    """PennyLane's QNode, but a qelectron on the devices that want one."""


def _decorator(device: Any, **settings: Any) -> Callable[[Callable[..., Any]], Any]:
    return lambda function: QNode(function, device, **settings)


for _name, _make in {"qcov.device": device, "qcov.qelectron": qelectron_device}.items():
    _where = f"{__name__}:{_make.__name__}"
    plugin_devices[_name] = EntryPoint(name=_name, value=_where, group="pennylane.plugins")
qml.QNode = QNode
qml.qnode = _decorator
