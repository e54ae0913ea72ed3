"""The tokens of a data folder: its owner's, and those that let somebody look.

The owner's is 256 random bits in a file that only its owner can read. Whoever has it may do all.
Tokens for others are like it, but may only read, and end; of them no more is kept than a digest, in
a second file. Both files are read again when they have changed, so what the command line writes
holds at once.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from qcov import private_file

VISITOR = "qcov.visitor"  #: where a request's scope says who has sent it
STILL_IN = "qcov.still_in"  #: where it has a function that says whether they may still come in

_OWNER = "owner"  # the name of whoever has the owner's token
_Stamp = tuple[int, int, int]


class Access(StrEnum):
    """What somebody may do."""

    OWNER = "owner"  #: everything
    READER = "reader"  #: look


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A token that lets somebody look."""

    label: str
    digest: str  #: SHA-256 of the token
    created: float  #: seconds since the epoch
    expires: float
    dispatch: str | None = None  #: nothing but this one, with its sublattices; None for all


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Somebody who has come in."""

    access: Access
    name: str  #: tells them from others; nothing can be done with it
    dispatch: str | None = None  #: they see nothing but this one, with its sublattices

    @property
    def has_owners_token(self) -> bool:
        """Whether it is a program with the owner's token, and not a browser."""
        return self.name == _OWNER

    @classmethod
    def of(cls, share: Share) -> Visitor:
        """Whoever comes with a share, whether by its token or with a session."""
        return cls(access=Access.READER, name=share.digest, dispatch=share.dispatch)


class Tokens:
    """The tokens of one data folder.

    Args:
        folder: The data folder.
        clock: The time in seconds since the epoch.

    >>> import tempfile
    >>> tokens = Tokens(Path(tempfile.mkdtemp()))
    >>> tokens.visitor(tokens.owner()), tokens.visitor("guessed")
    (Visitor(access=<Access.OWNER: 'owner'>, name='owner', dispatch=None), None)
    >>> tokens.visitor(tokens.share("a colleague", lifetime=60.0)).access
    <Access.READER: 'reader'>
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = folder / "server.token"
        self._shares_path = folder / "server.shares.json"
        self._clock = clock
        self._owner: tuple[_Stamp | None, str] = (None, "")
        self._shares: tuple[_Stamp | None, Sequence[Share]] = (None, ())

    def owner(self) -> str:
        """The owner's token, made on first use."""
        if not self._path.exists():
            private_file.make(self._path, _new().encode("ascii"))
        stamp = _stamp(self._path)
        if stamp != self._owner[0]:
            self._owner = (stamp, self._path.read_text(encoding="ascii").strip())
        return self._owner[1]

    def rotate(self) -> str:
        """A new token for the owner. The old one, all shares, and every browser's session, end."""
        with self._changing():
            self._keep([])
        private_file.write(self._path, _new().encode("ascii"))
        return self.owner()

    def share(self, label: str, *, lifetime: float, dispatch: str | None = None) -> str:
        """A token with which somebody may look for `lifetime` seconds; one per label.

        Args:
            label: Whose it is.
            lifetime: Seconds.
            dispatch: The only dispatch that they are to see, with its sublattices.
        """
        token, now = _new(), self._clock()
        made = Share(
            label=label, digest=digest(token), created=now, expires=now + lifetime,
            dispatch=dispatch,
        )  # fmt: skip
        with self._changing():
            self._keep([*(one for one in self.shares() if one.label != label), made])
        return token

    def shares(self) -> Sequence[Share]:
        """The tokens of others that still hold."""
        stamp = _stamp(self._shares_path)
        if stamp != self._shares[0]:
            self._shares = (stamp, _read(self._shares_path))
        return [share for share in self._shares[1] if share.expires > self._clock()]

    def revoke(self, label: str) -> bool:
        """End the token of that label, and the sessions that it has bought; False for none."""
        with self._changing():
            before = self.shares()
            left = [share for share in before if share.label != label]
            self._keep(left)
        return len(left) < len(before)

    def visitor(self, token: str) -> Visitor | None:
        """Who sends this token; None if nobody was given it."""
        if same(token, self.owner()):
            return Visitor(access=Access.OWNER, name=_OWNER)
        share = self.share_of(digest(token))
        return None if share is None else Visitor.of(share)

    def share_of(self, token_digest: str) -> Share | None:
        """The share that was made with a token of this digest, if it still holds."""
        found = (share for share in self.shares() if same(share.digest, token_digest))
        return next(found, None)

    def _keep(self, shares: Sequence[Share]) -> None:
        text = json.dumps([asdict(share) for share in shares], indent=1)
        private_file.write(self._shares_path, text.encode())

    @contextlib.contextmanager
    def _changing(self) -> Generator[None]:
        """One process at a time changes what is shared."""
        with private_file.touch(self._shares_path.with_suffix(".lock")) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def same(given: str, expected: str) -> bool:
    """Compare two secrets in a time that does not depend on them."""
    return hmac.compare_digest(given.encode(), expected.encode())


def digest(secret: str) -> str:
    """What may be kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _new() -> str:
    return secrets.token_urlsafe(32)


def _stamp(path: Path) -> _Stamp | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def _read(path: Path) -> Sequence[Share]:
    try:
        return [Share(**one) for one in json.loads(path.read_text(encoding="utf-8"))]
    except FileNotFoundError:
        return ()
    except (ValueError, TypeError):  # somebody has written into it: then nobody else may look
        return ()
