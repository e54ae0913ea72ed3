"""Circuits with parameters, as optimisers and learners run them by the thousand."""

from __future__ import annotations

import math
from typing import Any

import networkx as nx
import numpy as np
import pennylane as qml

from qcov_bench.backends.workload import Numbers, Workload


def qaoa(wires: int, layers: int, seed: int) -> Workload:
    """MaxCut on a random 3-regular graph; the value is how many edges are cut on average.

    Parameters: for each layer, an angle of the cost and one of the mixer. Farhi, Goldstone,
    Gutmann, "A quantum approximate optimization algorithm" (2014), arXiv:1411.4028. Graphs with an
    odd number of vertices, or fewer than 4, are rings: none of those has 3 edges at each vertex.
    """
    edges = graph(wires, seed)

    def gates(point: Any) -> None:
        for wire in range(wires):
            qml.Hadamard(wire)
        for layer in range(layers):
            for one, other in edges:
                qml.CNOT([one, other])
                qml.RZ(-point[layer][0], wires=other)
                qml.CNOT([one, other])
            for wire in range(wires):
                qml.RX(2 * point[layer][1], wires=wire)

    def point(rng: np.random.Generator) -> Numbers:
        return rng.uniform(0, math.pi / 2, (layers, 2))

    return Workload(wires=wires, gates=gates, point=point, observable=_cut(edges))


def graph(vertices: int, seed: int) -> list[tuple[int, int]]:
    """The edges of the graph that a seed stands for."""
    if vertices == 2:
        return [(0, 1)]
    if vertices >= 4 and vertices % 2 == 0:
        made = nx.random_regular_graph(3, vertices, seed=seed)
    else:
        made = nx.cycle_graph(vertices)
    return sorted((min(edge), max(edge)) for edge in made.edges)


def _cut(edges: list[tuple[int, int]]) -> Any:
    weights, terms = [len(edges) / 2], [qml.I(0)]
    for one, other in edges:
        weights.append(-0.5)
        terms.append(qml.Z(one) @ qml.Z(other))
    return qml.Hamiltonian(weights, terms)


def vqe(wires: int, layers: int, _seed: int) -> Workload:
    """The energy of a chain of spins in a hardware-efficient state.

    Parameters: two rotations for each qubit, once and after each layer of entangling gates.
    Kandala et al., "Hardware-efficient variational quantum eigensolver", Nature 549 (2017),
    arXiv:1704.05018. The Hamiltonian is - sum Z Z - sum X, the critical Ising chain.
    """

    def gates(point: Any) -> None:
        _rotate(point[0], wires)
        for layer in range(layers):
            for wire in range(wires - 1):
                qml.CNOT([wire, wire + 1])
            _rotate(point[layer + 1], wires)

    def point(rng: np.random.Generator) -> Numbers:
        return rng.uniform(-math.pi, math.pi, (layers + 1, wires, 2))

    return Workload(wires=wires, gates=gates, point=point, observable=chain(wires))


def _rotate(angles: Any, wires: int) -> None:
    for wire in range(wires):
        qml.RY(angles[wire][0], wires=wire)
        qml.RZ(angles[wire][1], wires=wire)


def chain(wires: int) -> Any:
    """The Hamiltonian of the critical transverse-field Ising chain, with open ends."""
    terms: list[Any] = [qml.Z(wire) @ qml.Z(wire + 1) for wire in range(wires - 1)]
    terms += [qml.X(wire) for wire in range(wires)]
    return qml.Hamiltonian([-1.0] * len(terms), terms)


def kernel(wires: int, layers: int, _seed: int) -> Workload:
    """How alike two points of data are: |<x|y>|^2, the probability of 0...0.

    Parameters: the two points, one number for each qubit. `depth` is how often the feature map is
    repeated. Havlicek et al., "Supervised learning with quantum-enhanced feature spaces", Nature
    567 (2019), arXiv:1804.11326.
    """

    def gates(point: Any) -> None:
        feature_map(point[0], wires, layers)
        qml.adjoint(feature_map)(point[1], wires, layers)

    def point(rng: np.random.Generator) -> Numbers:
        return rng.uniform(0, 1, (2, wires))

    return Workload(wires=wires, gates=gates, point=point)


def feature_map(data: Any, wires: int, layers: int) -> None:
    """Queue the gates that encode one point of data."""
    for _ in range(layers):
        for wire in range(wires):
            qml.Hadamard(wire)
            qml.RZ(2 * data[wire], wires=wire)
        for wire in range(wires - 1):
            qml.CNOT([wire, wire + 1])
            qml.RZ(2 * (math.pi - data[wire]) * (math.pi - data[wire + 1]), wires=wire + 1)
            qml.CNOT([wire, wire + 1])
