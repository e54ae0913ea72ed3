"""What cannot be is refused where it is said."""

from __future__ import annotations

from typing import Any, cast

import pytest

import qcov as ct
from qcov.errors import WrongSetting


@pytest.mark.parametrize("decorate", [ct.electron, ct.lattice, ct.electron(), ct.lattice()])
def test_only_functions_are_decorated(decorate: Any) -> None:
    with pytest.raises(WrongSetting, match=r"decorates must be a function, not 3"):
        decorate(3)


@pytest.mark.parametrize("key", ["", 7, ["a"], "a\0b", "\ud800", "x" * 1000])
def test_a_key_is_text_that_can_be_read(key: object) -> None:
    with pytest.raises(WrongSetting, match="key must be printable text"):
        ct.dispatch(ct.lattice(lambda: 1), key=cast("str", key))


def test_only_functions_replace_electrons() -> None:
    with pytest.raises(
        WrongSetting, match=r"replace_electrons\['add'\] must be an electron, not 3"
    ):
        ct.redispatch("id", replace_electrons={"add": cast("Any", 3)})


@pytest.mark.parametrize(
    "other", [{"replace_electrons": {"a": abs}}, {"key": "a"}, {"reuse_previous_results": True}]
)
def test_what_is_only_started_takes_no_other_settings(other: dict[str, Any]) -> None:
    with pytest.raises(WrongSetting, match="is_pending must be given alone"):
        ct.redispatch("id", is_pending=True, **other)


@pytest.mark.parametrize("nodes", [[], "a", [1.5], [True]])
def test_nodes_are_cancelled_by_number(nodes: object) -> None:
    with pytest.raises(WrongSetting, match="task_ids must be the number of a node"):
        ct.cancel("id", cast("int", nodes))
