"""What PennyLane's operations are called at Amazon Braket.

Names are those of Braket's OpenQASM, in which its local simulators know the gates too. Only names
are here: nothing needs an SDK.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

#: Gates that take their parameters as PennyLane does. The last ones come with Braket's plugin.
GATES = {
    "Identity": "i",
    "PauliX": "x",
    "PauliY": "y",
    "PauliZ": "z",
    "Hadamard": "h",
    "S": "s",
    "Adjoint(S)": "si",
    "SX": "v",
    "Adjoint(SX)": "vi",
    "T": "t",
    "Adjoint(T)": "ti",
    "RX": "rx",
    "RY": "ry",
    "RZ": "rz",
    "PhaseShift": "phaseshift",
    "U1": "phaseshift",
    "CNOT": "cnot",
    "CY": "cy",
    "CZ": "cz",
    "SWAP": "swap",
    "ISWAP": "iswap",
    "Adjoint(ISWAP)": "pswap",
    "ECR": "ecr",
    "Toffoli": "ccnot",
    "CSWAP": "cswap",
    "ControlledPhaseShift": "cphaseshift",
    "IsingXX": "xx",
    "IsingYY": "yy",
    "IsingZZ": "zz",
    "IsingXY": "xy",
    "CPhaseShift00": "cphaseshift00",
    "CPhaseShift01": "cphaseshift01",
    "CPhaseShift10": "cphaseshift10",
    "PSWAP": "pswap",
    "GPi": "gpi",
    "GPi2": "gpi2",
    "PRx": "prx",
    "MS": "ms",
    "AAMS": "ms",
}


def gate_of(operation: Any) -> str | None:
    """Braket's name of an operation; None if it has none."""
    if operation.name == "Identity" and len(operation.wires) != 1:
        return None
    return GATES.get(operation.name)


def angles_of(operation: Any) -> Sequence[float]:
    """The angles of a gate of `GATES`, as Braket takes them."""
    if operation.name == "Adjoint(ISWAP)":
        return (3 * math.pi / 2,)
    if operation.name == "MS":  # half a turn, where AAMS says how much
        return (*map(float, operation.data), math.pi / 2)
    return [float(value) for value in operation.data]
