"""A store's database on a PostgreSQL server, which several engines may share."""

from __future__ import annotations

import secrets
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import ArgumentError, DatabaseError

from qcov.errors import ConfigError, StoreUnavailable
from qcov.store.schema import commits

_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
#: Parameters of a URL that may be shown; of others nobody knows what the next libpq has.
_SHOWN = frozenset(
    (
        *("application_name", "channel_binding", "client_encoding", "connect_timeout", "dbname"),
        *("gssencmode", "host", "hostaddr", "keepalives", "keepalives_count", "keepalives_idle"),
        *("keepalives_interval", "load_balance_hosts", "options", "port", "service", "sslcert"),
        *("sslkey", "sslmode", "sslrootcert", "target_session_attrs", "tcp_user_timeout", "user"),
    )
)
_CALLED = "qcov "  # and an owner: so the server lists our connections
_CONNECTED = sa.text(
    "SELECT DISTINCT application_name FROM pg_stat_activity WHERE datname = current_database() "
    "AND application_name IS NOT NULL"
)
# How a connection finds out that its other end is gone, unless the URL says otherwise; see
# https://www.postgresql.org/docs/current/libpq-connect.html
_CONNECTION = {
    "connect_timeout": 10,  # seconds
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # milliseconds
}
# What the server is to end by itself, if its owner or the URL's `options` have no limit of theirs.
_LIMITS = {
    "lock_timeout": "30s",
    "idle_in_transaction_session_timeout": "60s",  # of an engine that is gone, with its locks
    "statement_timeout": "10min",
}
_LIMIT = (
    "SELECT set_config(name, wanted, false) FROM unnest(%(names)s::text[], %(limits)s::text[]) "
    "AS limits (name, wanted) WHERE current_setting(name) = '0'"
)
_FORM = "postgresql://user@host/database"
_SETTING = "workflow_data.db_url"
_READ_ONLY = "25006"  # https://www.postgresql.org/docs/current/errcodes-appendix.html

# The row stands before the first transaction: whoever asks for it waits for none that is open.
_FIRST_MARK = "INSERT INTO commits VALUES (%(owner)s, '') ON CONFLICT DO NOTHING"
_MARK = "UPDATE commits SET token = %(token)s WHERE owner = %(owner)s"
_LAST_MARK = (
    sa.select(commits.c.token)
    .where(commits.c.owner == sa.bindparam("owner"))
    .with_for_update(nowait=True)
)


