"""Measuring with real executors: turns, failures, limits, and going on after the end."""

from __future__ import annotations

import contextlib
import json
import random
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pennylane as qml
import pytest
from pydantic import PrivateAttr

from qcov.errors import CannotMeasure
from qcov.qexecutors.base import BaseQExecutor, Circuit, CircuitBatch, CircuitResult
from qcov.qexecutors.simulator import Simulator
from qcov_bench.backends import Comparison, Procedure, compare, journal
from qcov_bench.backends.interrupt import heeded
from qcov_bench.backends.journal import Line

QUICK = Procedure(repetitions=3, batch=4, gradients=False)

LOG: list[tuple[str, int]] = []  #: which executor ran how many circuits


@pytest.fixture(autouse=True)
def _forget() -> None:
    LOG.clear()


class Mine(BaseQExecutor):
    """Runs circuits exactly, writes down that it did, and says what a test wants it to say."""

    label: str = "mine"
    price: float | None = 0.0
    fail_after: int | None = None
    flip: bool = False
    _calls: int = PrivateAttr(default=0)

    def run_batch(self, batch: CircuitBatch) -> Sequence[Any]:
        LOG.append((self.label, len(batch.circuits)))
        self._calls += 1
        if self.fail_after is not None and self._calls > self.fail_after:
            raise ConnectionError(f"{self.label} has gone")
        circuits = [self._changed(circuit) for circuit in batch.circuits]
        values = qml.execute(circuits, qml.device("default.qubit"), diff_method=None)
        timing = {"timing": {"run": 1e-6, "queue": 2e-6}}
        return [CircuitResult(value=value, metadata=timing) for value in values]

    def estimate_cost(self, circuit: Circuit) -> float | None:
        return self.price

    def _changed(self, circuit: Any) -> Any:
        extra = [qml.X(0)] if self.flip else []
        return circuit.copy(operations=[*circuit.operations, *extra])


def run(*executors: BaseQExecutor, **settings: Any) -> Comparison:
    given = {"circuits": ["ghz"], "qubits": [2], "peers": [], "procedure": QUICK, **settings}
    return compare(executors, **given)


def of_kind(found: Comparison, kind: str) -> list[Line]:
    return [line for line in found.lines if line["kind"] == kind]


def test_every_measurement_is_taken_as_often_as_was_asked_after_the_warm_up() -> None:
    found = run(Mine())

    assert sum(size for _, size in LOG) == 4 * 1 + 4 * 4
    assert Counter(line["measure"] for line in of_kind(found, "sample")) == {"call": 3, "batch": 3}
    [row] = found.rows
    assert row.call is not None
    assert row.circuit is not None
    assert row.call.count == row.circuit.count == 3
    assert row.fidelity is not None
    assert row.fidelity.value == 1.0


def test_executors_take_turns_in_the_order_of_the_seed() -> None:
    names = [Mine(label=label) for label in "abc"]
    procedure = Procedure(repetitions=20, batch=1, warm_up=0, gradients=False)

    run(*names, procedure=procedure)
    turns = ["".join(label for label, _ in LOG[at : at + 3]) for at in range(0, 60, 3)]

    assert {"".join(sorted(turn)) for turn in turns} == {"abc"}
    assert len(set(turns)) > 2
    LOG.clear()
    run(*names, procedure=procedure)
    assert turns == ["".join(label for label, _ in LOG[at : at + 3]) for at in range(0, 60, 3)]


def test_wrong_values_are_seen() -> None:
    found = run(Mine(), Mine(flip=True), circuits=["qft", "ising"])

    right, wrong = found.rows[:2]
    assert (right.fidelity and right.fidelity.value, wrong.fidelity and wrong.fidelity.value) == (
        1,
        0,
    )
    right, wrong = found.rows[2:]
    assert right.deviation is not None
    assert wrong.deviation is not None
    assert right.deviation.value < 1e-9 < 0.1 < wrong.deviation.value


def test_what_the_executor_tells_of_its_time_is_kept_and_the_rest_is_unknown() -> None:
    [row] = run(Mine()).rows

    assert (row.phases["run"], row.phases["queue"]) == (1e-6, 2e-6)
    assert row.phases["transpile"] is None
    assert row.call is not None
    assert 0 < (row.phases["build"] or 0) < row.call.value


