"""Two dispatches side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import HTMLResponse

from qcov.errors import IntegrityError
from qcov_server.depends import TheStore
from qcov_server.engine import Row, Store
from qcov_server.ui.comparing import Pair, environment_diff, pairs, source_diff
from qcov_server.ui.dispatch import inputs_of
from qcov_server.ui.present import environment
from qcov_server.ui.render import render
from qcov_server.ui.windows import timed, window

router = APIRouter(include_in_schema=False)

PAGE_SIZE = 100
_OTHERS = 50  # runs that can be chosen


class AskedPair(BaseModel):
    """Which two dispatches, and what of their nodes."""

    model_config = ConfigDict(frozen=True, str_strip_whitespace=True)

    a: str = Field(max_length=64)
    b: str = Field(default="", max_length=64)
    every: bool = False
    page: int = Field(default=1, ge=1, le=10**7)


@router.get("/compare")
def compare(
    request: Request, store: TheStore, asked: Annotated[AskedPair, Query()]
) -> HTMLResponse:
    """Two runs, or what the first can be compared with."""
    a, b = asked.a, asked.b
    one = timed(store.get_dispatch(a))
    rows, _ = store.list_dispatches(name=one["name"], limit=_OTHERS + 1, root_only=False)
    values: dict[str, Any] = {
        "one": one,
        "others": [timed(row) for row in rows if row["id"] != a][:_OTHERS],
    }
    if not b:
        return render(request, "compare_with.html", values)
    other = timed(store.get_dispatch(b))
    found = pairs(store.get_nodes(a), store.get_nodes(b))
    differing = [pair for pair in found if pair.differs]
    shown = found if asked.every else differing
    values |= {
        "other": other,
        "pairs": [_timed(pair) for pair in shown[(asked.page - 1) * PAGE_SIZE :][:PAGE_SIZE]],
        "differing": len(differing),
        "equal": len(found) - len(differing),
        "every": asked.every,
        "window": window(asked.page, PAGE_SIZE, len(shown)),
        "address": f"/compare?a={one['id']}&b={other['id']}",
        **_made_of(store, one, other),
    }
    return render(request, "compare.html", values)


def _timed(pair: Pair) -> dict[str, Any]:
    one, other = (None if node is None else timed(node) for node in (pair.one, pair.other))
    return {"one": one, "other": other, "differs": pair.differs, "any": one or other}


def _inputs(
    one: Row, other: Row, sources: tuple[str, str] = ("", "")
) -> list[tuple[str, str | None, str | None]]:
    here, there = dict(inputs_of(one, sources[0])), dict(inputs_of(other, sources[1]))
    names = [*here, *(name for name in there if name not in here)]
    return [(name, here.get(name), there.get(name)) for name in names]


def _made_of(store: Store, one: Row, other: Row) -> Mapping[str, Any]:
    try:
        made = [store.manifest(row["id"]) for row in (one, other)]
    except IntegrityError as error:
        inputs = _inputs(one, other)
        return {"inputs": inputs, "diff": [], "environment": [], "damaged": str(error)}
    sources = (str(made[0].get("source") or ""), str(made[1].get("source") or ""))
    ran_in = [
        environment(manifest, store.environment(row["id"]))
        for manifest, row in zip(made, (one, other), strict=True)
    ]
    return {
        "inputs": _inputs(one, other, sources),
        "diff": source_diff(*sources),
        "environment": environment_diff(*ran_in),
        "damaged": "",
    }
