from __future__ import annotations

import asyncio
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from qcov.errors import ConfigError, PortInUse
from qcov_server.app import create_app
from qcov_server.serving import listen, start
from qcov_server.tokens import Tokens

if TYPE_CHECKING:
    from conftest import MemoryEngine, Server


def test_a_port_in_use_is_named(engine: MemoryEngine, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortInUse, match=f"port {port} on localhost.*--port {port + 1}"):
            asyncio.run(start(engine, tmp_path, host="localhost", port=port))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1", "example.org", ""])
def test_only_loopback_is_served(engine: MemoryEngine, tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigError, match="only loopback addresses"):
        asyncio.run(start(engine, tmp_path, host=host, port=0))


def test_the_address_is_a_number(server: Server) -> None:
    assert server.url == f"http://127.0.0.1:{server.port}"
    assert server.http.login_link().startswith(f"{server.url}/login?code=")


def test_the_port_is_free_after_a_stop(engine: MemoryEngine, tmp_path: Path) -> None:
    async def serve_twice() -> tuple[str, str]:
        first = await start(engine, tmp_path, host="localhost", port=0)
        port = int(first.url.rpartition(":")[2])
        await first.stop()
        second = await start(engine, tmp_path, host="localhost", port=port)
        await second.stop()
        return first.url, second.url

    first, second = asyncio.run(serve_twice())
    assert first == second


def test_no_answer_waits_for_the_acknowledgement_of_its_beginning() -> None:
    with (
        listen("localhost", 0) as listener,
        socket.create_connection(listener.getsockname()),
    ):
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize(
    ("host", "reached", "answered"),
    [
        ("0.0.0.0", "127.0.0.1", ["127.0.0.1", "localhost", socket.gethostname()]),
        ("127.0.0.1", "127.0.0.1", ["127.0.0.1", "localhost"]),
    ],
)
def test_an_exposed_server_answers_to_its_names_alone(
    engine: MemoryEngine, tmp_path: Path, host: str, reached: str, answered: list[str]
) -> None:
    async def asked() -> dict[str, int]:
        server = await start(
            engine, tmp_path, host=host, port=0, exposed=True, names=["qcov.example"]
        )
        port = int(server.url.rpartition(":")[2])
        names = [f"{name}:{port}" for name in answered]
        async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=60) as client:
            found = {
                name: (await client.get("/api/v1/status", headers={"host": name})).status_code
                for name in [*names, "qcov.example", "evil.example", f"evil.example:{port}"]
            }
        assert server.url == f"http://{reached}:{port}"
        await server.stop()
        return found

    found = list(asyncio.run(asked()).values())
    assert found == [401] * (len(answered) + 1) + [421, 421]


def test_where_browsers_do_not_say_where_they_come_from_a_shared_link_leaves_the_owner_in(
    engine: MemoryEngine, tmp_path: Path
) -> None:
    """They send no fetch metadata to an address that is not the machine's own, over HTTP."""
    tokens = Tokens(tmp_path)
    app = create_app(engine, tokens=tokens, port=80, hosts=["qcov.example"])
    shared = {"code": tokens.share("a colleague", lifetime=60.0)}

    def next_of(answer: httpx.Response) -> str:
        assert answer.status_code == 200
        assert app.state.sessions.cookie not in answer.cookies
        return re.findall('url=(.*?)"', answer.text)[0].replace("&amp;", "&")

    async def visit() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://qcov.example") as owner:
            await owner.get("/login", params={"code": app.state.login_codes.make()})
            held = dict(owner.cookies)
            owner.cookies.clear()  # they stay away from what another site leads to
            on = next_of(await owner.get("/login", params=shared))
            forged = await owner.get("/login", params={**shared, "on": "x"})
            next_of(forged)
            owner.cookies.update(held)
            assert (await owner.get(on)).status_code == 303
            assert owner.cookies[app.state.sessions.cookie] == held[app.state.sessions.cookie]
            assert (await owner.get("/settings")).status_code == 200
        async with httpx.AsyncClient(transport=transport, base_url="http://qcov.example") as guest:
            on = next_of(await guest.get("/login", params=shared))
            assert (await guest.get(on)).status_code == 303
            assert (await guest.get("/api/v1/dispatches")).status_code == 200

    asyncio.run(visit())


@pytest.mark.parametrize(
    ("host", "said"),
    [("example.org", "as a number"), ("", "as a number"), ("192.0.2.1", "no address of this")],
)
def test_only_addresses_of_this_machine_are_exposed(
    engine: MemoryEngine, tmp_path: Path, host: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        asyncio.run(start(engine, tmp_path, host=host, port=0, exposed=True))
