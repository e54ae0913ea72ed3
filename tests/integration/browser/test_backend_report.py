"""The report of `qcov bench backends` in a real browser: alone, by day, by night and on paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from qcov_bench.backends import Procedure, compare

pytestmark = pytest.mark.browser

NAME = "Simulator:lightning.qubit"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "it.html"
    found = compare(
        [NAME, "Simulator"],
        circuits=["ghz", "ising"],
        qubits=[2, 3],
        shots=[None, 100],
        peers=["lightning.qubit"],
        procedure=Procedure(repetitions=6, batch=3),
    )
    found.write_html(path)
    return path


def opened(browser: Browser, report: Path, asked: list[str], **options: Any) -> Page:
    page = browser.new_context(**options).new_page()
    page.on("console", lambda message: asked.append(message.text))
    page.on("pageerror", lambda error: asked.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report.as_uri())
    return page


def test_it_asks_for_nothing_and_complains_about_nothing(browser: Browser, report: Path) -> None:
    asked: list[str] = []
    page = opened(browser, report, asked)

    assert asked == [report.as_uri()]
    assert page.locator("svg.plot").count() > 20
    assert page.get_by_text(NAME).first.is_visible()


@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_on_phones_and_on_desks(width: int, browser: Browser, report: Path) -> None:
    page = opened(browser, report, [], viewport={"width": width, "height": 800})

    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_it_is_light_by_day_dark_by_night_and_white_on_paper(
    browser: Browser, report: Path
) -> None:
    def ground_and_ink(page: Page) -> tuple[int, int]:
        """How bright the page is, and how bright its words: 0 to 765."""
        script = """name => getComputedStyle(document.body)[name]
            .match(/\\d+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0)"""
        return page.evaluate(script, "backgroundColor"), page.evaluate(script, "color")

    light, dark = (opened(browser, report, [], color_scheme=scheme) for scheme in ("light", "dark"))

    assert ground_and_ink(light)[0] > 700
    assert ground_and_ink(light)[1] < 150
    assert ground_and_ink(dark)[0] < 100
    assert ground_and_ink(dark)[1] > 600
    dark.emulate_media(media="print")
    assert ground_and_ink(dark)[0] == 765
    assert ground_and_ink(dark)[1] < 150


def test_no_name_is_cut_off_in_a_plot(browser: Browser, report: Path) -> None:
    page = opened(browser, report, [])

    outside = page.evaluate(
        """() => [...document.querySelectorAll("svg.plot text")].filter(text => {
            const inner = text.getBoundingClientRect();
            const outer = text.ownerSVGElement.getBoundingClientRect();
            return inner.left < outer.left - 1 || inner.right > outer.right + 1;
        }).map(text => text.textContent)"""
    )

    assert outside == []
