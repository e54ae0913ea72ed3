"""Who may come in: the token, one-time login codes, and the session cookie that a code buys.

The token is 256 random bits in a file that only its owner can read. Programs send it as a bearer
token. A browser never sees it: the command line makes a code that works once, within minutes, and
the browser gets a cookie for it that the server can check without remembering anything.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from pathlib import Path

from qcov import private_file

CODE_LIFETIME = 15 * 60.0  #: seconds until an unused login link stops working
SESSION_LIFETIME = 30 * 24 * 3600.0  #: seconds until a browser has to log in again
_MAX_CODES = 64


def load_token(folder: Path) -> str:
    """The installation's token, made on first use, in a file readable by the user alone."""
    path = folder / "server.token"
    if not path.exists():
        private_file.write(path, secrets.token_urlsafe(32).encode("ascii"))
    return path.read_text(encoding="ascii").strip()


def same(given: str, expected: str) -> bool:
    """Compare two secrets in a time that does not depend on them."""
    return hmac.compare_digest(given.encode(), expected.encode())


class LoginCodes:
    """Codes that let one browser in, once.

    >>> codes = LoginCodes(clock=lambda: 0.0)
    >>> code = codes.make()
    >>> codes.redeem(code), codes.redeem(code)
    (True, False)
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._expiry: dict[str, float] = {}  # by digest, so that a lookup tells nothing by its time

    def make(self) -> str:
        """A new code; the oldest ones make room for it."""
        code = secrets.token_urlsafe(32)
        while len(self._expiry) >= _MAX_CODES:
            del self._expiry[next(iter(self._expiry))]
        self._expiry[_digest(code)] = self._clock() + CODE_LIFETIME
        return code

    def redeem(self, code: str) -> bool:
        """Whether the code was made here, is not too old, and was not used; uses it."""
        return self._expiry.pop(_digest(code), float("-inf")) > self._clock()


class Sessions:
    """Cookies signed with the token: a new token ends them all."""

    def __init__(self, token: str, port: int, clock: Callable[[], float]) -> None:
        self._key = hashlib.sha256(f"session:{token}".encode()).digest()
        self._clock = clock
        #: Browsers share cookies between the ports of a host, so its name says which server.
        self.cookie = f"qcov-session-{port}"

    def make(self) -> str:
        """The value of a cookie for a new session."""
        expiry = str(int(self._clock() + SESSION_LIFETIME))
        return f"{expiry}.{self._sign(expiry)}"

    def valid(self, value: str) -> bool:
        """Whether a cookie was made here and is not too old."""
        expiry, _, signature = value.partition(".")
        return same(signature, self._sign(expiry)) and float(expiry) > self._clock()

    def _sign(self, expiry: str) -> str:
        return hmac.new(self._key, expiry.encode(), hashlib.sha256).hexdigest()


def _digest(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()