def test_a_gradient_tells_its_circuits_and_parameters() -> None:
    procedure = Procedure(repetitions=1, batch=1)

    ours, bare = run(
        Simulator(), circuits=["ising"], peers=["default.qubit"], procedure=procedure
    ).rows

    # 3 steps of 1 coupling and 2 fields: two shifted circuits for each, and the circuit itself.
    assert ours.gradient_circuits == bare.gradient_circuits == 19
    assert ours.parameters == 2
    assert ours.overhead is not None
    assert bare.overhead is None


def test_a_backend_that_fails_is_a_row_and_not_the_end() -> None:
    found = run(Mine(label="gone", fail_after=2), Mine(label="there"))

    gone, there = found.rows
    assert gone.errors == (
        "call: ConnectionError: gone has gone",
        "batch: ConnectionError: gone has gone",
    )
    assert gone.call is not None
    assert gone.call.count == 1  # the warm-up, and one turn
    assert there.errors == ()
    assert there.call is not None
    assert there.call.count == 3


# -- limits ------------------------------------------------------------------------------------


def test_what_costs_something_runs_only_as_far_as_money_reaches() -> None:
    found = run(Mine(price=0.1), max_usd=0.55)

    assert sum(size for _, size in LOG) == 4  # 4 calls; a batch would be 0.4 more
    [skipped] = of_kind(found, "skipped")
    assert skipped["reason"] == "it may cost 0.40 USD, and 0.15 of 0.55 are left"
    [end] = of_kind(found, "end")
    assert end["usd"] == pytest.approx(0.4)


def test_without_leave_nothing_that_costs_something_runs() -> None:
    found = run(Mine(price=0.1), Mine(price=None))

    assert {line["reason"] for line in of_kind(found, "skipped")} == {
        "it may cost 0.10 USD: say how much may be spent (max_usd)",
        "it may cost 0.40 USD: say how much may be spent (max_usd)",
        "nobody knows what it costs: allow that (unknown_price), or write its price down",
    }
    assert found.rows == []
    assert LOG == []


def test_an_unknown_price_may_be_allowed() -> None:
    found = run(Mine(price=0.1), Mine(price=None), unknown_price=True)

    assert [row.subject for row in found.rows] == ["Mine (2)"]


@pytest.mark.parametrize("warm_up", [0, 1, 9])
def test_a_rerun_spends_no_more_than_is_left(tmp_path: Path, warm_up: int) -> None:
    procedure = Procedure(repetitions=9, batch=1, warm_up=warm_up, gradients=False)

    for _ in range(3):
        run(Mine(price=0.1), path=tmp_path / "it.jsonl", max_usd=0.55, procedure=procedure)

    assert sum(size for _, size in LOG) == 5
    ends = journal.read(tmp_path / "it.jsonl").of_kind("end")
    assert [end["usd"] for end in ends] == [pytest.approx(0.5), 0, 0]
    run(Mine(price=0.1), path=tmp_path / "it.jsonl", max_usd=0.75, procedure=procedure)
    assert sum(size for _, size in LOG) == 7


def test_what_a_killed_run_may_have_paid_counts(tmp_path: Path) -> None:
    path = tmp_path / "it.jsonl"
    procedure = Procedure(repetitions=9, batch=1, warm_up=0, gradients=False)
    run(Mine(price=0.1), path=path, max_usd=0.55, procedure=procedure)
    lines = path.read_bytes().splitlines(keepends=True)
    place = [number for number, line in enumerate(lines) if b'"reserved"' in line][2]
    path.write_bytes(b"".join(lines[: place + 1]))
    LOG.clear()

    for _ in range(2):
        run(Mine(price=0.1), path=path, max_usd=0.55, procedure=procedure)

    assert sum(size for _, size in LOG) == 2


def test_failures_of_earlier_runs_count(tmp_path: Path) -> None:
    path = tmp_path / "it.jsonl"
    procedure = Procedure(repetitions=1, batch=1, warm_up=0, gradients=False, retry=True)

    for _ in range(4):
        run(Mine(price=0.2, fail_after=0), path=path, max_usd=0.5, procedure=procedure)

    assert len(of_kind(Comparison(lines=journal.read(path).lines), "failure")) == 2


def test_failures_count_as_money_that_is_spent() -> None:
    found = run(Mine(price=0.1, fail_after=0), max_usd=5)

    [end] = of_kind(found, "end")
    assert end["usd"] == pytest.approx(0.1 + 0.4)


