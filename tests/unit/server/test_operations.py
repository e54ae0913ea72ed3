"""The pages of logs, jobs, triggers, executors and settings."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from qcov.logs import NAME

_HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e"
_TOLD = "&lt;script&gt;alert(1)&lt;/script&gt;\ufffd"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder of the test's own."""
    monkeypatch.setenv("QCOV_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("QCOV_CONFIG_DIR", str(tmp_path / "config"))
    return tmp_path


def page(client: httpx.Client, path: str, **headers: str) -> str:
    answer = client.get(path, headers={"accept": "text/html", **headers})
    assert answer.status_code == 200, answer.text
    return answer.text


def test_the_log_is_shown_and_harmless(client: httpx.Client, data: Path) -> None:
    (data / "logs").mkdir()
    lines = [
        {"time": 1.0, "level": "info", "logger": "a", "message": _HOSTILE, "dispatch": _HOSTILE},
        {"time": 2.0, "level": "error", "logger": "b", "message": "late", "error": "T\nV: no"},
    ]
    (data / "logs" / NAME).write_text("".join(f"{json.dumps(line)}\n" for line in lines))

    text = page(client, "/logs")
    assert "<script>alert" not in text
    assert _TOLD in text
    assert text.index("late") < text.index(_TOLD)
    assert _TOLD not in page(client, "/logs?level=error")
    part = page(client, "/logs?search=late", **{"hx-request": "true"})
    assert part.strip().startswith('<div id="lines"')
    assert "V: no" in part


def test_an_empty_log_says_how_to_get_one(client: httpx.Client, data: Path) -> None:
    assert "qcov config sdk.log_level info" in page(client, "/logs")
    assert "No line matches" in page(client, f"/logs?search={_HOSTILE[:8]}")
