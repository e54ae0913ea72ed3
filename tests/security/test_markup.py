"""Text from users stays text: in Chromium, in notebooks, and on terminals."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Browser

import qcov as ct
from tests.integration.browser.conftest import browser

if TYPE_CHECKING:
    from conftest import Site

__all__ = ["browser"]

pytestmark = [pytest.mark.browser, pytest.mark.process]

#: Each would set `window.sung`, if it were more than text; then what terminals and readers heed.
_EVIL = (
    '<img src=x onerror="window.sung=1">\'"><script>window.sung=2</script>'
    '<svg/onload=window.sung=3><a href="javascript:window.sung=4">x</a>{{ 7 * 191 }}'
)
_UNSEEN = "\x1b[31mred\x1b]0;title\x07\x9b2J\u202etxt.exe\u2066"
EVIL = f"{_EVIL}{_UNSEEN}"


class Evil:
    """Shows itself as what it is, as text and in notebooks."""

    def __repr__(self) -> str:
        return EVIL


def evil(function: Any) -> Any:
    """The function under an evil name."""
    function.__name__ = function.__qualname__ = EVIL
    return function


def say(given: Any) -> Any:
    """<script>window.sung=5</script>"""
    import sys

    print(EVIL)
    print(EVIL, file=sys.stderr)
    return Evil()


def fail(given: Any) -> Any:
    print(EVIL)
    raise ValueError(EVIL)


def bell() -> Any:
    import pennylane as qml

    @ct.qelectron(executors=ct.executor.Simulator(parallel=False))
    @qml.qnode(qml.device("default.qubit", wires=[EVIL, "b"]))
    def circuit() -> Any:
        qml.Hadamard(wires=EVIL)
        return qml.expval(qml.PauliZ(EVIL))

    return circuit()


def flow(given: Any) -> Any:
    ct.electron(bell)()
    return ct.electron(evil(say))(given)


def flop(given: Any) -> Any:
    return ct.electron(evil(fail))(given)


@pytest.fixture
def made(own_site: Site) -> list[str]:
    """A dispatch that completes and one that fails, both of evil text."""
    ids = [
        ct.dispatch(ct.lattice(evil(make)))({EVIL: Evil()})  # pyright: ignore[reportArgumentType]
        for make in (flow, flop)
    ]
    ended = [ct.get_result(one, wait=True).status for one in ids]
    assert ended == ["COMPLETED", "FAILED"]
    return ids


def addresses(site: Site, made: list[str]) -> list[str]:
    """All pages that show something of these dispatches."""
    found = ["/", "/executors", "/jobs", "/triggers", "/logs", "/settings", "/nowhere"]
    found += [f"/?search={part}" for part in ("%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E", "zzz")]
    found += [f"/compare?a={made[0]}&b={made[1]}", f"/compare?a={made[0]}"]
    with site.client() as client:
        for one in made:
            below = client.get(f"/api/v1/dispatches/{one}").json()
            assert EVIL[:10] in below["name"] or "img" in below["name"]
            found += [f"/dispatches/{one}{view}" for view in ("", "?view=timeline", "?view=table")]
            nodes = client.get(f"/api/v1/dispatches/{one}/nodes").json()["items"]
            found += [f"/dispatches/{one}/nodes/{node['node_id']}" for node in nodes]
            found.append(f"/dispatches/{one}/circuits")
            circuits = client.get(f"/api/v1/dispatches/{one}/circuits").json()["items"]
            found += [f"/dispatches/{one}/circuits/{each['id']}" for each in circuits]
    return found


def test_no_page_runs_what_users_wrote(own_site: Site, made: list[str], browser: Browser) -> None:
    """14: on every page, in Chromium: no script runs, none is even tried, nothing is obeyed."""
    context = browser.new_context()
    page = context.new_page()
    tried: list[str] = []
    page.on("dialog", lambda dialog: (tried.append(dialog.message), dialog.dismiss()))
    page.on("pageerror", lambda error: tried.append(str(error)))
    page.on(
        "console",
        lambda message: tried.append(message.text) if "Content Security" in message.text else None,
    )
    page.goto(own_site.login)
    pages = addresses(own_site, made)
    assert [path for path in pages if "/circuits/" in path]
    for path in pages:
        page.goto(f"{own_site.url}{path}")
        page.wait_for_load_state()
        page.wait_for_selector("main")
        assert page.evaluate("() => window.sung") is None, path
        assert page.locator("img[src=x], svg[onload], a[href^=javascript]").count() == 0, path
        text = page.locator("html").inner_text() + page.title() + page.content()
        assert not set(text) & set("\x1b\x07\x9b\u202e\u2066"), path
        assert "1337" not in text, path  # 7 * 191
        assert tried == [], path
    context.close()


def test_no_notebook_runs_what_users_wrote(
    own_site: Site, made: list[str], browser: Browser
) -> None:
    """14: notebooks have no policy that would stop a script."""
    page = browser.new_page()
    page.set_content(EVIL)
    page.wait_for_function("() => window.sung")  # it would run
    for one in made:
        html = ct.get_result(one)._repr_html_()
        assert "window.sung" in html
        page.goto("about:blank")
        page.set_content(html)
        page.wait_for_load_state()
        assert page.evaluate("() => window.sung") is None
        assert not set(html) & set("\x1b\x07\x9b\u202e\u2066")
    page.close()


@pytest.mark.parametrize("verb", ["ls", "show", "logs"])
def test_no_terminal_obeys_what_users_wrote(own_site: Site, made: list[str], verb: str) -> None:
    """14: no escape sequence and no turned writing direction reaches a terminal."""
    for one in made:
        arguments = [verb] if verb in ("ls", "logs") else [verb, one]
        ran = subprocess.run(
            [sys.executable, "-m", "qcov", *arguments], capture_output=True, text=True, timeout=300
        )
        said = ran.stdout + ran.stderr
        assert ran.returncode == 0, said
        assert not set(said) & set("\x1b\x07\x9b\u202e\u2066"), said
        if verb != "logs":
            assert "img" in said
