"""How a browser comes in: with a code or a shared token, for which it gets a session cookie.

Programs send a token (see `tokens`) as a bearer token. A browser never sees the owner's: the
command line makes a code that works once, within minutes, and the browser gets a cookie for it that
the server can check without remembering anything.

Browsers send a cookie to every port of a host, and so to other people's servers on this machine.
With the cookie comes a key, which a browser keeps where only pages from this very port can read it:
what changes something needs both.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable

from qcov_server.tokens import Access, Share, Tokens, Visitor, digest, same

CODE_LIFETIME = 15 * 60.0  #: seconds until an unused login link stops working
SESSION_LIFETIME = 30 * 24 * 3600.0  #: seconds until a browser has to log in again
_MAX_CODES = 64


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
        self._expiry[digest(code)] = self._clock() + CODE_LIFETIME
        return code

    def redeem(self, code: str) -> bool:
        """Whether the code was made here, is not too old, and was not used; uses it."""
        return self._expiry.pop(digest(code), float("-inf")) > self._clock()


class Sessions:
    """Cookies signed with the owner's token: a new one ends them all.

    One that a share has bought names it, and ends with it.
    """

    def __init__(self, tokens: Tokens, port: int, clock: Callable[[], float]) -> None:
        self._tokens = tokens
        self._clock = clock
        #: Browsers share cookies between the ports of a host, so its name says which server.
        self.cookie = f"qcov-session-{port}"

    def make(self, share: Share | None = None) -> tuple[str, int]:
        """The value of a cookie for a new session, and its lifetime in seconds."""
        now = self._clock()
        ends = now + SESSION_LIFETIME if share is None else share.expires
        told = f"{Access.OWNER if share is None else share.digest}.{int(ends)}"
        return f"{told}.{self._sign(told)}", max(0, int(ends - now))

    def visitor(self, value: str) -> Visitor | None:
        """Whose a cookie is; None if it was not made here, or is too old."""
        told, _, signature = value.rpartition(".")
        if not same(signature, self._sign(told)):
            return None
        who, _, ends = told.partition(".")
        if float(ends) <= self._clock():
            return None
        if who == Access.OWNER:
            return Visitor(access=Access.OWNER, name=digest(value))
        share = self._tokens.share_of(who)
        return None if share is None else Visitor.of(share)

    def key(self, value: str) -> str:
        """What has to come with a cookie of this value from whoever changes something."""
        return self._sign(value, "key")

    def _sign(self, told: str, purpose: str = "session") -> str:
        key = hashlib.sha256(f"{purpose}:{self._tokens.owner()}".encode()).digest()
        return hmac.new(key, told.encode(), hashlib.sha256).hexdigest()
