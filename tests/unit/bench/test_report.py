"""The report and its plots are whole, and show only text where text comes from others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from qcov.errors import CannotMeasure
from qcov_bench.backends import axes, charts, figures, plots, report, summary, terminal
from qcov_bench.backends.comparison import Comparison
from qcov_bench.backends.findings import findings
from qcov_bench.backends.journal import Line
from qcov_bench.backends.statistics import Estimate

EVIL = '<script>alert("x")</script>\x1b[31m & \'"'
_VOID = ("meta", "br", "hr", "link", "img")


def sample(
    subject: str = "ours", *, wires: int = 4, measure: str = "call", turn: int = 0, **more: Any
) -> Line:
    return {
        "schema": 1, "kind": "sample", "run": "r1", "cell": f"{subject}{wires}{measure}",
        "subject": subject, "role": "executor", "bare": "PennyLane x", "family": "ghz",
        "case": f"ghz, {wires} qubits, analytic", "wires": wires, "depth": None, "shots": None,
        "measure": measure, "turn": turn, "circuits": 1, "seconds": 0.002 + 0.0001 * turn,
        "phases": None, "usd": None, "parameters": 0, **more,
    }  # fmt: skip


def run(**more: Any) -> Line:
    return {
        "schema": 1, "kind": "run", "run": "r1", "started": 1.8e9, "repetitions": 9, "warm_up": 1,
        "machine": {"processor": "a chip", "cores": 2}, "versions": {"python": "3.11"},
        "procedure": {"batch": 20, "seed": 0}, "subjects": [{"subject": "ours"}], **more,
    }  # fmt: skip


def lines(subject: str = "ours") -> list[Line]:
    phases = {"build": 0.0005, "wait": 0.0001, "run": 0.001, "transpile": None, "return": 0.0001}
    found = [run()]
    for turn in range(6):
        for wires in (4, 8):
            found += [
                sample(subject, wires=wires, turn=turn, phases=phases, fidelity=0.9, limit=0.99),
                sample(subject, wires=wires, turn=turn, measure="batch", circuits=20),
                sample(subject, wires=wires, turn=turn, measure="gradient", circuits=5),
                sample("PennyLane x", wires=wires, turn=turn, role="peer", bare=None),
            ]
    failed = {"subject": subject, "case": "ghz, 4 qubits, analytic", "measure": "call", "cell": "x"}
    return [
        *found,
        {"schema": 1, "kind": "failure", "run": "r1", "error": EVIL, **failed},
        {
            "schema": 1,
            "kind": "skipped",
            "run": "r1",
            "subject": EVIL,
            "reason": EVIL,
            "case": EVIL,
        },
    ]


class Balanced(HTMLParser):
    """Complains where a tag is not closed, or something comes from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        assert not {"src", "href", "onload", "onerror"} & {name for name, _ in attrs}
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        assert "svg" in self.open, f"<{tag}/> closes itself in drawings only"

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def parsed(page: str) -> Balanced:
    parser = Balanced()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


def test_the_page_is_whole_and_needs_nothing_else() -> None:
    page = report.html(lines())
    found = parsed(page)

    assert not {"script", "link", "img", "iframe"} & found.seen
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org/2000/svg)", page)
    titles = re.findall(r"<h2>(.*?)</h2>", page)
    assert titles == [
        "In short", "One call", "Many at once", "Over the bare device",
        "Where a call&#x27;s time goes", "Gradients", "All numbers", "What was not measured",
        "How it was measured",
    ]  # fmt: skip
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page


def test_names_and_errors_of_others_are_only_text() -> None:
    found = parsed(report.html(lines(EVIL)))

    assert "script" not in found.seen
    assert '<script>alert("x")</script>' in " ".join(found.words)
    assert "\x1b" not in "".join(found.words)


def test_what_nobody_tells_is_shown_as_unknown() -> None:
    page = report.html(lines())

    assert "unknown" in page
    assert page.count('class="unknown">unknown') == 2 * 3  # transpile, queue and fetch, two sizes


def test_a_page_of_nothing_says_so() -> None:
    assert "Nothing was measured." in parsed(report.html([])).words


