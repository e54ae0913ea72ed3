from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from qcov_server.auth import CODE_LIFETIME, SESSION_LIFETIME, LoginCodes, Sessions
from qcov_server.tokens import Access, Tokens, Visitor


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def access(visitor: Visitor | None) -> Access | None:
    return None if visitor is None else visitor.access


@pytest.fixture
def tokens(tmp_path: Path, clock: Clock) -> Tokens:
    return Tokens(tmp_path, clock)


@pytest.fixture
def sessions(tokens: Tokens, clock: Clock) -> Sessions:
    return Sessions(tokens, 1, clock)


def test_the_token_is_random_private_and_stays(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        token = Tokens(tmp_path).owner()
        Tokens(tmp_path).share("a colleague", lifetime=1.0)
    finally:
        os.umask(before)

    assert len(token) >= 43  # 256 bits in base64
    assert Tokens(tmp_path).owner() == token
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    names = ("server.token", "server.shares.json", "server.shares.lock")
    assert modes == dict.fromkeys(names, 0o600)


def test_of_a_shared_token_only_a_digest_is_kept(tmp_path: Path, tokens: Tokens) -> None:
    shared = tokens.share("a colleague", lifetime=1.0)

    assert access(tokens.visitor(shared)) is Access.READER
    assert shared not in "".join(path.read_text() for path in tmp_path.iterdir())


def test_a_shared_token_ends_when_its_time_is_over_or_it_is_taken_back(
    tokens: Tokens, clock: Clock, tmp_path: Path
) -> None:
    first, second = tokens.share("a", lifetime=10.0), tokens.share("b", lifetime=99.0)
    elsewhere = Tokens(tmp_path, clock)
    assert [access(elsewhere.visitor(token)) for token in (first, second)] == [Access.READER] * 2

    clock.now += 11
    assert [access(elsewhere.visitor(token)) for token in (first, second)] == [None, Access.READER]
    assert (tokens.revoke("b"), tokens.revoke("b"), tokens.revoke("never")) == (True, False, False)
    assert access(elsewhere.visitor(second)) is None


def test_a_label_has_one_token(tokens: Tokens) -> None:
    first = tokens.share("a", lifetime=10.0)
    second = tokens.share("a", lifetime=10.0)

    assert (access(tokens.visitor(first)), access(tokens.visitor(second))) == (None, Access.READER)


@pytest.mark.parametrize("written", ["", "{", "[1]", '[{"label": "x"}]', '{"a": 1}'])
def test_a_damaged_file_of_shares_lets_nobody_in(
    tokens: Tokens, tmp_path: Path, written: str
) -> None:
    shared = tokens.share("a", lifetime=10.0)
    (tmp_path / "server.shares.json").write_text(written)

    assert access(tokens.visitor(shared)) is None
    assert access(tokens.visitor(tokens.owner())) is Access.OWNER


def test_codes_expire() -> None:
    clock = Clock()
    codes = LoginCodes(clock)
    code = codes.make()
    clock.now += CODE_LIFETIME + 1

    assert not codes.redeem(code)


def test_only_so_many_codes_wait() -> None:
    codes = LoginCodes(Clock())
    first = codes.make()
    others = [codes.make() for _ in range(64)]

    assert not codes.redeem(first)
    assert codes.redeem(others[0])


def test_sessions_expire_and_end_with_their_token(
    sessions: Sessions, tokens: Tokens, clock: Clock
) -> None:
    cookie, lifetime = sessions.make()
    assert (access(sessions.visitor(cookie)), lifetime) == (Access.OWNER, int(SESSION_LIFETIME))
    clock.now += SESSION_LIFETIME + 1
    assert access(sessions.visitor(cookie)) is None

    cookie, _ = sessions.make()
    assert access(sessions.visitor(cookie)) is Access.OWNER
    tokens.rotate()
    assert access(sessions.visitor(cookie)) is None


def test_a_session_that_was_shared_ends_with_its_share(
    sessions: Sessions, tokens: Tokens, clock: Clock
) -> None:
    tokens.share("a", lifetime=10.0)
    [share] = tokens.shares()
    cookie, lifetime = sessions.make(share)
    assert (access(sessions.visitor(cookie)), lifetime) == (Access.READER, 10)

    tokens.revoke("a")
    assert access(sessions.visitor(cookie)) is None
    tokens.share("b", lifetime=10.0)
    cookie, _ = sessions.make(tokens.shares()[0])
    clock.now += 11
    assert access(sessions.visitor(cookie)) is None


@pytest.mark.parametrize(
    "cookie",
    ["", ".", "..", "x.y", "owner.9999999999.", "owner.9999999999.é", "owner.nan.00", "owner"],
)
def test_a_forged_session_is_refused(sessions: Sessions, cookie: str) -> None:
    assert access(sessions.visitor(cookie)) is None


def test_nothing_can_be_written_into_a_session(sessions: Sessions, tokens: Tokens) -> None:
    tokens.share("a", lifetime=10.0)
    who, ends, signature = sessions.make(tokens.shares()[0])[0].split(".")

    assert access(sessions.visitor(f"{who}.{int(ends) + 1}.{signature}")) is None
    assert access(sessions.visitor(f"owner.{ends}.{signature}")) is None
