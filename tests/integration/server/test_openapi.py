"""The REST interface is what its OpenAPI document says, by schemathesis with all of its checks.

What is left out, and why:

* `GET /events` never ends; tests/unit/server/test_events.py reads it.
* `positive_data_acceptance` for manifests, triggers and places in lists of circuits: a document
  cannot say which graphs have no cycle, which base64 text is a trigger, or which text is a place
  that an earlier answer gave, so what has the right shape may still be refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

import qcov as ct
from qcov.classical.engine.client import connect
from qcov_server.app import create_app

pytestmark = [pytest.mark.process, pytest.mark.slow]

_REFUSED_FOR_WHAT_THEY_MEAN = {
    ("POST", "/api/v1/dispatches"),
    ("POST", "/api/v1/triggers"),
    ("GET", "/api/v1/dispatches/{dispatch_id}/circuits"),
}


@ct.electron
def double(number: int) -> int:
    print("doubling")
    return 2 * number


@ct.lattice
def flow(number: int) -> int:
    return double(double(number))


@dataclass(frozen=True)
class Site:
    """A server, its token, and a dispatch that it has."""

    url: str
    token: str
    dispatch_id: str


@pytest.fixture
def site(common_engine: Path) -> Site:
    client = connect(start=True)
    url = client.call("serve", host="localhost", port=0)["url"]
    client.close()
    dispatch_id = ct.dispatch(flow, key="OpenAPI")(1)
    ct.get_result(dispatch_id, wait=True)
    return Site(url, (common_engine / "server.token").read_text(), dispatch_id)


#: Made without a server: an engine is needed only when a route is called.
raw = create_app(cast("Any", None), tokens=cast("Any", None), port=0).openapi()
schema = schemathesis.openapi.from_dict(raw).exclude(path="/api/v1/events")


_LATER = "the site's token, once there is a site"


@schema.auth()
class Known(schemathesis.AuthProvider[str]):
    """Tells schemathesis that requests carry a token, so that it sees what happens without one."""

    def get(self, case: Any, context: Any) -> str:
        return _LATER

    def set(self, case: Any, data: str, context: Any) -> None:
        case.headers["authorization"] = data


@schema.parametrize()
@settings(
    max_examples=15, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
def test_every_route_is_as_described(case: Any, site: Site) -> None:
    if "dispatch_id" in (case.path_parameters or {}):  # or nothing would be found but 404
        case.path_parameters["dispatch_id"] = site.dispatch_id
    if isinstance(case.query.get("timeout"), int | float):  # it is kept, but who has the time
        case.query["timeout"] = min(case.query["timeout"], 0.01)
    left_out = []
    if (case.method, case.path) in _REFUSED_FOR_WHAT_THEY_MEAN:
        left_out = [positive_data_acceptance]
    if case.headers.get("authorization") == _LATER:  # and not one that must be refused
        case.headers["authorization"] = f"Bearer {site.token}"
    case.call_and_validate(base_url=site.url, excluded_checks=left_out)


def test_every_route_may_answer_with_problems() -> None:
    for path, operations in raw["paths"].items():
        for method, operation in operations.items():
            assert operation["responses"]["401"]["content"] == {
                "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
            }, (path, method)
