"""What a browser has after its login, and what it is told when that ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

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
