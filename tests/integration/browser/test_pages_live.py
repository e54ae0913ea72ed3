"""The pages, as a person sees them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Page, Route, expect

import qcov as ct

if TYPE_CHECKING:
    from conftest import Look, Site

pytestmark = [pytest.mark.browser, pytest.mark.process]


@ct.electron
def wait_for(gate: str) -> str:
    """Ends when the test lets it, so that a running dispatch can be looked at."""
    while not Path(gate).exists():
        time.sleep(0.01)
    return "open"


@ct.electron
def shout(text: str) -> str:
    print("shouting", text)
    return text.upper()


@ct.electron
def refuse(text: str) -> str:
    raise ValueError(f"<b>no</b> {text}")


@ct.lattice
def gated(gate: str) -> str:
    return shout(wait_for(gate))


@ct.lattice
def refused(text: str) -> str:
    return refuse(shout(text))


@ct.electron
@ct.lattice
def inner(text: str) -> str:
    return shout(text)


@ct.lattice
def outer(text: str) -> str:
    return inner(text)


@ct.electron
def place(text: str, number: int) -> str:
    return f"{text} {number}"


@ct.lattice
def wide(count: int) -> list[str]:
    return [place("a constant", number) for number in range(count)]


def corners(page: Page) -> tuple[float, float, float, float]:
    """How far the drawn graph stays inside its pane, on each side."""
    return page.evaluate(
        """() => {
          const box = qcovGraph.nodes().not('.hidden').renderedBoundingBox();
          return [box.x1, box.y1, qcovGraph.width() - box.x2, qcovGraph.height() - box.y2];
        }"""
    )


def drawn(page: Page, kind: str) -> int:
    """How many nodes of a kind are drawn."""
    return page.evaluate(f"() => qcovGraph.nodes('[kind = \"{kind}\"]').not('.hidden').length")


def icons(page: Page) -> dict[str, str]:
    """What the drawn graph shows for each node."""
    return page.evaluate(
        "() => Object.fromEntries(qcovGraph.nodes().map(n => [n.data('label'), n.data('icon')]))"
    )


def hold(page: Page, what: str) -> list[Route]:
    """Keep a page from getting something until it is let go."""
    held: list[Route] = []

    def keep(route: Route) -> None:
        held.append(route)

    page.route(what, keep)
    return held


def let_go(held: list[Route]) -> None:
    for route in held:
        route.continue_()


def wait_for_graph(page: Page) -> None:
    page.wait_for_function("() => window.qcovGraph && qcovGraph.nodes().length > 0")


def test_a_new_dispatch_and_its_end_appear_by_themselves(site: Site, tmp_path: Path) -> None:
    page = site.open()
    expect(page.get_by_text("Nothing has been dispatched yet")).to_be_visible()
    page.evaluate("() => { window.sameDocument = true; }")

    gate = tmp_path / "gate"
    dispatch_id = ct.dispatch(gated)(str(gate))
    row = page.locator("tr", has=page.locator(f"#d-{dispatch_id}"))
    expect(row).to_contain_text("Running")

    gate.touch()
    ct.get_result(dispatch_id, wait=True)
    expect(row).to_contain_text("Completed")
    assert page.evaluate("() => window.sameDocument")


def test_what_ends_while_the_first_page_loads_is_seen(site: Site, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    dispatch_id = ct.dispatch(gated)(str(gate))
    page = site.stranger()
    scripts = hold(page, "**/static/live.js")
    page.goto(site.login_link(), wait_until="commit")
    row = page.locator("tr", has=page.locator(f"#d-{dispatch_id}"))
    expect(row).to_be_visible()
    expect(row).not_to_contain_text("Completed")

    gate.touch()
    ct.get_result(dispatch_id, wait=True)
    let_go(scripts)

    expect(row).to_contain_text("Completed")


@pytest.mark.parametrize(
    ("path", "status", "script"),
    [
        ("/nodes/0", "#electron .status", "live.js"),
        ("/nodes/0", "#electron .status", "electron.js"),
        ("", "#heading .status", "vendor/cytoscape-*.js"),
    ],
)
def test_what_ends_while_a_page_loads_beside_another_is_seen(
    site: Site, tmp_path: Path, path: str, status: str, script: str
) -> None:
    gate = tmp_path / "gate"
    first = site.open()
    dispatch_id = ct.dispatch(gated)(str(gate))
    page = first.context.new_page()
    scripts = hold(page, f"**/static/{script}")
    page.goto(f"{site.url}/dispatches/{dispatch_id}{path}", wait_until="commit")
    shown = page.locator(status).first
    expect(shown).to_be_visible()
    expect(shown).not_to_have_text("Completed")

    gate.touch()
    row = first.locator("tr", has=first.locator(f"#d-{dispatch_id}"))
    expect(row).to_contain_text("Completed")
    let_go(scripts)

    expect(shown).to_have_text("Completed")


def test_a_page_is_not_drawn_anew_for_what_is_on_others(site: Site, tmp_path: Path) -> None:
    ended = ct.dispatch(gated)(str(tmp_path))
    ct.get_result(ended, wait=True)
    first = site.open()
    page = first.context.new_page()
    scripts = hold(page, "**/static/live.js")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{site.url}/dispatches/{ended}", wait_until="commit")

    other = ct.dispatch(gated)(str(tmp_path))
    row = first.locator("tr", has=first.locator(f"#d-{other}"))
    expect(row).to_contain_text("Completed")
    let_go(scripts)
    page.wait_for_selector("#connection[data-state=live]")
    wait_for_graph(page)
    page.wait_for_timeout(500)  # longer than it takes to hear and to read anew

    assert [url.rpartition("/")[2] for url in asked if url.endswith(("/graph", "/heading"))] == [
        "graph"
    ]


def test_the_graph_follows_within_a_second(site: Site, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    dispatch_id = ct.dispatch(gated)(str(gate))
    page = site.open(f"/dispatches/{dispatch_id}")
    wait_for_graph(page)
    page.wait_for_function(
        "() => qcovGraph.nodes('[label = \"wait_for\"]').data('icon') === 'running'"
    )
    assert icons(page)["shout"] == "waiting"
    page.evaluate("() => { window.sameDocument = true; }")

    gate.touch()
    ct.get_result(dispatch_id, wait=True)
    page.wait_for_function(
        "() => qcovGraph.nodes('[label = \"shout\"]').data('icon') === 'completed'"
    )
    expect(page.locator("#heading")).to_contain_text("Completed")
    assert page.evaluate("() => window.sameDocument")


@pytest.mark.parametrize("width", [360, 1280])
def test_all_of_the_graph_is_seen_at_first(site: Site, width: int) -> None:
    dispatch_id = ct.dispatch_sync(wide)(12).dispatch_id
    page = site.open(f"/dispatches/{dispatch_id}", width=width)
    wait_for_graph(page)

    assert min(corners(page)) > 20
    zoom = page.evaluate("() => qcovGraph.zoom()")
    assert zoom * 17 >= 6  # names can be read: Cytoscape leaves out what is smaller

    page.get_by_role("button", name="Constants").click()
    assert min(corners(page)) > 20


def test_the_graph_follows_its_window_until_somebody_zooms(site: Site) -> None:
    dispatch_id = ct.dispatch_sync(wide)(12).dispatch_id
    page = site.open(f"/dispatches/{dispatch_id}")
    wait_for_graph(page)
    zoom = "() => qcovGraph.zoom()"
    whole = page.evaluate(zoom)

    page.locator("#graph").click(position={"x": 5, "y": 5})  # which moves nothing
    page.set_viewport_size({"width": 700, "height": 900})
    page.wait_for_function("() => qcovGraph.width() < 700")
    page.wait_for_function(f"() => qcovGraph.zoom() !== {whole}")
    assert min(corners(page)) > 20

    page.locator("#graph").hover()
    page.mouse.wheel(0, -300)
    page.wait_for_function("() => qcovGraph.zoom() > 0.7")
    zoomed = page.evaluate(zoom)
    page.set_viewport_size({"width": 1280, "height": 900})
    page.wait_for_function("() => qcovGraph.width() > 700")
    assert page.evaluate(zoom) == zoomed

    page.get_by_role("button", name="Fit").click()
    assert min(corners(page)) > 20


def test_many_constants_are_drawn_when_asked_for(site: Site) -> None:
    dispatch_id = ct.dispatch_sync(wide)(12).dispatch_id
    page = site.open(f"/dispatches/{dispatch_id}")
    wait_for_graph(page)
    button = page.get_by_role("button", name="Constants")

    expect(button).to_have_attribute("aria-pressed", "false")
    assert (drawn(page, "electron"), drawn(page, "parameter")) == (12, 0)
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    assert (drawn(page, "electron"), drawn(page, "parameter")) == (12, 24)


def test_a_dispatch_without_nodes_says_so(site: Site) -> None:
    page = site.open(f"/dispatches/{ct.dispatch_sync(ct.lattice(lambda: 1))().dispatch_id}")

    expect(page.locator("#graph-note")).to_have_text("This dispatch has no nodes.")
    page.get_by_role("button", name="Fit").click()


def test_a_few_constants_are_drawn_at_once(site: Site) -> None:
    dispatch_id = ct.dispatch_sync(wide)(2).dispatch_id
    page = site.open(f"/dispatches/{dispatch_id}")
    wait_for_graph(page)

    assert (drawn(page, "electron"), drawn(page, "parameter")) == (2, 4)


def test_a_node_is_looked_into(site: Site) -> None:
    dispatch_id = ct.dispatch_sync(refused)("hello").dispatch_id
    page = site.open(f"/dispatches/{dispatch_id}")
    wait_for_graph(page)

    page.evaluate("() => void qcovGraph.nodes('[label = \"shout\"]').emit('tap')")
    inspector = page.locator("#inspector")
    expect(inspector).to_contain_text("'HELLO'")
    expect(inspector).to_contain_text("shouting hello")

    page.evaluate("() => void qcovGraph.nodes('[label = \"refuse\"]').emit('tap')")
    expect(inspector).to_contain_text("ValueError: <b>no</b> HELLO")

    page.keyboard.press("Escape")
    expect(inspector).to_contain_text("Choose a node")


def test_a_sublattice_leads_to_its_own_page_and_back(site: Site) -> None:
    dispatch_id = ct.dispatch_sync(outer)("x").dispatch_id
    page = site.open(f"/dispatches/{dispatch_id}?view=table")

    page.get_by_role("link", name="open").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("inner")
    page.locator(".facts").get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("outer")


def test_a_dispatch_is_cancelled(site: Site, tmp_path: Path) -> None:
    dispatch_id = ct.dispatch(gated)(str(tmp_path / "never"))
    page = site.open(f"/dispatches/{dispatch_id}")

    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("button", name="Cancel it").click()

    expect(page.locator("#heading .status")).to_have_text("Cancelled")
    expect(page.get_by_role("button", name="Cancel", exact=True)).to_have_count(0)


def test_filter_and_search(site: Site) -> None:
    ct.dispatch_sync(refused)("a")
    ct.dispatch_sync(outer)("b")
    page = site.open()
    rows = page.locator("#rows tbody tr")
    expect(rows).to_have_count(2)

    page.get_by_text("Failed", exact=True).first.click()
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("refused")
    expect(rows).to_contain_text("ValueError: <b>no</b> A")

    page.get_by_text("All", exact=True).click()
    expect(rows).to_have_count(2)
    page.keyboard.press("/")
    page.keyboard.type("out")
    expect(rows).to_have_count(1)
    assert "search=out" in page.url
    page.reload()
    expect(rows).to_have_count(1)


def test_light_and_dark(site: Site) -> None:
    page = site.open(scheme="dark")
    ground = "() => getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)

    page.get_by_role("button", name="Switch between light and dark").click()
    light = page.evaluate(ground)
    page.reload()

    assert dark != light
    assert page.evaluate(ground) == light


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_is_wider_than_the_window(site: Site, width: int) -> None:
    dispatch_id = ct.dispatch_sync(refused)("a" * 300).dispatch_id

    for path in ("/", f"/dispatches/{dispatch_id}"):
        page = site.open(path, width=width)
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width


def test_the_keyboard_reaches_a_dispatch(site: Site) -> None:
    ct.dispatch_sync(outer)("b")
    page = site.open()
    link = page.get_by_role("link", name="outer")

    for _ in range(20):
        page.keyboard.press("Tab")
        if link.evaluate("element => element === document.activeElement"):
            break
    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", level=1)).to_have_text("outer")


def test_a_stranger_is_told_how_to_log_in(site: Site) -> None:
    page = site.browser.new_context().new_page()
    answer = page.goto(site.url)

    assert answer is not None
    assert answer.status == 401
    expect(page.get_by_text("qcov start")).to_be_visible()
    assert (
        page.evaluate("() => getComputedStyle(document.querySelector('main')).borderRadius")
        == "12px"
    )


def test_the_pages_look_right(site: Site, look: Look) -> None:
    page = site.open()
    look(page, "dispatches-none")
    dispatch_id = ct.dispatch(refused)("x")
    ct.get_result(dispatch_id, wait=True)
    page = site.open()
    expect(page.get_by_text("refused")).to_be_visible()
    look(page, "dispatches")
    page = site.open(f"/dispatches/{dispatch_id}")
    wait_for_graph(page)
    look(page, "dispatch-failed")
