"""Circuits with values that are computed here, from the gates' matrices and nothing else.

Matrices and signs follow Nielsen and Chuang, "Quantum Computation and Quantum Information", chapter
4; wire 0 is the leftmost factor, as in PennyLane.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Matrix: TypeAlias = NDArray[np.complex128]


@dataclass(frozen=True, slots=True)
class Gate:
    """A gate by PennyLane's name."""

    name: str
    wires: tuple[int, ...]
    angle: float | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """A circuit and what is measured.

    Args:
        label: What it tests.
        wires: How many wires it has.
        gates: Its gates, in order.
        kind: "expval" or "var" of a Pauli word, "probs" of wires, "counts" or "sample" of all.
        word: A Pauli word such as "ZIX", one letter for each wire.
        of: The wires of "probs".
    """

    label: str
    wires: int
    gates: tuple[Gate, ...]
    kind: str = "expval"
    word: str = ""
    of: tuple[int, ...] = ()


_I, _X = np.eye(2), np.array([[0, 1], [1, 0]])
_Y, _Z = np.array([[0, -1j], [1j, 0]]), np.diag([1, -1])
_PAULIS = {"I": _I, "X": _X, "Y": _Y, "Z": _Z}


def _rotation(pauli: Any) -> Callable[[float], Any]:
    return lambda angle: np.cos(angle / 2) * _I - 1j * np.sin(angle / 2) * pauli


def _controlled(matrix: Any) -> Any:
    size = len(matrix)
    both: Any = np.eye(2 * size, dtype=complex)
    both[size:, size:] = matrix
    return both


_FIXED: dict[str, Any] = {
    "PauliX": _X,
    "PauliY": _Y,
    "PauliZ": _Z,
    "Hadamard": (_X + _Z) / np.sqrt(2),
    "S": np.diag([1, 1j]),
    "T": np.diag([1, np.exp(0.25j * np.pi)]),
    "CNOT": _controlled(_X),
    "CZ": _controlled(_Z),
    "SWAP": np.eye(4)[[0, 2, 1, 3]],
    "Toffoli": _controlled(_controlled(_X)),
}
_TURNED: dict[str, Callable[[float], Any]] = {
    "RX": _rotation(_X),
    "RY": _rotation(_Y),
    "RZ": _rotation(_Z),
    "PhaseShift": lambda angle: np.diag([1, np.exp(1j * angle)]),
    "CRY": lambda angle: _controlled(_rotation(_Y)(angle)),
    "IsingXX": lambda angle: (
        np.cos(angle / 2) * np.eye(4) - 1j * np.sin(angle / 2) * np.kron(_X, _X)
    ),
}


def state_of(case: Case) -> Matrix:
    """The amplitudes after all gates, an axis for each wire."""
    state = np.zeros((2,) * case.wires, dtype=complex)
    state[(0,) * case.wires] = 1
    for gate in case.gates:
        matrix = _FIXED[gate.name] if gate.angle is None else _TURNED[gate.name](gate.angle)
        state = _applied(state, matrix, gate.wires)
    return state


def value_of(case: Case) -> Any:
    """What the circuit gives without noise; the probabilities of all, for counts and samples."""
    state = state_of(case)
    if case.kind in ("expval", "var"):
        mean = _mean(state, case.word)
        return mean if case.kind == "expval" else 1 - mean**2
    of = case.of or tuple(range(case.wires))
    others = tuple(wire for wire in range(case.wires) if wire not in of)
    chances = (np.abs(state) ** 2).sum(axis=others)
    return np.transpose(chances, np.argsort(np.argsort(of))).ravel()


def slope_of(case: Case, index: int) -> float:
    """The derivative by the angle of a rotation: half of what a quarter turn either way differs.

    Schuld et al., "Evaluating analytic gradients on quantum hardware", arXiv:1811.11184.
    """
    ahead, behind = (value_of(turned(case, index, turn)) for turn in (np.pi / 2, -np.pi / 2))
    return float(ahead - behind) / 2


def turned(case: Case, index: int, angle: float) -> Case:
    """The same circuit with one gate turned by `angle` more."""
    gates = list(case.gates)
    gates[index] = replace(gates[index], angle=(gates[index].angle or 0.0) + angle)
    return replace(case, gates=tuple(gates))


def _applied(state: Matrix, matrix: Any, wires: Sequence[int]) -> Matrix:
    size = len(wires)
    tensor = np.asarray(matrix, dtype=complex).reshape((2,) * (2 * size))
    product = np.tensordot(tensor, state, axes=(tuple(range(size, 2 * size)), tuple(wires)))
    return np.moveaxis(product, tuple(range(size)), tuple(wires))


def _mean(state: Matrix, word: str) -> float:
    turned_state = state
    for wire, letter in enumerate(word):
        turned_state = _applied(turned_state, _PAULIS[letter], (wire,))
    return float(np.vdot(state, turned_state).real)


# -- the table ---------------------------------------------------------------------------------

_SPREAD = (Gate("RX", (0,), 0.3), Gate("RY", (1,), 1.1), Gate("RZ", (0,), 0.7))
_TIED = (*_SPREAD, Gate("CNOT", (0, 1)), Gate("RY", (0,), -0.4))

CASES: tuple[Case, ...] = (
    Case("no gates", 1, (), word="Z"),
    Case("a rotation", 1, (Gate("RX", (0,), 0.3),), word="Z"),
    Case("the sign of Y", 1, (Gate("RX", (0,), 0.3),), word="Y"),
    Case("phases", 1, (Gate("Hadamard", (0,)), Gate("T", (0,)), Gate("S", (0,))), word="X"),
    Case("entanglement", 2, _TIED, word="ZZ"),
    Case("another basis", 2, _TIED, word="XY"),
    Case("one wire of two", 2, _TIED, word="IX"),
    Case("the other control", 2, (*_SPREAD, Gate("CNOT", (1, 0))), word="ZI"),
    Case("a variance", 2, _TIED, kind="var", word="ZI"),
    Case("probabilities", 2, _TIED, kind="probs", of=(0, 1)),
    Case("probabilities of one wire", 2, _TIED, kind="probs", of=(1,)),
    Case("the order of wires", 2, _TIED, kind="probs", of=(1, 0)),
    Case(
        "three wires",
        3,
        (
            *_TIED,
            Gate("PauliX", (2,)),
            Gate("Toffoli", (2, 0, 1)),
            Gate("CZ", (1, 2)),
            Gate("SWAP", (0, 2)),
            Gate("Hadamard", (1,)),
        ),
        word="ZXI",
    ),
    Case(
        "gates of two wires",
        2,
        (*_SPREAD, Gate("IsingXX", (0, 1), 0.8), Gate("CRY", (1, 0), 0.6), Gate("PauliY", (1,))),
        word="ZX",
    ),
    Case(
        "a phase shift",
        1,
        (Gate("Hadamard", (0,)), Gate("PhaseShift", (0,), 0.9), Gate("PauliZ", (0,))),
        word="Y",
    ),
)


def ansatz(angle: float) -> Case:
    """A circuit of two wires that has another value for every angle from 0 to pi."""
    gates = (Gate("RX", (0,), angle), Gate("RY", (1,), 0.4), Gate("CNOT", (0, 1)))
    return Case(f"angle {angle:g}", 2, gates, word="IZ")
