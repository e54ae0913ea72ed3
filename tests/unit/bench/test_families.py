"""Circuits of the harness have the properties that their sources prove."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pennylane as qml
import pytest
import scipy.linalg

from qcov.errors import CannotMeasure
from qcov_bench.backends import dynamics, families, qasm, textbook, variational
from qcov_bench.backends.workload import Workload

SEEDS = range(3)


def run(workload: Workload, point: Any = None) -> Any:
    [value] = qml.execute(
        [workload.tape(np.zeros(0) if point is None else np.asarray(point), shots=None)],
        qml.device("default.qubit", wires=workload.wires),
        diff_method=None,
    )
    return np.asarray(value)


@pytest.mark.parametrize("wires", [2, 3, 7])
def test_ghz_is_all_zeros_or_all_ones(wires: int) -> None:
    probabilities = run(textbook.ghz(wires, 1, 0))

    assert probabilities[[0, -1]] == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize("wires", [1, 2, 4])
@pytest.mark.parametrize("back", [False, True])
def test_the_fourier_transform_is_that_of_numpy(wires: int, back: bool) -> None:
    tape = qml.tape.make_qscript(textbook.fourier)(wires, back=back)
    matrix = qml.matrix(tape, wire_order=range(wires))
    fourier = np.fft.ifft(np.eye(2**wires), norm="ortho")
    reverse = [int(format(row, f"0{wires}b")[::-1], 2) for row in range(2**wires)]

    # Without its swaps the outcome is read backwards; the inverse takes it like that.
    expected = fourier[reverse].conj().T if back else fourier[reverse]
    assert matrix == pytest.approx(expected)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("wires", [1, 3, 6])
def test_fourier_addition_gives_the_next_number(wires: int, seed: int) -> None:
    number = textbook.number_for(wires, seed)

    assert run(textbook.qft(wires, 1, seed))[(number + 1) % 2**wires] == pytest.approx(1)


@pytest.mark.parametrize(("wires", "iterations"), [(2, 1), (3, 1), (3, 2), (5, 4), (6, 9)])
def test_grover_finds_as_often_as_the_formula_says(wires: int, iterations: int) -> None:
    for seed in SEEDS:
        found = run(textbook.grover(wires, iterations, seed))[textbook.number_for(wires, seed)]
        assert found == pytest.approx(textbook.success(wires, iterations))


def test_the_usual_number_of_iterations_is_the_best() -> None:
    for wires in range(2, 10):
        best = textbook.best_iterations(wires)
        around = {near: textbook.success(wires, near) for near in (best - 1, best, best + 1)}
        assert max(around, key=lambda near: around[near]) == best


@pytest.mark.parametrize(("vertices", "degree"), [(2, 1), (3, 2), (5, 2), (4, 3), (8, 3), (10, 3)])
def test_one_layer_of_qaoa_cuts_as_much_as_the_formula_says(vertices: int, degree: int) -> None:
    """The formula: Wang, Hadfield, Jiang, Rieffel (2018), arXiv:1706.02998, theorem 1."""
    graph = nx.Graph(variational.graph(vertices, seed=5))
    assert set(dict(graph.degree).values()) == {degree}
    gamma, beta, least = 0.7, 0.3, degree - 1
    expected = 0.0
    for one, other in graph.edges:
        triangles = len(list(nx.common_neighbors(graph, one, other)))
        expected += 0.5 + 0.25 * math.sin(4 * beta) * math.sin(gamma) * (
            2 * math.cos(gamma) ** least
        )
        expected -= (
            0.25
            * math.sin(2 * beta) ** 2
            * math.cos(gamma) ** (2 * least - 2 * triangles)
            * (1 - math.cos(2 * gamma) ** triangles)
        )

    assert run(variational.qaoa(vertices, 1, 5), [[gamma, beta]]) == pytest.approx(expected)


def test_the_energy_is_above_that_of_the_ground_and_right_where_it_is_known() -> None:
    workload = variational.vqe(4, 2, 0)
    ground = min(np.linalg.eigvalsh(qml.matrix(variational.chain(4), wire_order=range(4))))

    assert run(workload, np.zeros((3, 4, 2))) == pytest.approx(-3)  # all spins up: - sum Z Z
    assert all(run(workload, point) > ground for point in workload.points(20, seed=1))


def test_a_kernel_is_one_for_equal_points_and_symmetric() -> None:
    workload = variational.kernel(3, 2, 0)
    [(one, other)] = workload.points(1, seed=4)

    assert run(workload, [one, one])[0] == pytest.approx(1)
    assert run(workload, [one, other])[0] == pytest.approx(run(workload, [other, one])[0])
    assert 0 <= run(workload, [one, other])[0] < 0.999


def test_the_error_of_trotter_steps_is_a_quarter_with_twice_as_many() -> None:
    point = np.array([1.0, 0.8])
    field = qml.Hamiltonian([-0.8] * 3, [qml.X(wire) for wire in range(3)])
    coupling = qml.Hamiltonian([-1.0] * 2, [qml.Z(wire) @ qml.Z(wire + 1) for wire in range(2)])
    hamiltonian = qml.matrix(field + coupling, wire_order=range(3))
    state = scipy.linalg.expm(-1j * dynamics.TIME * hamiltonian)[:, 0]
    signs = [3 - 2 * (outcome).bit_count() for outcome in range(8)]
    exact = np.abs(state) ** 2 @ np.array(signs) / 3

    errors = [abs(run(dynamics.ising(3, steps, 0), point) - exact) for steps in (32, 64)]
    assert errors[1] == pytest.approx(errors[0] / 4, rel=0.05)


def test_deep_random_circuits_have_heavy_outcomes_as_porter_and_thomas_say() -> None:
    workload = dynamics.random(8, 16, 0)
    heavy = []
    for point in workload.points(20, seed=0):
        probabilities = run(workload, point)
        heavy.append(probabilities[probabilities > np.median(probabilities)].sum())

    assert np.mean(heavy) == pytest.approx((1 + math.log(2)) / 2, abs=0.01)


@pytest.mark.parametrize("family", families.STANDARD, ids=lambda family: family.name)
def test_every_family_names_its_source_and_is_the_same_for_the_same_seed(
    family: families.Family,
) -> None:
    wires = max(family.least, 3)
    depth = family.usual_depth(wires)
    one, other = family.build(wires, depth, 7), family.build(wires, depth, 7)

    assert "arXiv:" in str(family.build.__doc__) or "Science" in str(family.build.__doc__)
    assert family.about.endswith(".") or ":" in family.about
    assert one.wires == wires
    for first, second in zip(one.points(2, seed=1), other.points(2, seed=1), strict=True):
        qml.assert_equal(one.tape(first, shots=10), other.tape(second, shots=10))


# -- files -------------------------------------------------------------------------------------

BELL_2 = """OPENQASM 2.0;
include "qelib1.inc";
qreg q[2]; creg c[2];
h q[0]; cx q[0],q[1]; measure q -> c;
"""
BELL_3 = """OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q; bit[2] c;
h q[0]; cx q[0], q[1];
c = measure q;
"""


@pytest.mark.parametrize("text", [BELL_2, BELL_3], ids=["2", "3"])
def test_a_file_is_read_without_its_last_measurements(text: str, tmp_path: Path) -> None:
    pytest.importorskip("pennylane_qiskit" if text is BELL_2 else "openqasm3")
    path = tmp_path / "bell.qasm"
    path.write_text(text)

    [family] = families.find([str(path)])

    assert (family.name, family.wires) == ("bell.qasm", 2)
    assert family.about == "bell.qasm, 2 gates."
    assert run(family.build(0, 0, 0)) == pytest.approx([0.5, 0, 0, 0.5])


def test_a_folder_stands_for_its_files(tmp_path: Path) -> None:
    pytest.importorskip("pennylane_qiskit")
    for name in ("b.qasm", "a.qasm", "notes.txt"):
        (tmp_path / name).write_text(BELL_2)

    assert [family.name for family in families.find([str(tmp_path)])] == ["a.qasm", "b.qasm"]


def test_a_measurement_in_the_midst_stays() -> None:
    with qml.queuing.AnnotatedQueue() as queue:
        measured = qml.measure(0)
        qml.cond(measured, qml.X)(1)
        qml.measure(1)
    operations = qml.tape.QuantumScript.from_queue(queue).operations

    kept = qasm.without_last_measurements(operations)

    assert [type(one).__name__ for one in kept] == ["MidMeasure", "Conditional"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("OPENQASM 2.0;\nqreg q[1];\nh q[0]", "QASM2ParseError"),
        ("this is prose", "QASM2ParseError"),
        ("OPENQASM 2.0;\nqreg q[1];\n", "it has no gates"),
        ("OPENQASM 3.0;\nqubit q;\nblorp q;", "Error: "),
        ("\0\udcff", "UnicodeDecodeError"),
    ],
)
def test_a_file_that_is_no_circuit_is_refused(text: str, reason: str, tmp_path: Path) -> None:
    pytest.importorskip("openqasm3" if "3.0" in text else "pennylane_qiskit")
    path = tmp_path / "broken.qasm"
    path.write_bytes(text.encode(errors="surrogateescape"))

    with pytest.raises(CannotMeasure, match=reason) as refused:
        families.find([str(path)])
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_is_no_family_is_refused_with_what_was_meant(tmp_path: Path) -> None:
    with pytest.raises(CannotMeasure, match="Did you mean 'ghz'"):
        families.find(["gzh"])
    with pytest.raises(CannotMeasure, match="it has no OpenQASM file"):
        families.find([str(tmp_path)])


def test_mqt_bench_is_asked_for_where_it_is_installed() -> None:
    try:
        import mqt.bench  # noqa: F401
    except ImportError:
        with pytest.raises(CannotMeasure, match="pip install mqt.bench"):
            families.find(["mqt:ghz"])
        return
    [family] = families.find(["mqt:ghz"])
    assert run(family.build(3, 1, 0))[[0, -1]] == pytest.approx([0.5, 0.5])
    with pytest.raises(CannotMeasure, match="Did you mean 'ghz'"):
        families.find(["mqt:gzh"])
