"""What Covalent's users call on dispatches and lattices."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import Any

import pytest

import qcov as ct
from qcov.config import data_dir
from qcov.errors import DispatchFailed, IntegrityError

pytestmark = pytest.mark.usefixtures("common_engine")


@ct.electron
def add(x: Any, y: Any = 1) -> Any:
    return x + y


@ct.electron
def fail(x: Any) -> Any:
    raise ValueError(x)


def test_a_lattice_dispatches_itself_with_a_warning() -> None:
    workflow = ct.lattice(lambda x: add(x, y=2))

    with pytest.warns(DeprecationWarning, match=r"write ct\.dispatch_sync\(lattice\)") as caught:
        result = workflow.dispatch_sync(1)
    assert caught[0].filename == __file__
    assert result.result == 3
    with pytest.warns(DeprecationWarning, match=r"write ct\.dispatch\(lattice\)"):
        dispatch_id = workflow.dispatch(x=5)
    assert ct.get_result(dispatch_id, wait=True).result == 7


def test_dispatches_can_be_listed() -> None:
    def listed_in_this_test(x: int) -> Any:
        return fail(x) if x else add(x)

    workflow = ct.lattice(listed_in_this_test)
    results = [ct.dispatch_sync(workflow)(x) for x in (0, 0, 1)]

    found = ct.list_dispatches(search="listed_in_this_test")
    assert [each.dispatch_id for each in found] == [each.dispatch_id for each in results[::-1]]
    assert [each.status for each in found] == ["FAILED", "COMPLETED", "COMPLETED"]
    assert found[1].result == 1
    assert found[0].get_node_result(0)["node_name"] == "fail"
    for status in ("completed", ct.status.COMPLETED):
        only = ct.list_dispatches(1, status=status, search="listed_in_this_test")
        assert [each.dispatch_id for each in only] == [results[1].dispatch_id]
    assert ct.list_dispatches(search="nobody has such a name") == []


def test_a_result_can_be_put_together_here() -> None:
    def workflow(x: int) -> Any:
        first = add(x)
        return {"first": first, "both": [first, (add(first), x)], 3: {first}}

    result = ct.dispatch_sync(ct.lattice(workflow))(4)

    expected = {"first": 5, "both": [5, (6, 4)], 3: {5}}
    assert result.result == expected
    assert result.post_process() == expected


def test_a_value_that_is_lost_spoils_no_other() -> None:
    result = ct.dispatch_sync(ct.lattice(lambda: add(add(1234567))))()
    with contextlib.closing(sqlite3.connect(data_dir() / "qcov.sqlite")) as database, database:
        database.execute(
            "UPDATE blobs SET data = x'00' WHERE digest = "
            "(SELECT output FROM nodes WHERE dispatch_id = ? AND node_id = 0)",
            (result.dispatch_id,),
        )
    again = ct.get_result(result.dispatch_id)

    lost, _, last = again.get_all_node_results()
    assert last["output"].get_deserialized() == 1234569
    with pytest.raises(IntegrityError):
        lost["output"].get_deserialized()
    assert again.get_all_node_outputs()["add(2)"] == 1234569


def test_of_a_dispatch_without_errors_nothing_is_said_of_them(gate: Any) -> None:
    dispatch_id = ct.dispatch(ct.lattice(lambda: [ct.electron(gate.pass_through)()]))()
    gate.wait()
    assert ct.cancel(dispatch_id, 0) == f"Node 0 of dispatch {dispatch_id} cancelled."

    with pytest.raises(DispatchFailed, match="node 0 has no value$"):
        ct.get_result(dispatch_id, wait=True).post_process()


def test_of_a_failed_dispatch_what_is_missing_is_said() -> None:
    result = ct.dispatch_sync(ct.lattice(lambda x: [add(x), fail(x)]))(4)

    with pytest.raises(
        DispatchFailed, match=r"(?s)node 2 has no value; .*fail\(2\): ValueError: 4"
    ):
        result.post_process()
