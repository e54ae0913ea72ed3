"""What every page has around it: the bar, the keys, and the one event stream of a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from playwright.sync_api import Page, expect

import qcov as ct
from qcov.classical.engine.client import connect
from qcov.settings import data_dir
from tests.waiting import until

if TYPE_CHECKING:
    from conftest import Look, Site

pytestmark = [pytest.mark.browser, pytest.mark.process]

_TABS = 50


@ct.electron
def double(x: int) -> int:
    return 2 * x


@ct.lattice
def doubled(x: int) -> int:
    return double(x)


def streams(site: Site) -> int:
    """How many event streams the server has open, by the connections that it counts."""
    return int(ask(site)["event_streams"])


def ask(site: Site) -> dict[str, object]:
    token = (data_dir() / "server.token").read_text()
    return httpx.get(
        f"{site.url}/api/v1/status",
        headers={"authorization": f"Bearer {token}"},
        trust_env=False,
        timeout=60,
    ).json()


def focused(page: Page) -> str:
    return page.evaluate("() => document.activeElement.textContent.trim()")


def test_the_keys_lead_to_pages_and_rows(site: Site, look: Look) -> None:
    first, second = (ct.dispatch_sync(doubled)(x).dispatch_id for x in (1, 2))
    page = site.open()
    expect(page.locator("#rows tbody tr")).to_have_count(2)

    page.keyboard.press("j")
    page.keyboard.press("j")
    assert page.evaluate("() => document.activeElement.id") == f"d-{first}"
    page.keyboard.press("k")
    assert page.evaluate("() => document.activeElement.id") == f"d-{second}"
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("doubled")
    page.wait_for_selector("#connection[data-state=live]")

    page.keyboard.press("g")
    page.keyboard.press("d")
    expect(page.get_by_role("heading", level=1)).to_have_text("Dispatches")
    page.wait_for_selector("#connection[data-state=live]")
    page.keyboard.press("/")
    page.keyboard.type("gj?")
    expect(page.get_by_role("searchbox")).to_have_value("gj?")
    page.keyboard.press("Escape")
    expect(page.get_by_role("searchbox")).to_have_value("")
    page.keyboard.press("Escape")
    expect(page.get_by_role("searchbox")).not_to_be_focused()

    page.keyboard.press("?")
    help_ = page.get_by_role("dialog", name="Keys")
    expect(help_).to_be_visible()
    look(page, "keys")
    page.keyboard.press("Escape")
    expect(help_).to_be_hidden()


def test_what_is_told_is_seen(site: Site, look: Look) -> None:
    page = site.open()
    page.evaluate("() => qcov.tell('Nothing came of <b>it</b>.', 'failed')")

    expect(page.locator("#told")).to_have_text("Nothing came of <b>it</b>.")
    look(page, "told")


def test_fifty_tabs_share_one_stream(site: Site) -> None:
    page = site.open()
    tabs = [page.context.new_page() for _ in range(_TABS - 1)]
    for tab in tabs:
        tab.goto(site.url, wait_until="commit")
    for tab in tabs:
        tab.wait_for_selector("#connection[data-state=live]")
    assert streams(site) == 1

    page.bring_to_front()
    dispatch_id = ct.dispatch_sync(doubled)(1).dispatch_id
    expect(page.locator("tr", has=page.locator(f"#d-{dispatch_id}"))).to_contain_text("Completed")

    for tab in tabs:
        tab.close()
    dispatch_id = ct.dispatch_sync(doubled)(2).dispatch_id
    expect(page.locator("tr", has=page.locator(f"#d-{dispatch_id}"))).to_contain_text("Completed")


def test_a_page_finds_a_server_that_was_started_again(site: Site) -> None:
    page = site.open()
    page.evaluate("() => document.addEventListener('qcov:reset', () => { window.anew = true; })")
    port = int(site.url.rpartition(":")[2])
    restart(port)

    page.wait_for_function("() => window.anew")
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    dispatch_id = ct.dispatch_sync(doubled)(1).dispatch_id
    expect(page.locator(f"#d-{dispatch_id}")).to_be_visible()
    site.complaints.clear()  # the browser complains of the connection that was lost


def restart(port: int) -> None:
    client = connect(start=False)
    client.call("stop")
    client.close()
    until(lambda: not (data_dir() / "engine.json").exists())
    client = connect(start=True)
    client.call("serve", host="localhost", port=port)
    client.close()
