"""`qcov token`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qcov_server.tokens import Access, Tokens

if TYPE_CHECKING:
    from conftest import Run


def test_a_colleague_may_look_until_that_is_taken_back(run: Run, data_folder: Path) -> None:
    assert run("token", "list").out.startswith("Nobody else may look.")
    made = json.loads(run("token", "share", "a colleague", "--for", "1h", "--json").out)
    tokens = Tokens(data_folder)

    visitor = tokens.visitor(made["token"])
    assert visitor is not None
    assert (visitor.access, visitor.dispatch) == (Access.READER, None)
    assert made["link"] is None  # no server runs
    [listed] = json.loads(run("token", "list", "--json").out)
    assert listed["label"] == "a colleague"
    assert listed["expires"] - listed["created"] == pytest.approx(3600.0)
    assert made["token"] not in run("token", "list").out
    assert run("token", "revoke", "a colleague").out == "a colleague sees nothing more.\n"
    assert tokens.visitor(made["token"]) is None


def test_a_new_token_is_not_printed(run: Run, data_folder: Path) -> None:
    run("token", "rotate")
    old = (data_folder / "server.token").read_text()
    ran = run("token", "rotate")
    new = (data_folder / "server.token").read_text()

    assert new != old
    assert str(data_folder / "server.token") in ran.out
    assert new not in ran.out + ran.err


def test_a_new_token_ends_every_shared_link(run: Run, data_folder: Path) -> None:
    made = [json.loads(run("token", "share", who, "--json").out)["token"] for who in ("Ana", "Bo")]

    assert "the links of these have ended: Ana, Bo." in run("token", "rotate").out
    assert [Tokens(data_folder).visitor(token) for token in made] == [None, None]
    assert json.loads(run("token", "rotate", "--json").out)["ended"] == []
    assert run("token", "list").out.startswith("Nobody else may look.")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("share", "x", "--for", "soon"), 2, "no length of time"),
        (("share", " "), 2, "cannot be empty"),
        (("revoke", "nobody"), 1, "nobody may look under the label 'nobody'"),
    ],
)
def test_what_is_wrong_is_said(run: Run, arguments: tuple[str, ...], code: int, said: str) -> None:
    ran = run("token", *arguments)

    assert (ran.code, said in ran.err) == (code, True)
