"""What a browser has after its login, and what it is told when that ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Page, expect

import qcov as ct
from qcov_server.tokens import Tokens

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Look, Site

pytestmark = [pytest.mark.browser, pytest.mark.process]


@ct.lattice
def flow() -> int:
    return 1


def test_a_browser_without_the_key_is_told_to_log_in_again(site: Site) -> None:
    dispatch_id = ct.dispatch(flow)()
    ct.get_result(dispatch_id, wait=True)
    page = site.open(f"/dispatches/{dispatch_id}")
    assert page.evaluate("localStorage.getItem('qcov-key').length") == 64
    page.evaluate("localStorage.removeItem('qcov-key')")

    page.click("#do-delete")
    page.click("#ask .button.danger")

    expect(page.locator("#told")).to_contain_text("Log in again")
    assert ct.get_result(dispatch_id).result == 1
    site.complaints.clear()  # the browser's, of the 403 that was meant


def test_a_page_says_that_its_login_has_ended_once_something_is_asked_for(
    site: Site, data_folder: Path
) -> None:
    dispatch_id = ct.dispatch(flow)()
    ct.get_result(dispatch_id, wait=True)
    page = site.open(f"/dispatches/{dispatch_id}")
    Tokens(data_folder).rotate()

    page.click("#do-delete")
    page.click("#ask .button.danger")

    expect(page.get_by_role("alert")).to_contain_text("This browser is logged out")
    assert ct.get_result(dispatch_id).result == 1
    site.complaints.clear()  # the browser's, of the 401s that were meant


def test_an_open_page_says_that_its_login_has_ended(
    site: Site, data_folder: Path, look: Look
) -> None:
    page = site.open("/")
    Tokens(data_folder).rotate()
    ct.dispatch(flow)()  # a message, before which access is looked at

    expect(page.locator("#connection")).to_have_text("Logged out")
    expect(page.get_by_role("alert")).to_contain_text("Open a new link of qcov start")
    look(page, "logged-out")
    site.complaints.clear()  # the browser's, of the 401s that were meant


@contextmanager
def mailed(*links: str) -> Iterator[str]:
    """The address of a page of another site, with links."""
    text = "".join(f'<p><a id="link{number}" href="{to}">x</a>' for number, to in enumerate(links))

    class Mail(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Mail)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}/"  # another site than 127.0.0.1
    server.shutdown()
    server.server_close()


def follow(page: Page, mail: str, number: int = 0) -> None:
    page.goto(mail)
    page.click(f"#link{number}")


def test_login_links_may_be_followed_from_a_mail(site: Site, data_folder: Path, look: Look) -> None:
    """And whoever is in already loses nothing by one to less."""
    seen, other = (ct.dispatch(flow)() for _ in range(2))
    ct.get_result(other, wait=True)
    token = Tokens(data_folder).share("a guest", lifetime=60.0, dispatch=seen)
    shared = f"{site.url}/login?code={token}&to=/dispatches/{seen}"
    owners = f"{site.login_link()}&to=/dispatches/{other}"

    with mailed(shared, owners, f"{site.url}/dispatches/{other}?view=table") as mail:
        context = site.browser.new_context()
        site.contexts.append(context)
        page = context.new_page()
        sites: list[str | None] = []
        page.on("request", lambda sent: sites.append(sent.all_headers().get("sec-fetch-site")))
        follow(page, mail)
        page.wait_for_url(f"{site.url}/dispatches/{seen}")
        expect(page.locator("h1")).to_have_text("flow")
        assert page.goto(f"{site.url}/dispatches/{other}").status == 404

        follow(page, mail, 1)
        page.wait_for_url(f"{site.url}/dispatches/{other}")
        expect(page.locator("#connection")).to_have_attribute("data-state", "live")
        follow(page, mail)
        page.wait_for_url(f"{site.url}/dispatches/{seen}")
        follow(page, mail, 2)
        expect(page.locator("h1")).to_have_text("A link from another site")
        look(page, "from-another-site")
        page.click("#on")
        page.wait_for_url(f"{site.url}/dispatches/{other}?view=table")
        expect(page.locator("h1")).to_have_text("flow")
        page.click("#do-delete")
        page.click("#ask .button.danger")
        page.wait_for_url(f"{site.url}/")
    assert "cross-site" in sites