def test_every_plot_is_a_drawing_of_its_own(tmp_path: Path) -> None:
    Comparison(lines=tuple(lines(EVIL))).write_plots(tmp_path / "new")

    files = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert files == [
        "batch-ghz-analytic.svg", "call-ghz-analytic.svg", "gradient-ghz-analytic.svg",
        "overhead-call.svg",
    ]  # fmt: skip
    for name in files:
        root = ET.parse(tmp_path / "new" / name).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert "prefers-color-scheme" in "".join(root.itertext())


def test_a_report_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotMeasure, match="Give another path"):
        Comparison(lines=()).write_html(tmp_path)


def test_whiskers_and_marks_lie_where_their_numbers_are() -> None:
    one = Estimate(value=10.0, low=1.0, high=100.0, confidence=0.95, count=9)
    dot = charts.Dot(name="it", place=0, value=one, text="10", tip="it")

    drawn = ET.fromstring(charts.dots("title", [dot], show=str))

    space = "{http://www.w3.org/2000/svg}"
    [bound] = [line for line in drawn.iter(f"{space}line") if "bound" in line.get("class", "")]
    [mark] = drawn.iter(f"{space}circle")
    low, high = float(bound.get("x1", 0)), float(bound.get("x2", 0))
    assert low < high
    assert float(mark.get("cx", 0)) == pytest.approx((low + high) / 2, abs=0.1)  # logarithmic


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (1.0, 1000.0, [1, 10, 100, 1000]),
        (0.002, 0.03, [0.002, 0.005, 0.01, 0.02]),
        (1e-6, 1e3, [1e-6, 1e-4, 1e-2, 1, 100]),
        (4.0, 4.5, [4, 4.1, 4.2, 4.3, 4.4, 4.5]),
    ],
)
def test_an_axis_has_few_round_numbers(low: float, high: float, expected: list[float]) -> None:
    axis = axes.Axis(low=low, high=high, start=0, end=1, logarithmic=True)

    assert axis.ticks(6) == pytest.approx(expected)
    assert (axis(low), axis(high), axis(high * 5)) == (0, 1, 1)


def test_circuits_that_differ_in_size_only_share_a_plot() -> None:
    def row(depth: int, wires: int) -> Line:
        case = f"random {depth} {wires}"
        return sample(family="random", depth=depth, wires=wires, case=case)

    growing = summary.rows([row(4, 4), row(8, 8)])
    several = summary.rows([row(1, 4), row(2, 4), row(1, 8)])

    assert list(plots.by_circuit(growing, plots.CALL)) == ["call-random-analytic"]
    assert list(plots.by_circuit(several, plots.CALL)) == [
        "call-random-depth-1-analytic",
        "call-random-depth-2-analytic",
    ]


def test_findings_say_what_is_sure_and_what_is_not() -> None:
    told = findings(lines(), summary.rows(lines()))

    assert told[0].startswith(
        "ours takes 1.00 times (from 1.00 to 1.00) the time of its bare device"
    )
    assert told[0].endswith("(surely faster on 0, surely slower on 0, within the noise on 2).")
    assert any("stays more than 0.02 below" in one for one in told)
    assert any("has failed on ours" in one for one in told)


def test_the_terminal_shows_the_same_and_obeys_no_escape_sequence() -> None:
    said = terminal.text(lines(EVIL))

    assert "\x1b" not in said
    assert "ghz, 8 qubits, analytic" in said
    assert "5 circuits" in said
    assert "not measured: <script>" in said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.0, "0.00 µs"), (9.996e-4, "1,000 µs"), (1.0, "1.00 s"), (7200.0, "7,200 s")],
)
def test_times_have_the_unit_that_fits(seconds: float, said: str) -> None:
    assert figures.time(seconds) == said


def test_errors_that_differ_in_numbers_only_are_told_once() -> None:
    def failure(case: str, error: str) -> Line:
        kind = {"schema": 1, "kind": "failure", "run": "r1", "subject": "gone", "measure": "call"}
        return {**kind, "case": case, "cell": case, "error": error}

    failed = [failure("a", "Off: for 29.6 s"), failure("b", "Off: for 3 s"), failure("c", "Bad")]

    assert summary.failures(summary.rows(failed)) == [
        ("gone", "Off: for 29.6 s", ["a: call", "b: call"]),
        ("gone", "Bad", ["c: call"]),
    ]
    assert "failed: gone, 2 measurements: Off: for 29.6 s" in terminal.text(failed)
