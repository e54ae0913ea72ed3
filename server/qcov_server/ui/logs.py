"""The page of the log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import HTMLResponse

from qcov.config import get_config
from qcov.logs import LEVELS, NAME, chosen, last_lines
from qcov_server.ui.render import render

router = APIRouter(include_in_schema=False)

_SHOWN = 300  #: lines
_WITHIN = 16_000_000  #: bytes that are looked through

_NOTHING = {"logger": "", "dispatch": None, "node": None, "error": None}


@router.get("/logs")
def logs(
    request: Request,
    level: Annotated[str, Query(max_length=16)] = "",
    dispatch: Annotated[str, Query(max_length=64)] = "",
    search: Annotated[str, Query(max_length=200)] = "",
) -> HTMLResponse:
    """The newest lines, the newest first."""
    level = level if level in LEVELS else ""
    folder = Path(get_config("dispatcher.log_dir"))
    wanted = chosen(level=level or LEVELS[0], dispatch=dispatch.strip(), text=search.strip())
    found = last_lines(folder, _SHOWN, wanted, within=_WITHIN)
    values = {
        "lines": [{**_NOTHING, **line} for line in reversed(found)],
        "levels": {"": "All", "info": "Info", "warning": "Warnings", "error": "Errors"},
        "level": level,
        "dispatch": dispatch.strip(),
        "search": search.strip(),
        "file": folder / NAME,
        "written": get_config("sdk.log_level"),
        "shown": _SHOWN,
    }
    whole = "hx-request" not in request.headers
    return render(request, "logs.html" if whole else "log_lines.html", values)
