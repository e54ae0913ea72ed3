"""The colours against WCAG 2.2, success criterion 1.4.3 (AA): 4.5 to 1 for text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import qcov_server.ui

CSS = (Path(qcov_server.ui.__file__).parent / "static" / "app.css").read_text()
BLOCKS = [
    dict(re.findall(r"--([\w-]+): (#\w{6});", block))
    for block in re.findall(r":root[^{]*\{([^}]*)\}", CSS)
]
LIGHT, DARK, CHOSEN_DARK = BLOCKS

TEXTS = ["text", "muted", "accent", "completed", "running", "failed"]


def luminance(color: str) -> float:
    parts = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("colors", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("text", TEXTS)
def test_text_can_be_read(colors: dict[str, str], text: str) -> None:
    for ground in ("ground", "panel", "raised", "accent-ground"):
        assert contrast(colors[text], colors[ground]) >= 4.5, ground
    assert contrast(colors["failed"], colors["failed-ground"]) >= 4.5


def test_dark_is_the_same_however_it_is_chosen() -> None:
    assert DARK == CHOSEN_DARK