def test_when_the_time_is_up_nothing_new_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(1000))
    # The module's own: threads of other tests look at the time too.
    clock = SimpleNamespace(monotonic=lambda: float(next(now)))
    monkeypatch.setattr("qcov_bench.backends.comparison.time", clock)

    found = run(Mine(), max_seconds=4)

    assert 0 < len(of_kind(found, "sample")) < 6
    assert {line["reason"] for line in of_kind(found, "skipped")} == {
        "the time is up (max_seconds)"
    }


def test_a_measurement_that_takes_long_is_not_repeated_for_ever() -> None:
    procedure = Procedure(repetitions=50, batch=1, warm_up=0, enough=0.0)

    [row] = run(Mine(), procedure=procedure).rows

    assert row.call is not None
    assert row.call.count == 1


# -- going on ----------------------------------------------------------------------------------


def samples(path: Path) -> list[Line]:
    return journal.read(path).of_kind("sample")


def test_a_rerun_measures_nothing_twice(tmp_path: Path) -> None:
    path = tmp_path / "it.jsonl"
    run(Mine(), path=path)
    LOG.clear()

    found = run(Mine(), path=path)

    assert LOG == []
    assert len(samples(path)) == 6
    assert len(found.rows) == 1


def test_a_rerun_goes_on_wherever_it_was_ended(tmp_path: Path) -> None:
    path = tmp_path / "it.jsonl"
    whole = run(Mine(), Mine(label="other"), path=path)
    lines = path.read_bytes().splitlines(keepends=True)
    rng = random.Random(5)

    for _ in range(6):
        cut = rng.randrange(1, len(lines))
        half = lines[cut][: rng.randrange(len(lines[cut]))]  # what was being written then
        path.write_bytes(b"".join([*lines[:cut], half]))
        run(Mine(), Mine(label="other"), path=path)

        turns = Counter((line["cell"], line["turn"]) for line in samples(path))
        assert set(turns.values()) == {1}
        assert len(turns) == len(of_kind(whole, "sample")) == 12


def test_more_repetitions_add_to_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "it.jsonl"
    run(Mine(), path=path)

    run(Mine(), path=path, procedure=Procedure(repetitions=5, batch=4, gradients=False))

    assert Counter(line["turn"] for line in samples(path)) == dict.fromkeys(range(5), 2)


def test_what_has_failed_is_tried_again_when_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "it.jsonl"
    run(Mine(fail_after=0), path=path)
    again = Procedure(repetitions=3, batch=4, gradients=False, retry=True)
    LOG.clear()

    run(Mine(fail_after=0), path=path)
    assert LOG == []

    found = run(Mine(fail_after=0), path=path, procedure=again)
    assert LOG != []
    assert len(of_kind(found, "failure")) == 4


def test_other_settings_of_an_executor_are_measured_anew(tmp_path: Path) -> None:
    path = tmp_path / "it.jsonl"
    run(Simulator(), path=path)

    with pytest.raises(CannotMeasure, match="Simulator:default.qubit has other settings now"):
        run(Simulator(workers=1), path=path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda line: line["versions"].update(qcov="0.0.1"), "qcov .* instead of 0.0.1"),
        (lambda line: line["machine"].update(cores=999), "cores .* instead of 999"),
        (lambda line: line["procedure"].update(seed=7), "seed 0 instead of 7"),
    ],
)
def test_what_was_measured_otherwise_is_not_mixed(
    change: Callable[[Any], None], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "it.jsonl"
    run(Mine(), path=path)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    change(lines[0])
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    LOG.clear()

    with pytest.raises(CannotMeasure, match=f"{said}.*Give another path"):
        run(Mine(), path=path)
    assert LOG == []


def test_progress_counts_every_step_to_the_end() -> None:
    told: list[tuple[str, int, int]] = []

    run(Mine(), Mine(label="b", fail_after=1), tell=lambda *step: told.append(step))

    assert told[-1][1:] == (12, 12)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)


@pytest.mark.parametrize(
    "setting", [{"batch": 0}, {"repetitions": 0}, {"warm_up": -1}, {"enough": -1.0}, {"seed": -1}]
)
def test_numbers_that_cannot_be_are_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(CannotMeasure, match="or more"):
        Procedure(**setting)


def test_there_must_be_an_executor() -> None:
    with pytest.raises(CannotMeasure, match="there is no executor"):
        compare([])


def test_ctrl_c_ends_it_at_the_next_step_even_where_a_library_has_swallowed_it() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with heeded(lambda *_step: None) as tell:
            with contextlib.suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)  # Python raises it here, and here it is lost
            with pytest.raises(KeyboardInterrupt):
                tell("the next step", 1, 2)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
