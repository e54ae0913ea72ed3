"""Options of Covalent's time, and today's, each where it belongs."""

from __future__ import annotations

from typing import Any

import pytest

from qcov.errors import InvalidSetting
from qcov.qexecutors.qiskit_options import read_options


def read(**options: Any) -> Any:
    return read_options(options, "QiskitExecutor")


def test_levels_go_where_they_live_today() -> None:
    found = read(optimization_level=2, resilience_level=1)
    assert (found.optimization_level, found.resilience_level) == (2, 1)
    assert (found.sampler, found.estimator, found.advice) == ({}, {}, ())


def test_what_is_not_said_is_left_open() -> None:
    found = read(optimization_level=None)
    assert (found.optimization_level, found.resilience_level) == (None, 0)


def test_both_primitives_get_what_both_have() -> None:
    found = read(dynamical_decoupling={"enable": True}, execution={"init_qubits": True})
    expected = {"dynamical_decoupling": {"enable": True}, "execution": {"init_qubits": True}}
    assert found.sampler == expected
    assert found.estimator == expected


def test_what_only_one_has_goes_to_that_one() -> None:
    found = read(execution={"meas_type": "kerneled"}, resilience={"zne_mitigation": True})
    assert found.sampler == {"execution": {"meas_type": "kerneled"}}
    assert found.estimator == {"execution": {}, "resilience": {"zne_mitigation": True}}


def test_transpilation_goes_to_the_pass_manager() -> None:
    found = read(transpilation={"initial_layout": [1, 0], "layout_method": "trivial"})
    assert found.passes == {"initial_layout": [1, 0], "layout_method": "trivial"}


def test_what_has_moved_is_found_again() -> None:
    found = read(resilience={"noise_factors": [1, 3], "extrapolator": "linear"})
    assert found.estimator == {
        "resilience": {"zne": {"noise_factors": [1, 3], "extrapolator": "linear"}}
    }


@pytest.mark.parametrize(
    ("options", "instead"),
    [
        ({"execution": {"shots": 5}}, "the executor's shots"),
        ({"default_shots": 5}, "the executor's shots"),
        ({"default_precision": 0.1}, "the executor's shots"),
        ({"transpilation": {"skip_transpilation": True}}, "always transpiled here"),
        ({"environment": {"callback": print}}, "as_completed"),
        ({"resilience": {"noise_amplifier": "x"}}, "gate_folding"),
    ],
)
def test_what_is_gone_says_what_to_use(options: Any, instead: str) -> None:
    found = read(**options)
    (advice,) = found.advice
    assert "no longer exists" in advice
    assert instead in advice
    assert not any(found.sampler.values())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"optimisation_level": 1}, "Did you mean 'optimization_level'"),
        ({"optimization_level": 4}, "from 0 to 3"),
        ({"resilience_level": 3}, "from 0 to 2"),
        ({"resilience_level": True}, "from 0 to 2"),
        (
            {"twirling": {"enable_gate": True}},
            "'twirling.enable_gate'.*'enable_gates'",
        ),
        ({"transpilation": {"layout": "x"}}, "'transpilation.layout'.*layout_method"),
        ({"twirling": True}, "must be a dictionary"),
    ],
)
def test_what_nobody_knows_is_refused(options: Any, said: str) -> None:
    with pytest.raises(InvalidSetting, match=said):
        read(**options)
