"""The pages of logs, jobs, triggers, executors and settings, as a person sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

import qcov as ct

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
    expect(rows.first).to_contain_text("the dispatch is FAILED")
    expect(rows.first).to_contain_text(dispatch_id[:8])
    look(page, "logs")

    page.get_by_role("searchbox").fill("node")
    expect(rows).to_have_count(1)
    page.get_by_role("button", name="Live").click()
    ct.dispatch_sync(refused)(2)
    page.wait_for_timeout(700)  # that nothing comes is seen by no event
    expect(rows).to_have_count(1)
    page.get_by_role("button", name="Live").click()
    expect(rows).to_have_count(2)
