"""`qcov bench backends` and `qcov bench compare`, as people type them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from qcov.qexecutors.fakeqpu.conditions import Conditions
from qcov.qexecutors.fakeqpu.server import FakeServer
from qcov_bench.backends import journal
from tests.waiting import until

pytestmark = pytest.mark.process

QUICK = ("--peers", "none", "--qubits", "2", "--repetitions", "6", "--batch", "3")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "qcov", "bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_a_comparison_from_the_command_to_the_report(tmp_path: Path) -> None:
    outputs = ("--out", "it.jsonl", "--html", "new/it.html", "--svg", "plots")

    ran = bench("backends", "Simulator", "--circuits", "ghz,ising", *QUICK, *outputs)

    assert ran.returncode == 0, ran.stderr
    assert "ghz, 2 qubits, analytic" in ran.stdout
    assert "F 1.0000" in ran.stdout
    assert "results: it.jsonl" in ran.stdout
    kinds = Counter(line["kind"] for line in journal.read(tmp_path / "it.jsonl").lines)
    assert kinds == {"run": 1, "sample": 6 * 5, "end": 1}
    assert (tmp_path / "new/it.html").read_text().startswith("<!DOCTYPE html>")
    assert (tmp_path / "plots/call-ghz-analytic.svg").exists()

    told = bench("backends", "Simulator", "--circuits", "ghz,ising", *QUICK, *outputs, "--json")
    assert Counter(json.loads(line)["kind"] for line in told.stdout.splitlines())["sample"] == 30

    again = bench("compare", "it.jsonl", "it.jsonl", "--all")
    assert again.returncode == 0
    assert "Nothing surely became slower or worse." in again.stdout


def test_a_secret_that_was_typed_is_in_no_output(tmp_path: Path) -> None:
    server = FakeServer(Conditions(seed=1), token="canary-7f3a")
    typed = f"FakeQPU:url={server.url},token=canary-7f3a,poll_interval=0.02"
    circuits = ("--circuits", "ghz", "--shots", "20", "--no-gradients", "--max-usd", "99", *QUICK)
    outputs = ("--out", "it.jsonl", "--html", "it.html", "--svg", "plots")

    ran = bench("backends", typed, typed.replace("7f3a", "7f3b"), *circuits, *outputs)
    again = bench("compare", "it.jsonl", "it.jsonl", "--all")
    refused = bench("backends", typed.replace("token", "tokn"))

    assert (ran.returncode, again.returncode, refused.returncode) == (0, 0, 1)
    assert (
        f"FakeQPU:url={server.url},token=Credential('***')" in (tmp_path / "it.jsonl").read_text()
    )
    kinds = Counter(line["kind"] for line in journal.read(tmp_path / "it.jsonl").lines)
    assert kinds["sample"] > 0
    assert kinds["failure"] > 0  # of the wrong token
    written = [path.read_text() for path in tmp_path.rglob("*") if path.suffix in _OUTPUTS]
    told = [text for one in (ran, again, refused) for text in (one.stdout, one.stderr)]
    assert len(written) > 2
    assert not [text for text in (*written, *told) if "canary" in text]


_OUTPUTS = (".jsonl", ".html", ".svg")


def test_a_slower_backend_fails_the_comparison(tmp_path: Path) -> None:
    bench("backends", "Simulator", "--circuits", "ghz", *QUICK, "--out", "a.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    for line in lines:
        if line["kind"] == "sample" and line["measure"] == "batch":
            line["seconds"] += 5
    (tmp_path / "b.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    ran = bench("compare", "a.jsonl", "b.jsonl")
    told = json.loads(bench("compare", "a.jsonl", "b.jsonl", "--json").stdout)

    assert ran.returncode == 1
    assert "1 for the worse." in ran.stdout
    assert {one["measure"]: one["verdict"] for one in told if one["measure"] != "fidelity"} == {
        "call": "inside the noise",
        "batch": "slower",
    }


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("backends", "--circuits", "gzh"), 1, "Did you mean 'ghz'"),
        (("backends", "--circuits", ""), 2, "nothing is named"),
        (("backends", "--circuits", "broken.qasm"), 1, "the file broken.qasm: QASM2ParseError"),
        (("backends", "--qubits", "0"), 1, "0 qubits: there must be at least 1"),
        (("backends", "--qubits", "four"), 2, "'four' is not a whole number"),
        (("backends", "--shots", "-5"), 1, "-5 shots: there must be at least 1"),
        (("backends", "Simulatr"), 1, "Did you mean 'Simulator'"),
        (("backends", "--peers", "defualt.qubit"), 1, "Did you mean 'default.qubit'"),
        (("backends", "--out", "no/such/folder/it.jsonl"), 1, "No such file or directory"),
        (("backends", "--out", "text.txt"), 1, "has something else than results"),
        (("backends", "--html", "."), 1, "a report at .: it is a folder"),
        (
            ("backends", "--html", "text.txt/it.html"),
            1,
            "a report at text.txt/it.html: File exists",
        ),
        (("backends", "--svg", "text.txt"), 1, "a report at text.txt: it is a file"),
        (("backends", "--max-usd", "-1"), 2, "'-1' is not a number, 0 or more"),
        (("backends", "--repetitions", "0"), 1, "repetitions=0: it must be 1 or more"),
        (("compare", "missing", "missing"), 2, "the file missing: No such file"),
        (("compare", "text.txt", "text.txt"), 2, "the file text.txt: it has no results"),
        (("compare", "text.txt"), 2, "the following arguments are required: B"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_an_exit_code(
    arguments: tuple[str, ...], code: int, said: str, tmp_path: Path
) -> None:
    pytest.importorskip("pennylane_qiskit")
    (tmp_path / "broken.qasm").write_text("OPENQASM 2.0;\nqreg q[1];\nh q[0]")
    (tmp_path / "text.txt").write_text("a text\n")

    ran = bench(*arguments)

    assert (ran.returncode, said in ran.stderr) == (code, True), ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.stdout == ""


def test_whatever_ends_it_the_same_command_goes_on(tmp_path: Path, interruptible: None) -> None:
    path = tmp_path / "it.jsonl"
    arguments = ("backends", "Simulator", "--circuits", "random", *QUICK, "--out", "it.jsonl")
    command = [sys.executable, "-m", "qcov", "bench", *arguments, "--repetitions", "400"]
    for how in (signal.SIGKILL, signal.SIGINT):
        before = _count(path)
        process = subprocess.Popen(
            command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        try:
            until(lambda before=before: _count(path) > before, 60)
        finally:
            process.send_signal(how)
        _, said = process.communicate(timeout=300)
        if how is signal.SIGINT:
            assert process.returncode == 130
            assert "Interrupted. What was measured is in it.jsonl" in said

    assert bench(*arguments, "--repetitions", "400").returncode == 0
    turns = Counter((line["cell"], line["turn"]) for line in journal.read(path).of_kind("sample"))
    assert len(turns) == 2 * 400
    assert set(turns.values()) == {1}


def _count(path: Path) -> int:
    return len(journal.read(path).of_kind("sample")) if path.exists() else 0


def test_the_circuits_are_listed() -> None:
    ran = bench("backends", "--list")

    assert ran.returncode == 0
    assert ran.stdout.startswith("ghz       All qubits alike")
