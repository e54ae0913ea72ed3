"""Payloads: never loaded by the engine, never taken from elsewhere, never outside their folder."""

from __future__ import annotations

import base64
import os
import pickle
import subprocess
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import qcov as ct
from qcov import transport
from qcov.classical.dispatch import _request
from qcov.errors import IntegrityError
from qcov.store.blobs import Folder

if TYPE_CHECKING:
    from conftest import Site

pytestmark = pytest.mark.process

# -- 7: paths

_TRICKS = [
    "../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/etc/passwd", "%252e%252e%252fetc",
    "..%5c..%5cserver.token", "/etc/passwd", "//etc/passwd", "%00", "a%00.css", "C:%5cwindows",
    "x" * 4000, "%E2%80%A5/%EF%BC%8F", "%c0%ae%c0%ae/", "../server.token", "....//server.token",
]  # fmt: skip
_PLACES = [
    "/static/{}", "/dispatches/{}", "/dispatches/{}/nodes/0", "/jobs/{}", "/triggers/{}",
    "/api/v1/dispatches/{}", "/api/v1/dispatches/{}/export", "/api/v1/dispatches/{}/nodes/0",
    "/api/v1/jobs/{}", "/api/v1/triggers/{}", "/api/v1/dispatches/{}/circuits/{}",
]  # fmt: skip
_PARTS = st.sampled_from(["..", "%2e%2e", "/", "%2f", "%5c", "%00", "server.token", "etc", "%25"])


def _opens_nothing(client: httpx.Client, place: str, name: str, secrets: tuple[str, ...]) -> None:
    answer = client.get(place.replace("{}", name))
    assert answer.status_code in (301, 307, 400, 404, 422), (place, name, answer.status_code)
    assert not [secret for secret in secrets if secret in answer.text]


@pytest.mark.parametrize("place", _PLACES)
def test_no_address_leads_out(site: Site, place: str) -> None:
    """7: known tricks, at every place where an address has a name in it."""
    with site.client() as client:
        for name in _TRICKS:
            _opens_nothing(client, place, name, (site.token, "root:"))


def test_no_made_up_address_leads_out(site: Site) -> None:
    """7: and those that nobody has thought of."""
    with site.client() as client:
        assert client.get("/static/app.css").status_code == 200

        @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
        @given(st.sampled_from(_PLACES), st.lists(_PARTS, min_size=1, max_size=8))
        def opens_nothing(place: str, parts: list[str]) -> None:
            name = "".join(parts)
            if httpx.URL(site.url).join(place.replace("{}", name)).path in ("/", "/static/"):
                return
            answer = client.get(place.replace("{}", name))
            assert answer.status_code < 500
            assert site.token not in answer.text
            assert "root:" not in answer.text

        opens_nothing()


@given(st.text(max_size=300) | st.text("0123456789abcdef/.\\\x00", min_size=60, max_size=70))
def test_a_payload_is_always_in_its_folder(name: str) -> None:
    """7: a name is a digest, or refused."""
    folder = Path("/somewhere/blobs")
    try:
        path = Folder(folder).path_of(name)
    except IntegrityError:
        return
    assert path == folder / name[:2] / name
    assert set(name) <= set("0123456789abcdef")


# -- 8: pickles that act when they are loaded


class Canary:
    """Notes the process that loads it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        source = f"open({str(self.folder)!r} + f'/{{__import__(\"os\").getpid()}}', 'w').close()"
        return exec, (source,)

    def __repr__(self) -> str:
        return "<a canary>"


@pytest.fixture
def canary(tmp_path: Path) -> Canary:
    folder = tmp_path / "sung"
    folder.mkdir()
    pickle.loads(pickle.dumps(Canary(folder)))
    assert singers(folder) == {os.getpid()}  # it does sing
    (folder / str(os.getpid())).unlink()
    return Canary(folder)


def singers(folder: Path) -> set[int]:
    return {int(path.name) for path in folder.iterdir()}


@ct.electron
def take(given: Any) -> int:
    return 1


@ct.electron
def give(folder: str) -> Canary:
    return Canary(Path(folder))


@ct.lattice
def both(given: Any, folder: str) -> Any:
    take(given)
    return give(folder)


def sent(manifest: dict[str, Any]) -> dict[str, Any]:
    blobs = {name: base64.b64encode(blob).decode() for name, blob in manifest["blobs"].items()}
    return {**manifest, "blobs": blobs}


def look_everywhere(site: Site, dispatch_id: str) -> None:
    """Let the server show all that it has of a dispatch."""
    below = f"dispatches/{dispatch_id}"
    pages = [
        "/", f"/{below}", f"/{below}?view=table", f"/{below}/nodes", f"/{below}/nodes/0",
        f"/{below}/circuits", "/executors", "/jobs", "/triggers", "/logs", "/settings",
    ]  # fmt: skip
    rest = ["", "/nodes", "/nodes/0", "/graph", "/circuits", "/export", "/nodes/0/streams",
            "/payloads/result", "/payloads/0", "/payloads/inputs", "/payloads/lattice",
            "/wait?timeout=0"]  # fmt: skip
    with site.client() as client:
        client.headers["accept"] = "text/html"
        for path in [*pages, *(f"/api/v1/{below}{part}" for part in rest), "/api/v1/triggers"]:
            assert client.get(path).status_code == 200, path


def qcov(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "qcov", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_the_server_never_loads_a_pickle(own_site: Site, canary: Canary, tmp_path: Path) -> None:
    """8: as an argument, a result and a trigger: sent over HTTP, listed, shown, exported."""
    manifest = _request(both, (canary, str(canary.folder)), {}, key=None)
    mine = {os.getpid()}  # building a graph may copy what it is given
    with own_site.client() as client:
        made = client.post("/api/v1/dispatches", json=sent(manifest))
        assert made.status_code == 201, made.text
        dispatch_id = made.json()["id"]
        waited = client.get(f"/api/v1/dispatches/{dispatch_id}/wait?timeout=60").json()
        assert waited["status"] == "COMPLETED", waited
        trigger = {
            "id": str(uuid.uuid4()), "dispatch_id": dispatch_id, "name": "canary",
            "object": base64.b64encode(transport.dumps(canary, what="it")).decode(),
            "environment": manifest["environment"], "elsewhere": False,
        }  # fmt: skip
        kept = client.post("/api/v1/triggers", json=trigger)
        assert kept.status_code in (201, 422), kept.text
    workers = singers(canary.folder) - mine
    assert workers  # the electron's worker has loaded its argument

    look_everywhere(own_site, dispatch_id)
    shown = qcov("show", dispatch_id)
    exported = qcov("export", dispatch_id, "-o", str(tmp_path / "crate.zip"))
    assert (shown.returncode, exported.returncode) == (0, 0), shown.stderr + exported.stderr
    assert "canary" in shown.stdout

    assert own_site.pid not in singers(canary.folder)
