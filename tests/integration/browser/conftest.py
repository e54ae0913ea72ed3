"""A real engine with its server, and a real Chromium that is logged in to it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)

from qcov.classical.engine.client import connect

_CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def _find_chromium() -> str:
    found = next(filter(None, map(shutil.which, _CHROMIUM)), None)
    if found is None:
        reason = "no Chromium here; `apt-get install chromium` brings one"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    return found


@pytest.fixture(scope="module")  # while Playwright runs, no test of another module can use asyncio
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=60_000)  # the machine may be busy
    with sync_playwright() as playwright:
        # Chromium's own sandbox does not work for root, as which tests often run.
        browser = playwright.chromium.launch(
            executable_path=_find_chromium(), args=["--no-sandbox"]
        )
        yield browser
        browser.close()


@dataclass
class Site:
    """The pages of an engine."""

    url: str
    browser: Browser
    complaints: list[str] = field(default_factory=list[str])  #: errors on the browser's console
    contexts: list[BrowserContext] = field(default_factory=list[BrowserContext])

    def open(self, path: str = "/", *, width: int = 1280, scheme: str = "light") -> Page:
        """A page in a browser of its own that is logged in."""
        context = self.browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if scheme == "dark" else "light",
        )
        context.set_default_timeout(60_000)
        self.contexts.append(context)
        page = context.new_page()
        page.on("console", self._listen)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(login_link())
        page.wait_for_url(f"{self.url}/")  # its key is kept, and the login is over
        if path != "/":
            page.goto(f"{self.url}{path}")
        page.wait_for_selector("#connection[data-state=live]")
        return page

    def stranger(self) -> Page:
        """A page in a browser of its own that has not logged in, and may complain."""
        context = self.browser.new_context()
        self.contexts.append(context)
        return context.new_page()

    def login_link(self) -> str:
        """A new link for its owner."""
        return login_link()

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)


def login_link() -> str:
    """A new link to the server of the test's engine, which is started if need be."""
    client = connect(start=True)
    try:
        return client.call("serve", host="localhost", port=0)["login"]
    finally:
        client.close()


@pytest.fixture
def site(data_folder: Path, browser: Browser) -> Iterator[Site]:
    """The pages of an engine of the test's own."""
    site = Site(url=login_link().partition("/login")[0], browser=browser)
    yield site
    for context in site.contexts:
        context.close()
    assert not site.complaints


#: Where pictures of the pages are kept, for people to look at.
PICTURES = Path("build", "screenshots")
_WIDTHS = {"wide": 1280, "phone": 390}
#: What must hold: the rules of WCAG 2.2 A and AA, and axe's own of good practice.
_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

Look = Callable[[Page, str], None]


@pytest.fixture
def look() -> Look:
    """Look at a page in light and dark, wide and on a phone: `look(page, "name of the picture")`.

    Keeps a picture of each, and fails where axe-core finds anything, or where a page is wider than
    its window.
    """
    return _look


def _look(page: Page, name: str) -> None:
    size = page.viewport_size
    PICTURES.mkdir(parents=True, exist_ok=True)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for window, width in _WIDTHS.items():
            page.set_viewport_size({"width": width, "height": 900})
            page.evaluate("() => scrollTo(0, 0)")  # an anchor may have scrolled it below the bar
            page.wait_for_timeout(150)  # what a page does about its new size is seen by no event
            page.screenshot(path=PICTURES / f"{name}-{window}-{scheme}.png", full_page=True)
            seen = f"{name}, {window}, {scheme}"
            assert _violations(page) == [], seen
            assert page.evaluate("() => document.documentElement.scrollWidth") <= width, seen
    page.emulate_media(color_scheme="light")
    if size is not None:
        page.set_viewport_size(size)


def _violations(page: Page) -> list[str]:
    found = Axe().run(page, options={"runOnly": {"type": "tag", "values": _RULES}})
    return [
        f"{one['id']}: {node['html'][:160]} {node['failureSummary']}"
        for one in found.response["violations"]
        for node in one["nodes"]
    ]
