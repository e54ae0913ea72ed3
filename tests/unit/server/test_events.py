from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from qcov.errors import DispatchNotFound
from qcov.job_entries import Intent, JobEntry
from qcov.journal import Journal
from qcov_server import streams, watching

if TYPE_CHECKING:
    from conftest import Server


@contextmanager
def stream(
    client: httpx.Client, query: str = "", **headers: str
) -> Iterator[Iterator[dict[str, str]]]:
    """The messages of the event stream, as field to value."""
    with client.stream("GET", f"/api/v1/events{query}", headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        yield read_messages(lines)


def read_messages(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    message: dict[str, str] = {}
    for line in lines:
        if line:
            field, _, value = line.partition(": ")
            message[field] = value
        else:
            yield message
            message = {}


def next_changes(messages: Iterator[dict[str, str]]) -> tuple[str, list[Any]]:
    message = next(message for message in messages if message.get("event") == "changes")
    return message["id"], json.loads(message["data"])


def test_changes_arrive_together(client: httpx.Client, server: Server) -> None:
    def happen() -> None:
        server.engine.happen("a", None, "RUNNING")
        server.engine.happen("a", 3, "COMPLETED")

    with stream(client) as messages:
        next(messages)  # connected
        server.loop.call_soon_threadsafe(happen)
        _, changes = next_changes(messages)

    assert [(c["dispatch"], c["node"], c["status"]) for c in changes] == [
        ("a", None, "RUNNING"),
        ("a", 3, "COMPLETED"),
    ]


def test_one_dispatch_can_be_followed(client: httpx.Client, server: Server) -> None:
    with stream(client, "?dispatch=b") as messages:
        next(messages)
        server.happen("a", 1, "RUNNING")
        server.happen("b", 2, "RUNNING")
        _, changes = next_changes(messages)

    assert [change["dispatch"] for change in changes] == ["b"]


def test_what_was_missed_comes_first(client: httpx.Client, server: Server) -> None:
    with stream(client) as messages:
        next(messages)
        server.happen("a", 1, "RUNNING")
        last_id, _ = next_changes(messages)
    server.happen("a", 1, "COMPLETED")

    with stream(client, **{"last-event-id": last_id}) as messages:
        _, changes = next_changes(messages)

    assert [change["status"] for change in changes] == ["COMPLETED"]


def test_what_was_missed_since_the_beginning_is_known(client: httpx.Client, server: Server) -> None:
    with stream(client) as messages:
        hello = next(message for message in messages if message.get("event") == "hello")
    server.happen("a", 1, "COMPLETED")

    with stream(client, **{"last-event-id": hello["id"]}) as messages:
        _, changes = next_changes(messages)

    assert [change["status"] for change in changes] == ["COMPLETED"]


@pytest.mark.parametrize("last_id", ["other-1", "7", "x-y", "-"])
def test_an_unknown_past_means_to_read_anew(client: httpx.Client, last_id: str) -> None:
    with stream(client, **{"last-event-id": last_id}) as messages:
        assert any(message.get("event") == "reset" for message in (next(messages), next(messages)))


def test_each_kind_of_event_has_its_message(client: httpx.Client, server: Server) -> None:
    def happen() -> None:
        server.engine.events.tell("circuits", dispatch="a", node=1, count=3)
        server.engine.events.tell("triggers", trigger="t", what="FIRED")
        server.engine.events.pass_on("log", "log", line="hello")

    with stream(client, "?topic=log") as told, stream(client) as plain:
        for messages in (told, told, plain, plain):
            next(messages)  # connected
        server.loop.call_soon_threadsafe(happen)
        messages = [next(told), next(told), next(told)]
        others = [next(plain), next(plain)]

    assert [m["event"] for m in messages] == ["circuits", "triggers", "log"]
    assert [m["event"] for m in others] == ["circuits", "triggers"]
    assert json.loads(messages[0]["data"])[0]["count"] == 3
    assert [bool(m.get("id")) for m in messages] == [False, False, True]
    assert messages[2]["id"] == others[1]["id"]


def test_the_last_id_may_come_in_the_query(client: httpx.Client, server: Server) -> None:
    with stream(client) as messages:
        next(messages)
        server.happen("a", 1, "RUNNING")
        last_id, _ = next_changes(messages)
    server.happen("a", 1, "COMPLETED")

    with stream(client, f"?after={last_id}") as messages:
        _, changes = next_changes(messages)

    assert [change["status"] for change in changes] == ["COMPLETED"]


def test_a_browser_that_does_not_read_is_told_to_read_anew() -> None:
    engine: Any = SimpleNamespace(events=SimpleNamespace(number=7))
    several = streams.Streams(engine)
    queue: asyncio.Queue[bytes] = asyncio.Queue()
    several._queues = {streams.Wanted(): {queue}}
    events = [{"seq": number, "kind": "changes"} for number in range(1, streams._BEHIND + 3)]
    for event in events:
        several._give([event])

    reset, after = queue.get_nowait(), queue.get_nowait()
    assert reset.startswith(b"event: reset\n")
    assert b"-%d\n" % (streams._BEHIND + 1) in reset  # from here on nothing is missing
    assert b"-%d\n" % (streams._BEHIND + 2) in after
    assert queue.empty()


def test_a_job_in_the_journal_is_told(
    client: httpx.Client, server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("QCOV_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(watching, "_INTERVAL", 0.02)
    journal = Journal()
    with stream(client) as messages:
        next(messages)
        journal.intend(an_intent(), {})
        asked = next(message for message in messages if message.get("event") == "jobs")
        journal.submitted("a" * 32, "job-1")
        taken = next(message for message in messages if message.get("event") == "jobs")

    told = [json.loads(message["data"])[0] for message in (asked, taken)]
    assert [(one["job"], one["state"]) for one in told] == [
        ("a" * 32, "SUBMITTING"),
        ("a" * 32, "SUBMITTED"),
    ]


def an_intent() -> Intent:
    return Intent(
        token="a" * 32, run="r", part=0, scope="s", dispatch_id=None, node_id=None, provider="fake",
        device="qpu", account="me", keys=["k"], shots=100, estimate={"usd": 1.0},
    )  # fmt: skip


def test_a_client_that_leaves_is_forgotten(client: httpx.Client, server: Server) -> None:
    with stream(client) as messages:
        next(messages)
        wait_for_streams(client, server, 1)

    wait_for_streams(client, server, 0)


def wait_for_streams(client: httpx.Client, server: Server, count: int) -> None:
    """The engine has a subscriber while there are any; those of an earlier test may still close."""
    found: tuple[int, int] | None = None
    for _ in range(500):
        open_ = client.get("/api/v1/status").json()["event_streams"]
        found = (open_, len(server.engine.events._subscribers))
        if found == (count, min(count, 1)):
            return
    pytest.fail(f"{found} streams and subscribers, not {count}")


def test_many_that_come_at_once_are_not_too_many(
    server: Server, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_for_streams(client, server, 0)
    monkeypatch.setattr(streams, "MAX_STREAMS", 5)

    async def ask(other: httpx.AsyncClient) -> int:
        async with other.stream("GET", "/api/v1/events") as answer:
            await everybody.wait()
            return answer.status_code

    everybody = asyncio.Barrier(40)

    async def ask_all() -> list[int]:
        head = {"authorization": client.headers["authorization"]}
        async with httpx.AsyncClient(
            base_url=server.url, headers=head, trust_env=False, timeout=60
        ) as other:
            return await asyncio.gather(*(ask(other) for _ in range(40)))

    assert sorted(asyncio.run(ask_all())) == [200] * 5 + [503] * 35
    wait_for_streams(client, server, 0)


def test_a_stream_ends_with_the_token_that_it_was_opened_with(
    stranger: httpx.Client, server: Server, shared: str
) -> None:
    wait_for_streams_of(server, 0)
    server.tokens.share("another", lifetime=60.0)
    stranger.headers["authorization"] = f"Bearer {shared}"
    with stream(stranger) as messages:
        wait_for_hello(messages)
        server.happen("a", 1, "RUNNING")
        assert next(messages)["event"] == "changes"
        server.tokens.revoke("another")  # of somebody else
        server.happen("a", 1, "COMPLETED")
        assert next(messages)["event"] == "changes"
        server.tokens.revoke("a colleague")
        server.happen("a", 2, "RUNNING")
        assert [message["event"] for message in messages] == ["out"]  # and no more
    wait_for_streams_of(server, 0)


@pytest.mark.parametrize("how", ["token", "cookie"])
def test_a_new_token_ends_the_owners_streams_when_nothing_happens_too(
    stranger: httpx.Client, server: Server, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(streams, "_HEARTBEAT", 0.02)
    if how == "token":
        stranger.headers["authorization"] = f"Bearer {server.token}"
    else:
        stranger.get("/login", params={"code": server.login_code()})
    with stream(stranger) as messages:
        wait_for_hello(messages)
        assert next(messages) == {"": "alive"}
        server.tokens.rotate()
        assert [one["event"] for one in messages if "event" in one] == ["out"]


def test_a_stream_ends_when_the_time_of_its_link_is_over(
    stranger: httpx.Client, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "_HEARTBEAT", 0.02)
    token = server.tokens.share("short", lifetime=60.0)
    stranger.headers["authorization"] = f"Bearer {token}"
    with stream(stranger) as messages:
        wait_for_hello(messages)
        tokens = server.http._app.state.tokens
        monkeypatch.setattr(tokens, "_clock", lambda: time.time() + 60.0)
        assert [one["event"] for one in messages if "event" in one] == ["out"]


def wait_for_hello(messages: Iterator[dict[str, str]]) -> None:
    next(message for message in messages if message.get("event") == "hello")


def wait_for_streams_of(server: Server, count: int) -> None:
    with httpx.Client(base_url=server.url, trust_env=False, timeout=60) as client:
        client.headers["authorization"] = f"Bearer {server.token}"
        wait_for_streams(client, server, count)


def test_no_reader_takes_all_streams(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    wait_for_streams_of(server, 0)
    for name, most in {"MAX_STREAMS": 7, "OF_READERS": 5, "OF_ONE": 3}.items():
        monkeypatch.setattr(streams, name, most)
    tokens = [server.tokens.share(who, lifetime=60.0) for who in ("Ana", "Bo")]
    everybody = [*tokens[:1] * 5, *tokens[1:] * 5, *[server.token] * 5]
    with (
        httpx.Client(base_url=server.url, trust_env=False, timeout=60) as client,
        ExitStack() as held,
    ):
        told = {}
        for place, token in enumerate(everybody):
            head = {"authorization": f"Bearer {token}"}
            answer = held.enter_context(client.stream("GET", "/api/v1/events", headers=head))
            told[place] = answer.status_code
    assert [*told.values()] == [200] * 3 + [503] * 2 + [200] * 2 + [503] * 3 + [200] * 2 + [503] * 3
    for who in ("Ana", "Bo"):
        server.tokens.revoke(who)
    wait_for_streams_of(server, 0)


def test_a_browser_does_not_take_all_streams(
    stranger: httpx.Client, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "OF_ONE", 1)
    stranger.get("/login", params={"code": server.login_code()})
    with stream(stranger):
        refused = stranger.get("/api/v1/events")
    assert refused.status_code == 503
    assert "1 event streams of yours" in refused.json()["detail"]


def test_who_sees_one_dispatch_hears_of_nothing_else(
    stranger: httpx.Client, server: Server, only: str
) -> None:
    tell = server.engine.events.tell
    stranger.headers["authorization"] = f"Bearer {only}"
    with stream(stranger, "?topic=log") as messages:
        wait_for_hello(messages)
        for kind, about in (
            ("changes", {"dispatch": "other", "root": "other", "node": 1, "status": "RUNNING"}),
            ("circuits", {"dispatch": "other", "node": 1, "count": 1}),
            ("triggers", {"trigger": "t", "what": "FIRED"}),
            ("jobs", {"job": "j", "state": "FAILED", "device": "d", "dispatch": None}),
            ("changes", {"dispatch": "part", "root": "mine", "node": 2, "status": "RUNNING"}),
            ("circuits", {"dispatch": "part", "root": "other", "node": 1, "count": 1}),
            ("circuits", {"dispatch": "deeper", "root": "mine", "node": 3, "count": 2}),
        ):
            server.loop.call_soon_threadsafe(lambda kind=kind, about=about: tell(kind, **about))
        heard = [next(messages), next(messages)]
    told = [json.loads(message["data"]) for message in heard]
    assert [(one["dispatch"], one["node"]) for [one] in told] == [("part", 2), ("deeper", 3)]


def test_events_that_cannot_be_told_do_not_end_the_telling(
    client: httpx.Client, server: Server, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(streams, "_AFTER_ERROR", 0.01)
    with stream(client) as messages:
        wait_for_hello(messages)
        spoilt = server.engine.events.tell
        server.loop.call_soon_threadsafe(lambda: spoilt("circuits", dispatch=object()))
        assert next(messages)["event"] == "reset"  # for what was lost with it
        server.happen("a", 1, "RUNNING")
        assert next_changes(messages)[1][0]["dispatch"] == "a"
    assert "TypeError" in caplog.text


@pytest.mark.parametrize("which", ["subscribe", "since"])
def test_events_that_cannot_be_asked_for_are_asked_for_again(
    client: httpx.Client, server: Server, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch, which: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(streams, "_AFTER_ERROR", 0.01)
    wait_for_streams(client, server, 0)
    events = server.engine.events
    sound = getattr(events, which)

    def spoilt(*_: object) -> object:
        setattr(events, which, sound)
        raise OSError("spoilt")

    setattr(events, which, spoilt)
    with stream(client) as messages:
        wait_for_hello(messages)
        assert next(messages)["event"] == "reset"
        server.happen("a", 1, "RUNNING")
        assert next_changes(messages)[1][0]["dispatch"] == "a"
    assert "OSError: spoilt" in caplog.text


def test_what_is_remembered_no_more_is_read_anew(
    client: httpx.Client, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_for_streams(client, server, 0)
    monkeypatch.setattr(server.engine.events, "since", lambda _: None)
    with stream(client) as messages:
        wait_for_hello(messages)
        assert next(messages)["event"] == "reset"


class Listener:
    """An engine of which only its events are asked, and what they tell of jobs."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.roots: list[str | None] = []
        self.fails = False
        self.events = self
        self.store = self

    def tell(self, kind: str, *, job: str, state: str, root: str | None, **_: object) -> None:
        assert kind == "jobs"
        self.told.append((job[0], state))
        self.roots.append(root)
        if self.fails:
            self.fails = False
            raise OSError("spoilt")

    def get_dispatch(self, dispatch_id: str) -> dict[str, str]:
        if dispatch_id == "gone":
            raise DispatchNotFound(dispatch_id=dispatch_id, where="here")
        return {"root_id": f"root of {dispatch_id}"}

    async def hears(self, watch: watching.JobWatch, count: int) -> None:
        """Watch until so many changes were told, and see that no more are."""
        watched = asyncio.create_task(watch.watch())
        async with asyncio.timeout(10):
            while len(self.told) < count:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert not watched.done()
        watched.cancel()


@pytest.fixture
def listener() -> Any:
    return Listener()


@pytest.fixture
def journal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Journal:
    monkeypatch.setenv("QCOV_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(watching, "_INTERVAL", 0.01)
    return Journal()


def intend(journal: Journal, letter: str, **more: Any) -> None:
    journal.intend(replace(an_intent(), token=letter * 32, **more), {})


@pytest.mark.parametrize("first_look", ["fails", "succeeds"])
def test_jobs_are_watched_on_after_an_error(
    journal: Journal, listener: Any, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture, first_look: str,
) -> None:  # fmt: skip
    sound, looks = watching._jobs, list[Path]()

    def look(path: Path) -> Mapping[str, JobEntry]:
        looks.append(path)
        if first_look == "fails" and len(looks) == 1:
            raise MemoryError("no room to look")
        return sound(path)

    monkeypatch.setattr(watching, "_jobs", look)
    watch = watching.JobWatch(listener)
    listener.fails = True
    intend(journal, "a")
    asyncio.run(listener.hears(watch, 1))
    journal.submitted("a" * 32, "job-1")
    asyncio.run(listener.hears(watch, 2))

    assert listener.told == [("a", "SUBMITTING"), ("a", "SUBMITTED")]
    assert "spoilt" in caplog.text
    assert ("no room to look" in caplog.text) == (first_look == "fails")


def test_who_begins_to_listen_hears_of_jobs_that_have_just_changed(
    journal: Journal, listener: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()

    def ago(seconds: float) -> None:
        monkeypatch.setattr("qcov.journal.time", SimpleNamespace(time=lambda: now - seconds))

    for seconds, letter in ((90.0, "a"), (70.0, "b"), (30.0, "c")):
        ago(seconds)
        intend(journal, letter)
    ago(10.0)
    journal.submitted("b" * 32, "job-1")

    asyncio.run(listener.hears(watching.JobWatch(listener), 2))
    assert sorted(listener.told) == [("b", "SUBMITTED"), ("c", "SUBMITTING")]


def test_what_became_of_jobs_while_nobody_listened_is_told_once(
    journal: Journal, listener: Any
) -> None:
    watch = watching.JobWatch(listener)
    intend(journal, "a")
    asyncio.run(listener.hears(watch, 1))
    asyncio.run(listener.hears(watch, 1))
    journal.unknown("a" * 32, "the connection was lost")  # which sets no time
    asyncio.run(listener.hears(watch, 2))
    assert listener.told == [("a", "SUBMITTING"), ("a", "UNKNOWN_SUBMISSION")]


def test_who_may_see_a_dispatch_hears_of_the_jobs_of_its_sublattices(
    journal: Journal, listener: Any
) -> None:
    intend(journal, "a", dispatch_id="inner")
    intend(journal, "b", dispatch_id="gone")
    asyncio.run(listener.hears(watching.JobWatch(listener), 2))
    assert set(listener.roots) == {"root of inner", None}


def test_there_may_be_too_many_streams(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "MAX_STREAMS", 0)
    answer = client.get("/api/v1/events")

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert answer.json()["type"] == "urn:qcov:error:ServerBusy"
