"""The pages of electrons and circuits in a browser: what is printed is seen at once."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Page, expect

import qcov as ct

if TYPE_CHECKING:
    from conftest import Look, Site

pytestmark = [pytest.mark.browser, pytest.mark.process]


@ct.electron
def talk(folder: str, times: int = 2) -> str:
    """Say something whenever the test asks for it."""
    import sys
    from pathlib import Path

    print("begun")
    for number in range(times):
        while not Path(folder, f"go {number}").exists():
            time.sleep(0.005)
        print(f"\x1b[31m<b>said {number}</b>\x1b[0m at {time.time()}")
        print("10 %\r20 %", end="", file=sys.stderr, flush=True)
    while not Path(folder, "end").exists():
        time.sleep(0.005)
    print("\r100 %", file=sys.stderr)
    return "<i>all said</i>"


@ct.lattice
def talking(folder: str) -> str:
    return talk(folder)


def stream(page: Page, name: str) -> Any:
    return page.locator(f"[data-stream={name}]")


def test_output_is_seen_while_an_electron_runs(site: Site, look: Look, tmp_path: Path) -> None:
    dispatch_id = ct.dispatch(talking)(str(tmp_path))
    page = site.open(f"/dispatches/{dispatch_id}/nodes/0")
    expect(stream(page, "stdout")).to_contain_text("begun")
    box = stream(page, "stdout").element_handle()

    for number in range(2):
        (tmp_path / f"go {number}").touch()
        expect(stream(page, "stdout")).to_contain_text(f"<b>said {number}</b>")
    expect(stream(page, "stderr")).to_have_text("20 %")
    expect(page.locator("#electron .status")).to_have_text("Running")
    look(page, "electron-running")

    (tmp_path / "end").touch()
    expect(page.locator("#electron .status")).to_have_text("Completed")
    expect(page.get_by_role("region", name="Output", exact=True)).to_have_text("'<i>all said</i>'")
    expect(stream(page, "stderr")).to_have_text("100 %")
    assert box is not None
    assert box.is_visible()  # it was never drawn anew
    look(page, "electron-completed")


def test_a_reader_stays_where_they_read(site: Site, tmp_path: Path) -> None:
    @ct.electron
    def much(folder: str) -> None:
        from pathlib import Path

        print("\n".join(f"line {number}" for number in range(400)))
        while not Path(folder, "more").exists():
            pass
        print("more")
        while not Path(folder, "end").exists():
            pass

    @ct.lattice
    def flow(folder: str) -> None:
        return much(folder)

    dispatch_id = ct.dispatch(flow)(str(tmp_path))
    page = site.open(f"/dispatches/{dispatch_id}/nodes/0")
    out = stream(page, "stdout")
    expect(out).to_contain_text("line 399")
    at_end = "box => box.scrollHeight - box.scrollTop - box.clientHeight < 2"
    assert out.evaluate(at_end)

    out.evaluate("box => { box.scrollTop = 40; }")
    (tmp_path / "more").touch()
    expect(out).to_contain_text("more")
    assert out.evaluate("box => box.scrollTop") == 40
    (tmp_path / "end").touch()
    expect(page.locator("#electron .status")).to_have_text("Completed")


@ct.electron
def measure(angle: float) -> float:
    import pennylane as qml

    import qcov as ct

    kept = ct.executor.Simulator(device="default.qubit")
    unkept = ct.executor.Simulator(device="default.qubit", persist_data=False)

    @qml.qnode(qml.device("default.qubit"))
    def bell(angle: float) -> Any:
        qml.RX(angle, wires=0)
        qml.CNOT(wires=[0, 2])
        first = qml.measure(1)
        qml.cond(first, qml.RY)(angle, wires=2)
        return qml.probs(wires=[0, 1, 2]), qml.expval(qml.Z(0))

    @qml.qnode(qml.device("default.qubit", wires=1))
    def secret(angle: float) -> Any:
        qml.RX(angle, wires=0)
        return qml.expval(qml.Z(0))

    ct.qelectron(secret, executors=unkept)(angle)
    run = ct.qelectron(bell, executors=kept)
    return sum(float(run(angle + number)[1]) for number in range(130))


@ct.lattice
def measuring(angle: float) -> float:
    return measure(angle)


def test_circuits(site: Site, look: Look) -> None:
    dispatch_id = ct.dispatch(measuring)(0.1)
    assert ct.get_result(dispatch_id, wait=True).status == "COMPLETED"
    page = site.open(f"/dispatches/{dispatch_id}/nodes/0")
    page.get_by_role("link", name="131").click()
    rows = page.locator("#circuits tbody tr")
    expect(rows).to_have_count(100)
    look(page, "circuits")

    page.get_by_role("link", name="Next").click()
    expect(rows).to_have_count(31)
    page.get_by_role("link", name="Previous").click()
    expect(rows).to_have_count(100)
    page.get_by_text("Failed", exact=True).click()
    expect(page.get_by_role("heading", name="No circuit matches")).to_be_visible()

    page.goto(f"{site.url}/dispatches/{dispatch_id}/circuits")
    page.get_by_role("link", name="bell").first.click()
    expect(page.get_by_role("img", name="Circuit of 4 operations on 3 wires")).to_be_visible()
    expect(page.get_by_role("img", name="Histogram of 8 outcomes")).to_be_visible()
    look(page, "circuit")

    page.goto(f"{site.url}/dispatches/{dispatch_id}/circuits")
    page.get_by_role("link", name="secret").click()
    expect(page.get_by_text("The circuit itself was not kept")).to_be_visible()
    look(page, "circuit-not-kept")


def test_no_circuits(site: Site, look: Look, tmp_path: Path) -> None:
    (tmp_path / "end").touch()
    dispatch_id = ct.dispatch(ct.lattice(lambda folder: talk(folder, 0)))(str(tmp_path))
    page = site.open(f"/dispatches/{dispatch_id}/circuits")

    expect(page.get_by_role("heading", name="No circuit has run here yet")).to_be_visible()
    look(page, "circuits-none")


def test_the_graph_shows_which_node_was_asked_for(site: Site, tmp_path: Path) -> None:
    (tmp_path / "end").touch()
    dispatch_id = ct.dispatch(talking)(str(tmp_path))
    page = site.open(f"/dispatches/{dispatch_id}/nodes/0")
    page.get_by_role("link", name="Show in graph").click()

    expect(page.get_by_role("complementary", name="Node")).to_contain_text("talk")
    assert page.evaluate("() => qcovGraph.$('node:selected').id()") == "0"
    for number in range(2):
        (tmp_path / f"go {number}").touch()
    ct.get_result(dispatch_id, wait=True)
