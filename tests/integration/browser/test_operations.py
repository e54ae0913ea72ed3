"""The pages of logs, jobs, triggers, executors and settings, as a person sees them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pennylane as qml
import pytest
from playwright.sync_api import expect

import qcov as ct
from qcov.job_entries import Intent, State
from qcov.journal import Journal

if TYPE_CHECKING:
    from conftest import Look, Site

pytestmark = [pytest.mark.browser, pytest.mark.process]


@ct.electron
def refuse(x: int) -> int:
    raise ValueError(f"<b>{x}</b>")


@ct.lattice
def refused(x: int) -> int:
    return refuse(x)


def test_a_failure_comes_to_the_log_by_itself(site: Site, look: Look) -> None:
    page = site.open("/logs")
    expect(page.get_by_text("Nothing has been logged yet")).to_be_visible()
    look(page, "logs-none")

    dispatch_id = ct.dispatch_sync(refused)(1).dispatch_id
    rows = page.locator("#lines tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("the dispatch is FAILED: ")
    expect(rows.first).to_contain_text(dispatch_id[:8])
    expect(rows.nth(1)).to_contain_text("(refuse) is FAILED: ValueError: ")
    look(page, "logs")

    page.get_by_role("searchbox").fill("node")
    expect(rows).to_have_count(1)
    page.get_by_role("button", name="Live").click()
    ct.dispatch_sync(refused)(2)
    page.wait_for_timeout(700)  # that nothing comes is seen by no event
    expect(rows).to_have_count(1)
    page.get_by_role("button", name="Live").click()
    expect(rows).to_have_count(2)


def submit(token: str, **about: Any) -> str:
    intent = Intent(
        token=token, run="r", part=0, scope="s", dispatch_id=None, node_id=None, provider="ibm",
        account="me", keys=["k", "l"], shots=8000, estimate={"USD": 1.5}, device="ibm_fez",
    )  # fmt: skip
    Journal().intend(replace(intent, **about), {})
    return token


def test_jobs_come_by_themselves_and_are_resolved(site: Site, look: Look) -> None:
    page = site.open("/jobs")
    expect(page.get_by_text("No job has been submitted yet")).to_be_visible()
    look(page, "jobs-none")

    done, lost = submit("d" * 32), submit("e" * 32, device="ibm_torino", dispatch_id="1234-5678")
    Journal().submitted(done, "d3h8v2kg")
    Journal().ended(done, State.COMPLETED, {"USD": 0.96})
    Journal().unknown(lost, "the connection broke while it was submitted")
    rows = page.locator("#jobs tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.filter(has_text="d3h8v2kg")).to_contain_text("$0.96")
    look(page, "jobs")

    page.get_by_role("link", name=lost).click()
    page.get_by_role("button", name="Resolve").click()
    look(page, "job-resolve")
    page.get_by_label("The provider's id").fill("d3h8v2kz")
    page.get_by_role("button", name="It has this id").click()
    expect(page.locator("#told")).to_contain_text("The journal says so now.")
    expect(page.locator("#job .title .status")).to_have_text("Submitted")
    look(page, "job")


@ct.electron
def tick() -> int:
    return 1


@ct.lattice(triggers=ct.triggers.TimeTrigger(1))
def ticking() -> int:
    return tick()


def test_a_trigger_is_seen_to_run_and_is_stopped(site: Site, look: Look) -> None:
    page = site.open("/triggers")
    expect(page.get_by_text("No trigger has been registered yet")).to_be_visible()
    look(page, "triggers-none")

    ct.dispatch(ticking)()
    row = page.locator("#triggers tbody tr")
    expect(row).to_contain_text("Active")
    expect(row.locator(".j-number")).not_to_have_text("0")
    look(page, "triggers")

    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("TimeTrigger")
    expect(page.locator("#trigger tbody tr").first).to_be_visible()
    look(page, "trigger")
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Stop them").click()
    expect(page.locator("#told")).to_have_text("Stopped.")  # first: it is there for a while only
    expect(page.locator("#trigger .title .status")).to_have_text("Stopped")


def test_settings_are_read(site: Site, look: Look) -> None:
    ct.set_config("sdk.log_level", "info")
    page = site.open("/settings")

    expect(page.locator("tr", has_text="sdk.log_level")).to_contain_text("file, line 2")
    look(page, "settings")


@ct.qelectron(executors=ct.executor.Simulator())
@qml.qnode(qml.device("default.qubit", wires=1))
def turned(x: float) -> Any:
    qml.RX(x, wires=0)
    return qml.expval(qml.Z(0))


@ct.electron
def turn(count: int) -> float:
    return float(sum(turned(0.1 * number) for number in range(count)))


@ct.lattice
def turning(count: int) -> float:
    return turn(count)


def test_executors_show_what_ran_by_themselves(site: Site, look: Look) -> None:
    page = site.open("/executors")
    expect(page.get_by_text("Nothing has run in the last 24 hours")).to_be_visible()
    look(page, "executors-none")

    ct.dispatch_sync(turning)(40)
    row = page.locator("#executors tr", has_text="Simulator")
    expect(row).to_contain_text("40")
    expect(row).to_contain_text("Working")
    expect(page.locator("#executors tr", has_text="local")).to_be_visible()
    ct.dispatch_sync(refused)(1)
    page.reload()
    expect(row).to_contain_text("40")
    look(page, "executors")
