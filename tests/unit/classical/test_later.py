"""What is not there yet says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import qcov as ct
from qcov.errors import NotYetSupported


@pytest.mark.parametrize(
    ("use", "feature"),
    [
        (lambda: ct.electron(cache=True), "cache"),  # type: ignore[call-overload]
        (lambda: ct.electron(abs).set_metadata("cache", True), "cache"),
        (lambda: ct.lattice(abs).set_metadata("deps_module", []), "deps_module"),
    ],
)
def test_a_setting_without_effect_is_refused(use: Callable[[], Any], feature: str) -> None:
    with pytest.raises(NotYetSupported, match=f"^{feature} is not supported"):
        use()


def test_a_name_that_is_to_come_says_so() -> None:
    with pytest.raises(AttributeError, match="DepsModule is not there yet"):
        _ = ct.DepsModule


def test_an_unknown_setting_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'retrys'"):
        ct.electron(retrys=1)  # type: ignore[call-overload]
