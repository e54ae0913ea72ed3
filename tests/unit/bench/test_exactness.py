"""How near results are to the exact ones."""

from __future__ import annotations

import numpy as np
import pytest

from qcov_bench.backends import exactness, textbook, variational


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({0: 1.0}, {0: 1.0}, 1.0),
        ({0: 1.0}, {1: 1.0}, 0.0),
        ({0: 0.5, 3: 0.5}, {0: 0.9, 3: 0.1}, (np.sqrt(0.45) + np.sqrt(0.05)) ** 2),
        ({}, {0: 1.0}, 0.0),
    ],
)
def test_the_hellinger_fidelity(
    one: dict[int, float], other: dict[int, float], expected: float
) -> None:
    assert exactness.hellinger(one, other) == pytest.approx(expected)
    assert exactness.hellinger(other, one) == pytest.approx(expected)


def test_it_is_that_of_qiskit() -> None:
    analysis = pytest.importorskip("qiskit.quantum_info.analysis")
    rng = np.random.default_rng(3)
    for _ in range(10):
        one, other = (
            {f"{key:03b}": int(n) for key, n in enumerate(rng.integers(1, 99, 8))} for _ in "ab"
        )
        ours = exactness.hellinger(exactness.distribution(one, 3), exactness.distribution(other, 3))
        assert ours == pytest.approx(analysis.hellinger_fidelity(one, other), abs=1e-9)


def test_a_distribution_is_the_same_from_counts_and_from_probabilities() -> None:
    counts = {np.str_("00"): np.int64(1), "11": 3}

    assert exactness.distribution(counts, 2) == {0: 0.25, 3: 0.75}
    assert exactness.distribution(np.array([0.25, 0, 0, 0.75]), 2) == {0: 0.25, 3: 0.75}
    assert exactness.distribution({}, 2) == {}
    with pytest.raises(ValueError, match="3 probabilities for 2 qubits"):
        exactness.distribution([0.5, 0.25, 0.25], 2)


@pytest.mark.parametrize("shots", [100, 2000])
def test_a_perfect_device_reaches_what_theory_says_on_average(shots: int) -> None:
    """1 - (K - 1) / (4 N) for K outcomes and many shots N: the square root to second order."""
    outcomes = 8
    even = dict.fromkeys(range(outcomes), 1 / outcomes)

    found = exactness.sampling_limit(even, shots)

    assert 1 - found == pytest.approx((outcomes - 1) / (4 * shots), rel=0.3)


def test_exact_values_are_a_distribution_or_a_number() -> None:
    ghz, energy = textbook.ghz(3, 1, 0), variational.vqe(2, 1, 0)

    assert exactness.exact(ghz, np.zeros(0)) == pytest.approx([0.5, 0, 0, 0, 0, 0, 0, 0.5])
    assert exactness.exact(energy, np.zeros((2, 2, 2))) == pytest.approx(-1)
