"""The list of dispatches, one of them, and two side by side, in use."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Locator, Page, expect

import qcov as ct

if TYPE_CHECKING:
    from conftest import Look, Site

pytestmark = [pytest.mark.browser, pytest.mark.process]


@ct.electron
def wait_for(gate: str) -> str:
    while not Path(gate).exists():
        time.sleep(0.01)
    return "open"


@ct.electron
def shout(text: str, times: int = 1) -> str:
    return text.upper() * times


@ct.electron
def parse(text: str) -> float:
    return float(text)


@ct.electron
def total(texts: list[str]) -> int:
    return len("".join(texts))


@ct.electron
def size(path: str, _: str) -> int:
    return len(Path(path).read_text())


@ct.lattice
def counted(path: str) -> int:
    return size(path, shout("x"))


@ct.lattice
def gated(gate: str) -> str:
    return shout(wait_for(gate))


@ct.lattice
def greet(text: str) -> str:
    return shout(text)


@ct.lattice
def broken(text: str) -> float:
    return parse(shout(text))


@ct.electron
@ct.lattice
def inner(text: str) -> str:
    return shout(text, times=2)


@ct.lattice
def spread(text: str, count: int) -> int:
    """Say a word many times, and count the letters."""
    return total([inner(text), *(shout(text, times=number) for number in range(count))])


def rows(page: Page) -> Locator:
    return page.locator("#rows tbody tr")


def picked(page: Page) -> int:
    return page.locator("#rows .c-pick input[id^=p-]:checked").count()


# -- the list ----------------------------------------------------------------------------------


def test_what_is_chosen_stays_while_the_list_changes(site: Site, tmp_path: Path) -> None:
    for _ in range(30):
        ct.dispatch_sync(greet)("x")
    page = site.open()
    expect(rows(page)).to_have_count(30)
    third = rows(page).nth(2)
    name = third.locator("a.whole")
    third_id = name.get_attribute("id")
    name.focus()
    page.keyboard.press("x")
    expect(page.locator("#selected")).to_have_text("1 selected")
    page.evaluate("() => window.scrollTo(0, 200)")

    gate = tmp_path / "gate"
    dispatch_id = ct.dispatch(gated)(str(gate))
    expect(page.locator(f"#d-{dispatch_id}")).to_be_attached()

    assert page.evaluate("() => window.scrollY") == 200
    assert page.evaluate("() => document.activeElement.id") == third_id
    expect(page.locator("#selected")).to_have_text("1 selected")
    assert picked(page) == 1
    gate.touch()
    ct.get_result(dispatch_id, wait=True)
    expect(rows(page).first).to_contain_text("Completed")
    assert picked(page) == 1


def test_the_list_looks_right(site: Site, look: Look, tmp_path: Path) -> None:
    ct.dispatch_sync(greet)("x")
    ct.dispatch_sync(broken)("y")
    ct.dispatch(gated)(str(tmp_path / "never"))
    ct.dispatch(greet, disable_run=True)("z")
    page = site.open()
    expect(page.get_by_text("Running", exact=True)).to_have_count(2)
    boxes = page.locator("#rows .c-pick input[id^=p-]")
    boxes.nth(2).click()
    boxes.nth(3).click()
    look(page, "dispatches-chosen")
    page.get_by_role("button", name="Delete", exact=True).click()
    look(page, "dispatches-delete")


def test_rows_are_chosen_and_deleted_together(site: Site) -> None:
    for text in "abcdef":
        ct.dispatch_sync(greet)(text)
    page = site.open()
    boxes = page.locator("#rows .c-pick input[id^=p-]")
    boxes.nth(1).click()
    boxes.nth(4).click(modifiers=["Shift"])
    expect(page.locator("#selected")).to_have_text("4 selected")
    expect(page.get_by_role("button", name="Cancel", exact=True)).to_be_disabled()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_role("dialog")).to_contain_text("Delete 4 dispatches, with all results?")
    page.get_by_role("button", name="Keep them").click()
    expect(rows(page)).to_have_count(6)

    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("button", name="Delete them").click()
    expect(page.locator("#told")).to_contain_text("4 dispatches deleted.")  # for a while only
    expect(rows(page)).to_have_count(2)
    expect(page.locator("#selection")).to_be_hidden()


def test_all_of_a_page_are_cancelled(site: Site, tmp_path: Path) -> None:
    ct.dispatch_sync(greet)("x")  # first: the others have all workers
    ids = [ct.dispatch(gated)(str(tmp_path / "never")) for _ in range(3)]
    page = site.open()
    page.get_by_label("Select all on this page").check()
    page.get_by_role("button", name="Cancel", exact=True).click()
    expect(page.get_by_role("dialog")).to_contain_text("Cancel 3 dispatches?")
    expect(page.get_by_role("dialog")).to_contain_text("1 have ended already")
    page.get_by_role("button", name="Cancel them").click()

    expect(rows(page).filter(has_text="Cancelled")).to_have_count(3)
    assert {str(ct.get_result(each).status) for each in ids} == {"CANCELLED"}


def test_the_list_is_sorted_and_the_keyboard_opens_it(site: Site) -> None:
    ct.dispatch_sync(greet)("x")
    ct.dispatch_sync(broken)("x")
    page = site.open()
    page.get_by_role("link", name="Name").click()
    expect(page.locator("th[aria-sort=ascending]")).to_contain_text("Name")
    expect(rows(page).first).to_contain_text("broken")
    assert "sort=name" in page.url
    page.get_by_role("link", name="Name").click()
    expect(rows(page).first).to_contain_text("greet")

    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("broken")


# -- one dispatch ------------------------------------------------------------------------------


def test_arrows_go_through_the_graph(site: Site) -> None:
    page = site.open(f"/dispatches/{ct.dispatch_sync(broken)('x').dispatch_id}")
    page.wait_for_function("() => window.qcovGraph")
    title = page.locator("#inspector h2")
    page.locator("#graph").focus()

    page.keyboard.press("ArrowDown")
    first = title.text_content()
    for _ in range(3):
        if title.text_content() == "parse":
            break
        page.keyboard.press("ArrowDown")
        expect(title).not_to_have_text(str(first))
        first = title.text_content()
    expect(title).to_have_text("parse")
    page.keyboard.press("ArrowUp")
    expect(title).to_have_text("shout")
    page.keyboard.press("Escape")
    expect(page.locator("#inspector")).to_contain_text("Choose a node")


def test_ten_thousand_nodes_are_drawn_and_clicked(site: Site) -> None:
    dispatch_id = ct.dispatch(spread, disable_run=True)("word", 5000)
    page = site.open(f"/dispatches/{dispatch_id}")
    page.wait_for_function("() => window.qcovGraph")

    place = page.evaluate("() => qcovGraph.at(qcovGraph.nodes()[4000].id)")
    page.locator("#graph").click(position=place)
    shown = page.locator("#inspector [data-shown]")
    expect(shown).to_be_visible()
    chosen = page.evaluate("() => qcovGraph.own()")
    assert shown.get_attribute("data-shown") == chosen

    page.keyboard.press("ArrowRight")
    expect(shown).not_to_have_attribute("data-shown", chosen)
    before = page.evaluate("() => qcovGraph.nodes().length")
    page.get_by_role("button", name="Constants").click()
    assert page.evaluate("() => qcovGraph.nodes().length") > 2 * before - 10


def test_what_happens_while_a_graph_is_loaded_is_seen(site: Site) -> None:
    dispatch_id = ct.dispatch(spread)("word", 1600)
    page = site.open(f"/dispatches/{dispatch_id}")
    page.wait_for_function("() => window.qcovGraph")
    ct.get_result(dispatch_id, wait=True)

    page.wait_for_function("() => qcovGraph.nodes().every((node) => node.status === 'COMPLETED')")


def test_the_timeline_grows_and_is_walked_through(site: Site, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    dispatch_id = ct.dispatch(gated)(str(gate))
    page = site.open(f"/dispatches/{dispatch_id}?view=timeline")
    status = "(row) => qcovTimeline.rows()[row][2]"
    page.wait_for_function(f"() => window.qcovTimeline && ({status})(0) === 'RUNNING'")
    page.wait_for_function("() => qcovTimeline.drawn()[1] > 1.2")  # seconds: it grows by itself

    gate.touch()
    ct.get_result(dispatch_id, wait=True)
    page.wait_for_function(f"() => ({status})(1) === 'COMPLETED'")
    expect(page.locator("#result")).to_contain_text("'OPEN'")

    page.locator("#timeline").focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#inspector h2")).to_have_text("wait_for")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#inspector h2")).to_have_text("shout")
    page.keyboard.press("+")
    page.wait_for_function("() => qcovTimeline.drawn()[0] > 0")


def test_a_sublattice_is_opened_from_the_timeline(site: Site) -> None:
    dispatch_id = ct.dispatch_sync(spread)("word", 0).dispatch_id
    page = site.open(f"/dispatches/{dispatch_id}?view=timeline")
    page.wait_for_function("() => window.qcovTimeline")
    page.locator("#timeline").focus()
    page.keyboard.press("Home")
    expect(page.locator("#inspector h2")).to_have_text("inner")
    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", level=1)).to_have_text("inner")


def test_the_table_is_sorted_and_filtered(site: Site) -> None:
    dispatch_id = ct.dispatch_sync(broken)("x").dispatch_id
    page = site.open(f"/dispatches/{dispatch_id}?view=table")
    body = page.locator("#nodes tbody tr")
    expect(body).to_have_count(3)

    page.locator("#node-status").select_option("FAILED")
    expect(body).to_have_count(1)
    expect(body).to_contain_text("parse")
    assert "status=FAILED" in page.url
    page.locator("#node-status").select_option("")
    page.locator("#node-search").fill("sho")
    expect(body.filter(has_text="parse")).to_have_count(0)  # which both lists before have
    expect(body).to_have_count(1)
    expect(body).to_contain_text("shout")
    page.reload()
    expect(body).to_have_count(1)


def test_it_runs_again_and_the_two_are_compared(site: Site, look: Look) -> None:
    dispatch_id = ct.dispatch_sync(broken)("x").dispatch_id
    page = site.open(f"/dispatches/{dispatch_id}")
    page.get_by_role("button", name="Redispatch").click()
    page.get_by_role("button", name="Run it").click()
    page.wait_for_url(lambda url: "/dispatches/" in url and dispatch_id not in url)
    expect(page.locator("#heading .status")).to_have_text("Failed")

    page.get_by_role("link", name="Compare").click()
    look(page, "compare-choose")
    page.locator("a.whole").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Two runs")
    page.get_by_role("link", name="Show all").click()
    expect(page.locator("tbody tr", has_text="shout")).to_be_visible()
    look(page, "compare")


def test_one_that_failed_is_resumed(site: Site, tmp_path: Path) -> None:
    flag = tmp_path / "mended"
    flag.mkdir()
    dispatch_id = ct.dispatch_sync(counted)(str(flag)).dispatch_id
    flag.rmdir()
    flag.write_text("x")
    page = site.open(f"/dispatches/{dispatch_id}")
    page.get_by_role("button", name="Resume").click()
    page.get_by_role("button", name="Resume it").click()
    page.wait_for_url(lambda url: "/dispatches/" in url and dispatch_id not in url)

    expect(page.locator("#heading .status")).to_have_text("Completed")
    nodes = ct.get_result(page.url.rpartition("/")[2]).get_all_node_results()
    assert {
        node["node_name"]: node["reused_from"]
        for node in nodes
        if node["node_name"] in ("shout", "size")
    } == {
        "shout": dispatch_id,
        "size": None,
    }


def test_one_that_was_stored_is_started(site: Site) -> None:
    dispatch_id = ct.dispatch(greet, disable_run=True)("x")
    page = site.open(f"/dispatches/{dispatch_id}")

    page.get_by_role("button", name="Start").click()
    expect(page.locator("#heading .status")).to_have_text("Completed")
    expect(page.locator("#result")).to_contain_text("'X'")


def test_it_is_deleted_after_a_question(site: Site) -> None:
    dispatch_id = ct.dispatch_sync(greet)("x").dispatch_id
    page = site.open(f"/dispatches/{dispatch_id}")

    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("button", name="Delete it").click()
    expect(page.get_by_text("Nothing has been dispatched yet")).to_be_visible()
    # the browser complains of a part that was read anew meanwhile
    site.complaints[:] = [said for said in site.complaints if "404 (Not Found)" not in said]


def loaded(page: Page, view: str) -> None:
    ready = {"graph": "qcovGraph", "timeline": "qcovTimeline"}.get(view)
    if ready:
        page.wait_for_function(f"() => window.{ready}")


@pytest.mark.parametrize("view", ["graph", "timeline", "table"])
@pytest.mark.parametrize("made", [broken, spread], ids=["failed", "completed"])
def test_a_dispatch_looks_right(site: Site, look: Look, made: ct.Lattice, view: str) -> None:
    given = ("not a number",) if made is broken else ("word", 9)
    dispatch_id = ct.dispatch_sync(made)(*given).dispatch_id
    page = site.open(f"/dispatches/{dispatch_id}?view={view}")
    loaded(page, view)
    if view == "timeline":
        page.locator("#timeline").click(position={"x": 60, "y": 60})
        expect(page.locator("#inspector h2")).to_be_visible()
    look(page, f"dispatch-{made.name}-{view}")
