"""Parts of pages are read anew until they are current, whatever becomes of a request."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Locator, Page, Request, Route, expect

import qcov as ct
from qcov_server.tokens import Tokens

if TYPE_CHECKING:
    from conftest import Site

LONG = 6000  # times 10 ms

pytestmark = [pytest.mark.browser, pytest.mark.process]


@ct.electron
def wait_for(gate: str) -> str:
    """Ends when the test lets it."""
    while not Path(gate).exists():
        time.sleep(0.01)
    return "open"


@ct.electron
def shout(text: str) -> str:
    return text.upper()


@ct.lattice
def gated(gate: str) -> str:
    return shout(wait_for(gate))


@ct.lattice
def other(text: str) -> str:
    return shout(text)


def row_of(page: Page, dispatch_id: str) -> Locator:
    return page.locator("tr", has=page.locator(f"#d-{dispatch_id}"))


def hold_one(page: Page, which: Callable[[str], bool] = lambda _: True) -> list[Route]:
    """Keep the first request for a part that comes from now on until its route is let go."""
    held: list[Route] = []

    def keep(route: Route) -> None:
        wanted = "hx-request" in route.request.headers and which(route.request.url)
        if held or not wanted:
            return route.continue_()
        return held.append(route)

    page.route("**/*", keep)
    return held


def until_held(page: Page, held: list[Route]) -> Route:
    for _ in range(LONG):
        if held:
            break
        page.wait_for_timeout(10)
    return held[0]


def to_be_heard(page: Page) -> None:
    """Wait longer than it takes a page to hear of what has happened."""
    page.wait_for_timeout(500)


def test_what_ends_while_a_part_is_read_is_seen(site: Site, tmp_path: Path) -> None:
    page = site.open()
    held = hold_one(page)
    gate = tmp_path / "gate"
    dispatch_id = ct.dispatch(gated)(str(gate))
    while_it_ran = until_held(page, held).fetch()
    gate.touch()
    ct.get_result(dispatch_id, wait=True)
    to_be_heard(page)
    held[0].fulfill(response=while_it_ran)

    expect(row_of(page, dispatch_id)).to_contain_text("Completed")


def test_a_part_that_could_not_be_read_is_read_once_more(site: Site, tmp_path: Path) -> None:
    page = site.stranger()
    page.goto(site.login_link())
    page.wait_for_selector("#connection[data-state=live]")
    lost: list[Route] = []

    def lose(route: Route) -> None:
        if "hx-request" not in route.request.headers:
            return route.continue_()
        lost.append(route)
        return route.abort()

    page.route("**/*", lose)
    dispatch_id = ct.dispatch(gated)(str(tmp_path))
    ct.get_result(dispatch_id, wait=True)
    to_be_heard(page)
    assert lost
    page.unroute("**/*")

    expect(row_of(page, dispatch_id)).to_contain_text("Completed")


def test_a_part_that_cannot_be_read_is_asked_for_seldom(site: Site) -> None:
    page = site.stranger()
    page.goto(site.login_link())
    page.wait_for_selector("#connection[data-state=live]")
    asked: list[Route] = []

    def refuse(route: Route) -> None:
        if "hx-request" not in route.request.headers:
            return route.continue_()
        asked.append(route)
        return route.fulfill(status=503)

    page.route("**/*", refuse)
    for _ in range(40):
        page.evaluate("() => qcov.renew(document.getElementById('rows'))")
        page.wait_for_timeout(100)
    assert 1 <= len(asked) <= 3  # every 3 s


def test_another_node_is_shown_while_one_is_read(site: Site, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    page = site.open(f"/dispatches/{ct.dispatch(gated)(str(gate))}")
    page.wait_for_function("() => window.qcovGraph && qcovGraph.nodes().length > 0")
    choose = "(label) => void qcovGraph.nodes(`[label = '${label}']`).emit('tap')"
    page.evaluate(choose, "wait_for")
    panel = page.locator("#inspector")
    expect(panel.locator("h2")).to_have_text("wait_for")
    expect(panel.locator(".status")).to_have_text("Running")
    held = hold_one(page, lambda url: url.endswith("/nodes/0"))
    page.evaluate("() => qcov.renew(document.getElementById('shown'))")
    until_held(page, held)
    page.evaluate(choose, "shout")
    expect(panel.locator("h2")).to_have_text("shout")
    held[0].continue_()

    gate.touch()
    expect(panel.locator(".status")).to_have_text("Completed")


def test_a_part_that_has_just_come_is_read_anew(site: Site, tmp_path: Path) -> None:
    page = site.open(f"/dispatches/{ct.dispatch_sync(gated)(str(tmp_path)).dispatch_id}")
    page.wait_for_function("() => window.qcovGraph && qcovGraph.nodes().length > 0")
    page.evaluate(
        """() => document.addEventListener("htmx:afterSwap", () => {
          qcov.renew(document.getElementById("shown"));
        }, { once: true })"""
    )
    asked: list[str] = []

    def note(request: Request) -> None:
        if request.url.endswith("/nodes/0"):
            asked.append(request.url)

    page.on("request", note)
    page.evaluate("() => void qcovGraph.nodes(`[label = 'wait_for']`).emit('tap')")
    for _ in range(LONG):
        if len(asked) == 2:
            break
        page.wait_for_timeout(10)
    assert len(asked) == 2


def test_a_search_while_the_list_is_read_is_done(site: Site, tmp_path: Path) -> None:
    one, two = ct.dispatch_sync(gated)(str(tmp_path)), ct.dispatch_sync(other)("text")
    page = site.open()
    expect(row_of(page, two.dispatch_id)).to_be_visible()
    held = hold_one(page)
    page.evaluate("() => qcov.renew(document.getElementById('rows'))")
    before = until_held(page, held).fetch()
    page.get_by_role("searchbox").fill("gated")
    expect(row_of(page, two.dispatch_id)).to_have_count(0)
    held[0].fulfill(response=before)

    to_be_heard(page)
    expect(row_of(page, one.dispatch_id)).to_be_visible()
    expect(row_of(page, two.dispatch_id)).to_have_count(0)


def test_a_part_that_asks_for_itself_waits_for_what_was_chosen(site: Site, tmp_path: Path) -> None:
    one, two = ct.dispatch_sync(gated)(str(tmp_path)), ct.dispatch_sync(other)("text")
    page = site.open()
    expect(row_of(page, two.dispatch_id)).to_be_visible()
    held = hold_one(page, lambda url: "search=gated" in url)
    page.get_by_role("searchbox").fill("gated")
    until_held(page, held)
    page.evaluate("() => htmx.trigger('#rows', 'refresh')")
    to_be_heard(page)
    held[0].continue_()

    expect(row_of(page, two.dispatch_id)).to_have_count(0)
    to_be_heard(page)
    expect(row_of(page, one.dispatch_id)).to_be_visible()
    expect(row_of(page, two.dispatch_id)).to_have_count(0)


def test_who_logs_in_anew_hears_of_all_that_they_may_see(
    site: Site, data_folder: Path, tmp_path: Path
) -> None:
    gates = tmp_path / "guests", tmp_path / "owners"
    seen, unseen = (ct.dispatch(gated)(str(gate)) for gate in gates)
    token = Tokens(data_folder).share("a guest", lifetime=600.0, dispatch=seen)
    guests = site.stranger()
    guests.goto(f"{site.url}/login?code={token}&to=/dispatches/{seen}")
    guests.wait_for_selector("#connection[data-state=live]")

    page = guests.context.new_page()
    held = list[Route]()
    page.route("**/static/live.js", lambda route: held.append(route))  # noqa: PLW0108
    page.goto(site.login_link(), wait_until="commit")
    expect(row_of(page, unseen)).to_be_visible()
    gates[1].touch()
    ct.get_result(unseen, wait=True)
    gates[0].touch()
    expect(guests.locator("#heading .status").first).to_have_text("Completed")
    for route in held:
        route.continue_()

    expect(row_of(page, unseen)).to_contain_text("Completed")
    new = ct.dispatch_sync(other)("new").dispatch_id
    expect(row_of(page, new)).to_be_visible()
