"""How soon pages are there, and how soon they follow what happens, in Chromium."""

from __future__ import annotations

import contextlib
import http.client
import shutil
import socket
import statistics
import threading
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import qcov as ct
from qcov_bench.rows import LeftOut, Row, seconds
from qcov_bench.site import Site, login_link

if TYPE_CHECKING:
    from playwright.sync_api import Page

_CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_LOOKS = 7
_EVENTS = 60
_BESIDE = 49  #: clients that read the events as well

#: Notes by how much each change of status came late, in milliseconds.
_NOTE_DELAYS = """() => {
  window.delays = [];
  document.addEventListener("qcov:changes", (event) => {
    for (const change of event.detail) window.delays.push(Date.now() - 1000 * change.time);
  });
}"""


@ct.electron
def nothing(value: int) -> int:
    """An electron that does nothing."""
    return value


@ct.lattice
def one(value: int) -> int:
    """A dispatch that has few changes."""
    return nothing(value)


def page_rows(site: Site, *, wide_id: str) -> Iterator[Row | LeftOut]:
    """The list, a wide dispatch, and events; left out where there is no browser."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        yield LeftOut(name="pages in Chromium", reason="Playwright is not installed")
        return
    chromium = next(filter(None, map(shutil.which, _CHROMIUM)), None)
    if chromium is None:
        yield LeftOut(name="pages in Chromium", reason="there is no Chromium")
        return
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(login_link())
        page.wait_for_url(f"{site.url}/")  # its key is kept, and the login is over
        yield _list(page, site)
        yield _wide(page, site, wide_id)
        yield _events(page, site)
        browser.close()


def _list(page: Page, site: Site) -> Row:
    def look() -> None:
        page.goto(f"{site.url}/", wait_until="commit")
        page.wait_for_selector("#rows tbody tr >> nth=20", state="visible")

    return Row(
        name="list over 10,000 dispatches: from its address until rows are seen",
        ours=statistics.median(seconds(look) for _ in range(_LOOKS)), theirs=None, limit=1.0,
    )  # fmt: skip


def _wide(page: Page, site: Site, dispatch_id: str) -> Row:
    def look() -> None:
        page.goto(f"{site.url}/dispatches/{dispatch_id}", wait_until="commit")
        page.wait_for_function("() => window.qcovGraph")
        place = page.evaluate("() => qcovGraph.at(qcovGraph.nodes()[2000].id)")
        page.locator("#graph").click(position=place)
        page.wait_for_selector("#inspector [data-shown]", state="visible")

    return Row(
        name="dispatch of 10,000 nodes: from its address until a clicked node is shown",
        ours=statistics.median(seconds(look) for _ in range(_LOOKS)), theirs=None, limit=1.0,
    )  # fmt: skip


def _events(page: Page, site: Site) -> Row:
    page.goto(f"{site.url}/")
    page.wait_for_selector("#connection[data-state=live]")
    page.evaluate(_NOTE_DELAYS)
    with _clients(site):
        for number in range(_EVENTS):
            ct.dispatch_sync(one)(number)
        page.wait_for_function(f"() => window.delays.length >= {2 * _EVENTS}")
    delays = [float(delay) for delay in page.evaluate("() => window.delays")]
    return Row(
        name=f"change of status to a page, p95, beside {_BESIDE} other clients",
        ours=statistics.quantiles(delays, n=20)[-1] / 1000, theirs=None, limit=0.3,
    )  # fmt: skip


@contextlib.contextmanager
def _clients(site: Site) -> Generator[None]:
    """Others that read the events."""
    connections = [http.client.HTTPConnection("127.0.0.1", site.port) for _ in range(_BESIDE)]
    for connection in connections:
        connection.request("GET", "/api/v1/events", headers=site.headers)
        threading.Thread(target=_read, args=(connection.getresponse(),), daemon=True).start()
    yield
    for connection in connections:
        connection.sock.shutdown(socket.SHUT_RDWR)  # who reads it ends, and it can be closed
        connection.close()


def _read(answer: Any) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError, http.client.HTTPException):
        while answer.readline():
            pass
