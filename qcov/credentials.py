"""Credentials by reference: what is secret is read where it is needed, and stored nowhere else.

A credential is written as where it is: `env:NAME`, `file:PATH` or `keyring:SERVICE/USER`. One that
was given as it is stays in this process; when it has to travel, it is put into a file that only its
owner reads, and a reference to its place there goes on in its stead.
"""

from __future__ import annotations

import fcntl
import hmac
import importlib
import json
import os
import re
import secrets
from pathlib import Path
from typing import Any, cast

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from qcov import private_file
from qcov.errors import CredentialMissing, InvalidSetting
from qcov.settings import data_dir

_KEPT = "kept:"
_WHAT = "must be text: env:NAME, file:PATH, keyring:SERVICE/USER or the secret itself"
_EMPTY = re.compile(r"(env|file|keyring|kept):")
_REFERENCE = re.compile(r"(env|file|keyring|kept):.+", re.DOTALL)


class Credential:
    """Something secret, such as a token, or where it is.

    Args:
        source: `env:NAME` for an environment variable, `file:PATH` for the text of a file,
            `keyring:SERVICE/USER` for an entry of the system's keyring (by the package `keyring`),
            or the secret itself.

    It prints as its reference, never as the secret. Pickled, or as JSON, it is a reference as well;
    a secret that was given itself is written to `credentials.json` in the data folder (mode 0600)
    for that, and found there by programs of the same user on the same machine.

    Example:
        >>> import os
        >>> os.environ["MY_TOKEN"] = "abc"
        >>> credential = Credential("env:MY_TOKEN")
        >>> credential, credential.reveal()
        (Credential('env:MY_TOKEN'), 'abc')
        >>> Credential("abc")
        Credential('***')
    """

    __slots__ = ("_reference", "_secret")

    def __init__(self, source: str | Credential) -> None:
        self._reference: str | None = None
        self._secret: str | None = None
        if isinstance(source, Credential):
            self._reference, self._secret = source._reference, source._secret
        elif not _is_text(source) or _EMPTY.fullmatch(source):
            raise InvalidSetting(executor="Credential", setting="source", reason=_WHAT)
        elif _REFERENCE.fullmatch(source):
            self._reference = source
        else:
            self._secret = source

    def reveal(self) -> str:
        """The secret.

        Raises:
            CredentialMissing: There is nothing at its place; the message says where it was sought.
        """
        if self._secret is not None:
            return self._secret
        kind, _, place = cast("str", self._reference).partition(":")
        return _READERS[kind](place)

    @property
    def reference(self) -> str:
        """Where the secret is; one that was given itself is put there first."""
        if self._reference is None:
            self._reference = _KEPT + _keep(cast("str", self._secret))
        return self._reference

    def __repr__(self) -> str:
        shown = "***" if self._secret is not None else self._reference
        return f"Credential({shown!r})"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Credential) and self._compared() == other._compared()

    def __hash__(self) -> int:
        return hash(self._compared())

    def __bool__(self) -> bool:
        return True

    def __copy__(self) -> Credential:
        return self

    def __deepcopy__(self, _memo: object) -> Credential:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Credential, (self.reference,)

    def _compared(self) -> str | None:
        return self._reference if self._secret is None else self._secret

    @classmethod
    def __get_pydantic_core_schema__(
        cls, _source: Any, _handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            _validated,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda credential: credential.reference
            ),
            json_schema_input_schema=core_schema.str_schema(),
        )


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _validated(value: object) -> Credential:
    if isinstance(value, Credential):
        return value
    if isinstance(value, str) and value:
        return Credential(value)
    raise ValueError(_WHAT)


def _from_environment(name: str) -> str:
    value = os.environ.get(name)
    if value is None or not value.strip():
        raise CredentialMissing(
            source=f"env:{name}", reason=f"set the environment variable {name} where circuits run"
        )
    return value.strip()


def _from_file(name: str) -> str:
    path = Path(name).expanduser()
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = f"the file cannot be read: {getattr(error, 'strerror', None) or 'no UTF-8'}"
        raise CredentialMissing(source=f"file:{name}", reason=reason) from None
    if not text:
        raise CredentialMissing(source=f"file:{name}", reason="the file is empty")
    return text


def _from_keyring(entry: str) -> str:
    source = f"keyring:{entry}"
    service, _, user = entry.rpartition("/")
    try:
        keyring: Any = importlib.import_module("keyring")
    except ImportError:
        reason = "install the package `keyring`"
        raise CredentialMissing(source=source, reason=reason) from None
    try:
        found = keyring.get_password(service, user)
    except Exception as error:  # noqa: BLE001  # each of keyring's backends fails in its own way
        reason = f"the keyring says {type(error).__name__}"
        raise CredentialMissing(source=source, reason=reason) from None
    if not found:
        reason = f"the keyring has nothing for the service {service!r} and the user {user!r}"
        raise CredentialMissing(source=source, reason=reason)
    return str(found)


# -- what was given itself -----------------------------------------------------------------------


def _kept_file() -> Path:
    return data_dir() / "credentials.json"


def _kept() -> dict[str, str]:
    try:
        return json.loads(_kept_file().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        reason = f"{_kept_file()} cannot be read ({type(error).__name__}); move it away"
        raise CredentialMissing(source=str(_kept_file()), reason=reason) from None


def _keep(secret: str) -> str:
    path = _kept_file()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with private_file.touch(path.with_suffix(".lock")) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process may keep one of its own
        kept = _kept()
        for name, known in kept.items():
            if hmac.compare_digest(known.encode(), secret.encode()):
                return name
        name = secrets.token_hex(8)
        private_file.write(path, json.dumps({**kept, name: secret}).encode())
        return name


def _from_kept(name: str) -> str:
    found = _kept().get(name)
    if found is None:
        reason = (
            f"{_kept_file()} has no such entry, for the secret was given on another machine or "
            "with another data folder. Give it as env:NAME or file:PATH, which circuits read where "
            "they run"
        )
        raise CredentialMissing(source=f"{_KEPT}{name}", reason=reason)
    return found


_READERS = {
    "env": _from_environment,
    "file": _from_file,
    "keyring": _from_keyring,
    "kept": _from_kept,
}
