"""The journal keeps what was committed, and budgets hold over processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import stat
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from qcov.budget import Budget, allowances
from qcov.errors import InvalidSetting, JobNotFound, StoreUnavailable
from qcov.job_entries import Intent, Shortfall, State
from qcov.journal import Journal


def intent(token: str, *, usd: float = 1.0, account: str = "a", dispatch: str = "") -> Intent:
    return Intent(
        token=token, run="r", part=0, scope="s", dispatch_id=dispatch or None, node_id=None,
        provider="P", device="d", account=account, keys=["k"], shots=5, estimate={"USD": usd},
    )  # fmt: skip


def test_only_its_owner_reads_it(data_folder: Path) -> None:
    journal = Journal()
    journal.intend(intent("t"), {})
    assert stat.S_IMODE(journal.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(data_folder.stat().st_mode) == 0o700


def test_a_job_is_found_by_its_names(data_folder: Path) -> None:
    journal = Journal()
    journal.intend(intent("abcdef1234"), {})
    journal.intend(intent("abcdef9999"), {})
    journal.submitted("abcdef1234", "arn:job/1")

    assert journal.find("arn:job/1").token == "abcdef1234"
    assert journal.find("abcdef1").name == "arn:job/1"
    assert journal.find("arn:jo").token == "abcdef1234"
    for wrong in ("abcdef", "arn", "abc", "%%%%", "abcde_1234", "", "arn:job/12"):
        with pytest.raises(JobNotFound, match="qcov jobs"):
            journal.find(wrong)


def test_the_first_end_counts(data_folder: Path) -> None:
    journal, budget = Journal(), Budget(usd=10)
    journal.intend(intent("t", usd=4.0), allowances([budget]))
    journal.ended("t", State.COMPLETED, {"USD": 3.0})
    journal.ended("t", State.CANCELLED, {"USD": 0.0})

    assert journal.find("t" * 1).state is State.COMPLETED
    assert budget.spent == {"USD": 3.0}


def test_circuits_of_jobs_that_ended_long_ago_go(data_folder: Path) -> None:
    journal = Journal()
    journal.keep_run("r", b"circuits", "seal")
    for token in ("t1", "t2"):
        journal.intend(intent(token), {})
    journal.ended("t1", State.COMPLETED, {"USD": 1.0})

    later = time.time() + 60
    assert journal.forget_circuits(later) == 0  # the other job of the run may still be read
    journal.ended("t2", State.COMPLETED, {"USD": 1.0})
    assert journal.forget_circuits(0.0) == 0
    assert journal.forget_circuits(later) == 1
    assert journal.run_of("r") is None
    assert len(journal.charges()) == 2


def test_who_knows_the_cost_may_come_later(data_folder: Path) -> None:
    """Another program has only seen that the job is over."""
    journal, budget = Journal(), Budget(usd=10)
    journal.intend(intent("t", usd=4.0), allowances([budget]))
    journal.ended("t", State.COMPLETED, None)
    journal.ended("t", State.COMPLETED, {"USD": 3.0})
    journal.ended("t", State.COMPLETED, {"USD": 1.0})
    assert budget.spent == {"USD": 3.0}


def test_many_jobs_of_one_program_do_not_slow_the_next(data_folder: Path) -> None:
    """Only those with the same circuits are looked at."""
    journal = Journal()
    journal.intend(intent("t"), {})
    assert [entry.token for entry, _ in journal.of_scope("s", "a", "d", ["k"] * 2000)] == ["t"]
    assert journal.of_scope("s", "a", "d", ["other"]) == []
    with sqlite3.connect(journal.path) as db:
        plan = " ".join(
            row[3]
            for row in db.execute(
                "EXPLAIN QUERY PLAN SELECT DISTINCT jobs.* FROM programs JOIN jobs USING (token) "
                "WHERE key IN ('k') AND scope = 's'"
            )
        )
    assert "SCAN" not in plan


def test_an_id_disproves_that_a_job_was_never_submitted(data_folder: Path) -> None:
    journal, budget = Journal(), Budget(usd=10)
    journal.intend(intent("t", usd=4.0), allowances([budget]))
    journal.ended("t", State.REFUSED, {})
    journal.submitted("t", "there")
    assert (journal.find("there").state, budget.left) == (State.SUBMITTED, {"USD": 6.0})
    journal.ended("t", State.COMPLETED, {"USD": 3.0})
    assert budget.left == {"USD": 7.0}


def test_what_has_ended_stays_ended(data_folder: Path) -> None:
    journal, budget = Journal(), Budget(usd=10)
    journal.intend(intent("t", usd=4.0), allowances([budget]))
    journal.ended("t", State.CANCELLED, {})
    journal.submitted("t", "late")
    journal.unknown("t", "later")
    assert (journal.find("t").state, journal.find("t").job_id) == (State.CANCELLED, None)
    assert budget.left == {"USD": 10.0}


def test_what_has_no_actual_cost_counts_as_estimated(data_folder: Path) -> None:
    journal, budget = Journal(), Budget(usd=10)
    journal.intend(intent("t", usd=4.0), allowances([budget]))
    journal.ended("t", State.FAILED, None)
    assert budget.left == {"USD": 6.0}


def test_a_submission_that_nobody_knows_of_stays_reserved(data_folder: Path) -> None:
    journal, budget = Journal(), Budget(usd=10)
    journal.intend(intent("t", usd=4.0), allowances([budget]))
    journal.unknown("t", "who knows")
    assert budget.left == {"USD": 6.0}


def test_sums_of_parts_do_not_break_a_budget_that_they_fill(data_folder: Path) -> None:
    journal, budget = Journal(), Budget(usd=0.3)
    for token in ("t1", "t2", "t3"):
        assert journal.intend(intent(token, usd=0.1), allowances([budget])) is None
    refused = journal.intend(intent("t4", usd=0.1), allowances([budget]))
    assert isinstance(refused, Shortfall)


def test_budgets_of_one_name_are_one(data_folder: Path) -> None:
    Journal().intend(intent("t", usd=4.0), allowances([Budget(usd=5, name="thesis")]))
    assert Budget(usd=10, name="thesis").left == {"USD": 6.0}
    assert Budget(usd=10).left == {"USD": 10.0}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "one of usd, qpu_seconds, tasks, shots"),
        ({"usd": -1}, "0 or more, not -1"),
        ({"usd": float("nan")}, "0 or more, not nan"),
        ({"usd": True}, "0 or more, not True"),
        ({"usd": "5"}, "0 or more, not '5'"),
        ({"eur": 5}, "'eur' is not a setting"),
    ],
)
def test_wrong_budgets_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidSetting, match=message):
        Budget(**settings)


def test_a_file_of_a_newer_qcov_is_left_alone(data_folder: Path) -> None:
    Journal().jobs()
    with sqlite3.connect(Journal().path) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreUnavailable, match="newer qcov"):
        Journal().jobs()


def test_a_file_that_is_none_is_left_alone(data_folder: Path) -> None:
    data_folder.mkdir()
    Journal().path.write_bytes(b"no database" * 100)
    with pytest.raises(StoreUnavailable, match="not a database"):
        Journal().jobs()
    assert Journal().path.read_bytes() == b"no database" * 100


# -- many processes ----------------------------------------------------------------------------

_LIMIT, _PRICE = 5.0, 0.25


def _spend(folder: str, number: int, all_are_here: Barrier) -> None:
    """Take out what there is, and be killed in the midst of it now and then."""
    journal = Journal(Path(folder) / "jobs.sqlite")
    budget = {"b": {"USD": _LIMIT}}
    for turn in range(10):
        token = f"{number}-{turn}"
        refused = journal.intend(intent(token, usd=_PRICE), budget) is not None
        if turn == 1:
            all_are_here.wait()  # nobody takes more until all have had two, which the budget allows
        if refused:
            continue
        if turn == 1 and number % 2:
            os.kill(os.getpid(), signal.SIGKILL)
        journal.submitted(token, f"job-{token}")
        journal.ended(token, State.COMPLETED, {"USD": _PRICE * 0.8})


@pytest.mark.process
def test_eight_processes_do_not_exceed_a_budget(data_folder: Path) -> None:
    data_folder.mkdir()
    spawn = multiprocessing.get_context("spawn")
    all_are_here = spawn.Barrier(8)
    processes = [
        spawn.Process(target=_spend, args=(str(data_folder), number, all_are_here))
        for number in range(8)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    journal = Journal(data_folder / "jobs.sqlite")
    spent = journal.spent("b")["USD"]
    assert _LIMIT - _PRICE < spent <= _LIMIT + 1e-9
    left_behind = journal.jobs(only_open=True)
    assert len(left_behind) == 4  # who was killed still has its money reserved
    with sqlite3.connect(journal.path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
