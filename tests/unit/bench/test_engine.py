"""The figures of the engine, with sizes that say nothing: that they can be taken at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from qcov_bench import engine, large_arrays, recovery
from qcov_bench.engines import own_engine
from qcov_bench.peers import PEERS, Peer, beside
from qcov_bench.rows import LeftOut

pytestmark = pytest.mark.process


def test_every_figure_can_be_taken() -> None:
    with own_engine():
        rows = [
            engine.independent(5, repeats=1),
            *engine.one(repeats=1),
            engine.chain(3, repeats=1),
            engine.sublattices(2, repeats=1),
            engine.building(5, repeats=1),
            engine.many(5),
            *large_arrays.rows(1, repeats=1),
        ]

    assert len({row.name for row in rows}) == 9
    assert all(row.ours >= 0 for row in rows)


def test_an_engine_that_was_killed_goes_on() -> None:
    row = recovery.row(5)

    assert row.ours > 0
    assert row.theirs is not None


@pytest.mark.slow
@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.module)
def test_a_peer_does_the_same_work(peer: Peer) -> None:
    small = Peer(
        name=peer.name, module=peer.module, package=peer.package, durable=peer.durable,
        fan=4, chain=3, repeats=1, ones=1,
    )  # fmt: skip

    with own_engine():
        found = list(beside(small))

    if isinstance(found[0], LeftOut) and found[0].reason.startswith("not installed"):
        pytest.skip(found[0].reason)
    assert [row.name for row in found] == [
        "4 independent tasks",
        "a chain of 3 tasks",
        "one task, to its result",
    ]


def test_a_peer_that_is_missing_is_left_out() -> None:
    absent = Peer(name="None", module="ray_tasks", package="not_there", durable=False)

    [left_out] = beside(absent)

    assert left_out == LeftOut(name="None", reason="not installed (pip install not_there)")


def test_an_interpreter_that_has_it_is_found(tmp_path: Path) -> None:
    without = tmp_path / "python"
    without.write_text("#!/bin/sh\nexit 1\n")
    without.chmod(0o700)
    broken = Peer(name="Broken", module="not_there", package="json", durable=False)

    [left_out] = beside(broken, pythons=[str(without)])

    assert "not installed" not in left_out.reason


def test_a_peer_that_cannot_start_is_left_out_with_its_last_words() -> None:
    broken = Peer(name="Broken", module="not_there", package="json", durable=False)

    [left_out] = beside(broken)

    assert isinstance(left_out, LeftOut)
    assert left_out.reason.startswith("it ended: FileNotFoundError: ")


def test_a_peer_is_measured_without_this_programs_packages() -> None:
    code = "import sys, qcov_bench.peers; print('ray' in sys.modules, 'distributed' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout == "False False\n"