class PostgreSQL:
    """A database at a URL; see `database.Database`.

    Args:
        url: Such as `postgresql://user@host/database`.
        owner: Who writes with the connections of `connect`; nobody else does under that name.
    """

    shared = True
    dialect: sa.Dialect = postgresql.psycopg.dialect()
    begin = "BEGIN"

    def __init__(self, url: str, *, owner: str) -> None:
        parsed = _parsed(url)
        self.name = masked(url)
        self.advice = f"Is the server up, and is {_SETTING} right? It is read by each new engine."
        self._errors = _driver(self.name)
        target = parsed.set(drivername="postgresql+psycopg")
        called = _CALLED + owner
        self.writing = _engine(target, called)
        self.reading = _engine(target, called, isolation_level="AUTOCOMMIT")  # no BEGIN for each
        self._own: Any = None
        self._owner = owner

    def insert(self, table: sa.Table) -> Any:
        """The dialect's `INSERT`, which knows `ON CONFLICT`."""
        return postgresql.insert(table)

    def connect(self) -> Any:
        """The driver's own; transactions begin where we say so."""
        pooled = self.writing.raw_connection()
        connection: Any = pooled.driver_connection
        pooled.detach()  # it is not the pool's any more
        connection.autocommit = True
        self._own = connection  # one that it had before is broken
        connection.execute(_FIRST_MARK, {"owner": self._owner})
        return connection

    def in_transaction(self, connection: Any) -> bool:
        """True if a transaction has begun and not ended."""
        return connection.info.transaction_status != 0 and not connection.closed

    def mark(self, cursor: Any) -> str:
        """A token, written with the transaction: it is in the database if the rest is.

        The server's own numbers of transactions do not say that: after a crash they are given out
        again.
        """
        token = secrets.token_hex(16)
        cursor.execute(_MARK, {"owner": self._owner, "token": token})
        return token

    def committed(self, mark: object) -> bool:
        """Whether a transaction was committed whose connection broke before it said so.

        Refused with `LockNotAvailable` while the server still has the transaction open.
        """
        try:
            with self.reading.connect() as connection:
                return connection.scalar(_LAST_MARK, {"owner": self._owner}) == mark
        except DatabaseError as error:
            raise (error.orig or error) from error

    def broken(self, connection: Any) -> bool:
        """True if the connection to the server was lost."""
        return connection.closed

    def passes(self, error: BaseException) -> bool:
        """True if the server is away, has no room, or writes nothing now.

        What is too large for it (class 54) will be so tomorrow.
        """
        state = getattr(error, "sqlstate", None) or ""
        passing = isinstance(error, self._errors.OperationalError | self._errors.InterfaceError)
        return (passing and not state.startswith("54")) or state == _READ_ONLY

    def gave_way(self, error: BaseException) -> bool:
        """True if it was ended for another transaction (class 40)."""
        return (getattr(error, "sqlstate", None) or "").startswith("40")

    def reason(self, error: BaseException) -> str:
        """What the server said, in one line."""
        return " ".join(str(error).split())

    def others(self) -> set[str]:
        """Those whose connections the server sees; not of other roles, nor behind a pooler."""
        with self.reading.connect() as connection:
            names = [str(name) for name in connection.scalars(_CONNECTED)]
        found = {name.removeprefix(_CALLED) for name in names if name.startswith(_CALLED)}
        return found - {self._owner}

    def close(self) -> None:
        """Close all connections."""
        if self._own is not None:
            self._own.close()
        self.writing.dispose()
        self.reading.dispose()


def masked(url: str) -> str:
    """A URL without what may be secret, for people."""
    parsed = _parsed(url)
    hidden = {name: "hidden" for name in parsed.query if name not in _SHOWN}
    return parsed.update_query_dict(hidden).render_as_string(hide_password=True)


def _parsed(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError):
        parsed = None
    if parsed is None:  # the reason may quote a password
        reason = "is no URL; of a password, quote characters such as @ and / (%40, %2F)"
    elif parsed.drivername not in _SCHEMES:
        reason = f"names {parsed.drivername!r}, where no store can be; without it SQLite is used"
    else:
        return parsed
    raise ConfigError(key=_SETTING, reason=f"{reason}. Write {_FORM}.", source="settings")


def _driver(name: str) -> Any:
    try:
        import psycopg
    except ImportError as error:
        raise StoreUnavailable(
            path=name,
            reason=f"the driver for PostgreSQL is not there ({error})",
            advice="Install it: pip install 'qcov[postgresql]'.",
        ) from error
    return psycopg


def _engine(url: sa.URL, called: str, **more: Any) -> sa.Engine:
    wanted = {"application_name": called, **_CONNECTION}
    arguments = {name: value for name, value in wanted.items() if name not in url.query}
    engine = sa.create_engine(url, pool_pre_ping=True, connect_args=arguments, **more)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        connection.adapters.register_dumper(str, _text_dumper())
        connection.autocommit = True
        connection.execute(_LIMIT, {"names": list(_LIMITS), "limits": list(_LIMITS.values())})
        connection.autocommit = False

    return engine


def _text_dumper() -> Any:
    """Electrons print what they like; PostgreSQL's text has room for all but NUL."""
    from psycopg.types.string import StrDumperUnknown

    class _Dumper(StrDumperUnknown):
        def dump(self, obj: str) -> Any:
            return super().dump(obj.replace("\0", "\u2400"))

    return _Dumper
