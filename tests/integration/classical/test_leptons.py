"""Leptons as nodes of a graph."""

from __future__ import annotations

from typing import Any

import pytest

import qcov as ct

pytestmark = pytest.mark.usefixtures("common_engine")


def test_they_work_with_electrons() -> None:
    @ct.leptons.bash
    def repeat(word: str, times: int) -> str:
        return f"for i in $(seq {times}); do echo {word}; done; echo told >&2"

    count = ct.Lepton("bash", command="n=$(wc -l <<< $1)", named_outputs=["n"], argtypes=[(int, 1)])

    @ct.electron
    def three() -> int:
        return 3

    @ct.lattice
    def workflow() -> Any:
        text = repeat("a", three())
        return text, ct.Lepton("bash", command='echo "$X-$1"')(three(), X=text)

    result = ct.dispatch_sync(workflow)()

    assert result.status == "COMPLETED", result.error
    assert result.result == ("a\na\na", "a\na\na-3")
    node = result.get_node_result(1)
    assert (node["node_name"], node["stdout"], node["stderr"]) == ("repeat", "a\na\na\n", "told\n")
    assert count("x") == 1


def test_one_that_fails_says_why() -> None:
    result = ct.dispatch_sync(ct.lattice(ct.Lepton("bash", command="nonsense-command")))()

    assert result.status == "FAILED"
    assert "lepton 'bash' failed: exit status 127. It said: " in str(result.error)
