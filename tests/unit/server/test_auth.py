from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from qcov_server.auth import CODE_LIFETIME, SESSION_LIFETIME, LoginCodes, Sessions, load_token


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_token_is_random_private_and_stays(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        token = load_token(tmp_path)
    finally:
        os.umask(before)
    file = tmp_path / "server.token"

    assert len(token) >= 43  # 256 bits in base64
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert load_token(tmp_path) == token
    assert [path.name for path in tmp_path.iterdir()] == ["server.token"]


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


def test_sessions_expire_and_end_with_their_token() -> None:
    clock = Clock()
    sessions = Sessions("token", 1, clock)
    cookie = sessions.make()

    assert sessions.valid(cookie)
    assert not Sessions("another", 1, clock).valid(cookie)
    clock.now += SESSION_LIFETIME + 1
    assert not sessions.valid(cookie)


@pytest.mark.parametrize("cookie", ["", ".", "x.y", "9999999999.", "9999999999.é", "nan.00"])
def test_a_forged_session_is_refused(cookie: str) -> None:
    assert not Sessions("token", 1, Clock()).valid(cookie)


def test_a_later_end_cannot_be_written_into_a_session() -> None:
    sessions = Sessions("token", 1, Clock())
    expiry, _, signature = sessions.make().partition(".")

    assert not sessions.valid(f"{int(expiry) + 1}.{signature}")
