"""The journal of jobs: what was asked of providers and what it costs; nothing is paid twice.

Before a job is submitted, the intent is here, with a token that the provider will keep, and the
money that it may cost is taken out of its budgets; both in one transaction. Once it is submitted,
its id is here before anybody waits. Whoever is killed leaves behind what a later run needs to go
on with the job; see `qcov.qexecutors.job_run`.

The journal is one SQLite file in the data folder that all of a user's processes write, engine or
not. It has few and small transactions, so each opens the file anew: nothing is shared by threads or
with forked children. It keeps a rollback journal, which network file systems bear and a
write-ahead log does not; `synchronous = EXTRA` keeps what was committed when the power fails.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from qcov import private_file
from qcov.errors import JobNotFound, StoreUnavailable
from qcov.job_entries import OF_USE, OPEN, Allowance, Intent, JobEntry, Shortfall, State
from qcov.settings import data_dir

_FILE = "jobs.sqlite"
_VERSION = 1
_PATIENCE = 60.0  # seconds that one process waits for another's write
_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (id TEXT PRIMARY KEY, seal TEXT, payload BLOB);
CREATE TABLE IF NOT EXISTS jobs (
    token TEXT PRIMARY KEY, run TEXT NOT NULL, part INTEGER NOT NULL,
    scope TEXT NOT NULL, dispatch_id TEXT, node_id INTEGER,
    provider TEXT NOT NULL, device TEXT NOT NULL, account TEXT NOT NULL,
    state TEXT NOT NULL, job_id TEXT, error TEXT,
    programs INTEGER NOT NULL, shots INTEGER NOT NULL,
    created REAL NOT NULL, submitted REAL, ended REAL, prices TEXT
);
CREATE INDEX IF NOT EXISTS jobs_by_scope ON jobs (scope);
CREATE INDEX IF NOT EXISTS jobs_by_account ON jobs (account, state);
CREATE INDEX IF NOT EXISTS jobs_by_dispatch ON jobs (dispatch_id);
CREATE INDEX IF NOT EXISTS jobs_by_id ON jobs (job_id);
CREATE TABLE IF NOT EXISTS programs (
    token TEXT NOT NULL, number INTEGER NOT NULL, key TEXT NOT NULL, PRIMARY KEY (token, number)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS programs_by_key ON programs (key);
CREATE TABLE IF NOT EXISTS charges (
    token TEXT NOT NULL, unit TEXT NOT NULL, estimate REAL NOT NULL, actual REAL,
    PRIMARY KEY (token, unit)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS budgets (
    budget TEXT NOT NULL, token TEXT NOT NULL, PRIMARY KEY (budget, token)
) WITHOUT ROWID;
"""


class Journal:
    """The journal in a file; by default the one in the data folder.

    Every method raises `StoreUnavailable` if the file cannot be used.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or data_dir() / _FILE

    # -- a job's life ------------------------------------------------------------------------

    def keep_run(self, run: str, payload: bytes, seal: str) -> None:
        """Keep what a run of circuits can be read again from."""
        with self._writing() as db:
            db.execute("INSERT INTO runs VALUES (?, ?, ?)", (run, seal, payload))

    def intend(
        self,
        intent: Intent,
        allowances: Mapping[str, Allowance],
        pending: int | None = None,
    ) -> Shortfall | int | None:
        """Write down a job that is about to be submitted, and take its cost out of its budgets.

        Args:
            intent: The job.
            allowances: Of all budgets that it is to be paid from, by their id.
            pending: How many jobs of its account may wait or run.

        Returns:
            None if it may be submitted. Otherwise nothing was written: the budget that does not
            allow it, or how many jobs there are if they are too many.
        """
        with self._writing() as db:
            if pending is not None and (open_jobs := _count_open(db, intent.account)) >= pending:
                return open_jobs
            for budget, allowance in allowances.items():
                if short := _shortfall(db, budget, allowance, intent.estimate):
                    return short
            _insert(db, intent)
            db.executemany(
                "INSERT INTO budgets VALUES (?, ?)", [(name, intent.token) for name in allowances]
            )
        return None

    def submitted(self, token: str, job_id: str) -> None:
        """Write down the id that the provider has given a job."""
        with self._writing() as db:
            db.execute(
                f"UPDATE jobs SET state = ?, job_id = ?, submitted = ?, ended = NULL, "  # noqa: S608
                f"error = NULL WHERE token = ? AND state IN ({_marks(_BELIEVED)})",
                (State.SUBMITTED, job_id, time.time(), token, *_BELIEVED),
            )
            db.execute(
                "UPDATE charges SET actual = NULL WHERE token IN "
                "(SELECT token FROM jobs WHERE token = ? AND state = ?)",
                (token, State.SUBMITTED),
            )

    def unknown(self, token: str, reason: str) -> None:
        """Write down that nobody can tell whether a job was submitted; its cost stays reserved."""
        with self._writing() as db:
            db.execute(
                f"UPDATE jobs SET state = ?, error = ? WHERE token = ? "  # noqa: S608
                f"AND state IN ({_marks(OPEN)})",
                (State.UNKNOWN_SUBMISSION, reason, token, *OPEN),
            )

    def ended(
        self,
        token: str,
        state: State,
        actual: Mapping[str, float] | None,
        error: str | None = None,
    ) -> None:
        """Write down how a job has ended, and settle its cost; the first end counts.

        Args:
            token: Of the job.
            state: Its end.
            actual: What it has used, by unit, nothing if it is empty. What is not among it, or
                None, is not known: then the estimate counts.
            error: Why it failed.
        """
        with self._writing() as db:
            changed = db.execute(
                f"UPDATE jobs SET state = ?, ended = ?, error = ? WHERE token = ? "  # noqa: S608
                f"AND state IN ({_marks(OPEN)})",
                (state, time.time(), error, token, *OPEN),
            ).rowcount
            if actual is not None and (changed or _is_unsettled(db, token, state)):
                _settle(db, token, actual)

    # -- what a later run goes on with ---------------------------------------------------------

    def of_scope(
        self, scope: str, account: str, device: str, keys: Iterable[str]
    ) -> list[tuple[JobEntry, list[str]]]:
        """Jobs that a scope has had and may still use, oldest first, with the keys of programs.

        Only those with a program that has one of `keys`.
        """
        with self._reading() as db:
            found = {
                row["token"]: _entry(row)
                for some in _cut(sorted(set(keys)))
                for row in db.execute(
                    f"SELECT DISTINCT jobs.* FROM programs JOIN jobs USING (token) "  # noqa: S608
                    f"WHERE key IN ({_marks(some)}) AND scope = ? AND account = ? AND device = ? "
                    f"AND state IN ({_marks(OF_USE)})",
                    (*some, scope, account, device, *OF_USE),
                )
            }
            entries = sorted(found.values(), key=lambda entry: (entry.created, entry.part))
            return [(entry, _keys(db, entry.token)) for entry in entries]

    def run_of(self, run: str) -> tuple[str, bytes] | None:
        """Seal and payload of a run of circuits; None if they were not kept."""
        with self._reading() as db:
            row = db.execute("SELECT seal, payload FROM runs WHERE id = ?", (run,)).fetchone()
            return None if row is None else (row["seal"], row["payload"])

    def jobs_of_run(self, run: str) -> list[JobEntry]:
        """All jobs of a run of circuits, in the order of their parts."""
        return self._jobs("run = ? ORDER BY part, created", run)

    # -- what people ask -----------------------------------------------------------------------

    def jobs(
        self,
        *,
        only_open: bool = False,
        dispatch_id: str | None = None,
        device: str | None = None,
        limit: int = 1000,
        offset: int = 0,
    ) -> list[JobEntry]:
        """Jobs, newest first."""
        where, values = _chosen(only_open=only_open, dispatch_id=dispatch_id, device=device)
        window = "ORDER BY created DESC LIMIT ? OFFSET ?"
        return self._jobs(f"{where} {window}", *values, limit, offset)

    def count(
        self, *, only_open: bool = False, dispatch_id: str | None = None, device: str | None = None
    ) -> int:
        """How many jobs there are of those that `jobs` lists."""
        where, values = _chosen(only_open=only_open, dispatch_id=dispatch_id, device=device)
        with self._reading() as db:
            query = f"SELECT count(*) FROM jobs WHERE {where}"  # noqa: S608
            return db.execute(query, values).fetchone()[0]

    def devices(self) -> list[str]:
        """The devices that there are jobs of."""
        with self._reading() as db:
            rows = db.execute("SELECT DISTINCT device FROM jobs ORDER BY device")
            return [row["device"] for row in rows]

    def open_of_account(self, account: str) -> list[JobEntry]:
        """Jobs of an account that may still run."""
        marks = _marks(OPEN)
        return self._jobs(f"account = ? AND state IN ({marks}) ORDER BY created", account, *OPEN)

    def find(self, name: str) -> JobEntry:
        """The job with that id of its provider, or that token, or where one of them begins so.

        Raises:
            JobNotFound: There is none, or more than one.
        """
        found = self._jobs("job_id = ? OR token = ? LIMIT 2", name, name)
        if not found and len(name) >= _SHORTEST:
            beginning = (len(name), name)
            found = self._jobs(
                "substr(token, 1, ?) = ? OR substr(job_id, 1, ?) = ? LIMIT 2",
                *beginning,
                *beginning,
            )
        if len(found) != 1:
            raise JobNotFound(job=name)
        return found[0]

    def charges_of(self, tokens: Iterable[str]) -> dict[str, list[Mapping[str, Any]]]:
        """What each of these jobs has cost: a row for each unit."""
        found: dict[str, list[Mapping[str, Any]]] = {}
        with self._reading() as db:
            for some in _cut(sorted(tokens)):
                rows = db.execute(
                    "SELECT token, unit, estimate, actual FROM charges "  # noqa: S608
                    f"WHERE token IN ({_marks(some)}) ORDER BY token, unit",
                    some,
                )
                for row in rows:
                    found.setdefault(row["token"], []).append(dict(row))
        return found

    def charges(self, since: float = 0.0) -> list[Mapping[str, Any]]:
        """What jobs have cost: a row for each job and unit, oldest first."""
        with self._reading() as db:
            rows = db.execute(
                "SELECT jobs.token, job_id, dispatch_id, provider, device, state, created, prices, "
                "unit, estimate, actual FROM charges JOIN jobs USING (token) WHERE created >= ? "
                "ORDER BY created, part, unit",
                (since,),
            ).fetchall()
            return [dict(row) for row in rows]

    def charges_by_dispatch(self, dispatch_ids: Iterable[str]) -> dict[str, dict[str, float]]:
        """What the jobs of some dispatches have cost, by unit; estimated where that is not known.

        Those without jobs are left out.
        """
        found: dict[str, dict[str, float]] = {}
        with self._reading() as db:
            for some in _cut(sorted(dispatch_ids)):
                rows = db.execute(
                    "SELECT dispatch_id, unit, sum(coalesce(actual, estimate)) FROM charges "  # noqa: S608
                    f"JOIN jobs USING (token) WHERE dispatch_id IN ({_marks(some)}) "
                    "GROUP BY dispatch_id, unit ORDER BY unit",
                    some,
                )
                for dispatch_id, unit, amount in rows:
                    found.setdefault(dispatch_id, {})[unit] = amount
        return found

    def forget_circuits(self, ended_before: float) -> int:
        """Let go of the circuits of runs whose jobs ended long ago; how many runs they were.

        What the jobs were, and what they have cost, stays; their results cannot be read any more.
        """
        with self._writing() as db:
            return db.execute(
                "DELETE FROM runs WHERE id IN (SELECT run FROM jobs GROUP BY run "
                "HAVING count(*) = count(ended) AND max(ended) < ?)",
                (ended_before,),
            ).rowcount

    def spent(self, budget: str) -> dict[str, float]:
        """What was taken out of a budget, reserved or settled, by unit."""
        with self._reading() as db:
            return _spent(db, budget)

    # -- the file ------------------------------------------------------------------------------

    def _jobs(self, where: str, *values: Any) -> list[JobEntry]:
        with self._reading() as db:
            rows = db.execute(f"SELECT * FROM jobs WHERE {where}", values)  # noqa: S608
            return [_entry(row) for row in rows]

    @contextmanager
    def _reading(self) -> Generator[sqlite3.Connection, None, None]:
        with self._open() as db:
            yield db

    @contextmanager
    def _writing(self) -> Generator[sqlite3.Connection, None, None]:
        with self._open() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.rollback()
                raise
            db.commit()

    @contextmanager
    def _open(self) -> Generator[sqlite3.Connection, None, None]:
        try:
            with closing(self._connect()) as db:
                yield db
        except (OSError, sqlite3.Error) as error:
            reason = f"the journal of jobs, {self.path.name}: {error}"
            raise StoreUnavailable(
                path=str(self.path.parent), reason=reason, advice=_ADVICE
            ) from error

    def _connect(self) -> sqlite3.Connection:
        if not self.path.exists():
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            private_file.touch(self.path).close()
            private_file.sync_folder(self.path.parent)
        db = sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level=None)
        try:
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA synchronous = EXTRA")
            if db.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
                _make_tables(db)
        except BaseException:
            db.close()
            raise
        return db


_ADVICE = (
    "Nothing is submitted without it. If it is damaged, put back a copy; without one, move it away "
    "and look at the providers' lists for jobs that still run."
)
#: What an id disproves: somebody may have said that the provider never had the job.
_BELIEVED = (*OPEN, State.REFUSED)
_LATELY = 600.0  #: seconds that a submission may take
_MOST_VALUES = 500
_SHORTEST = 4  #: characters of a token or an id that are enough to name a job


def _chosen(
    *, only_open: bool, dispatch_id: str | None, device: str | None
) -> tuple[str, list[Any]]:
    where, values = ["1"], list[Any]()
    if only_open:
        where.append(f"state IN ({_marks(OPEN)})")
        values += OPEN
    for column, value in (("dispatch_id", dispatch_id), ("device", device)):
        if value is not None:
            where.append(f"{column} = ?")
            values.append(value)
    return " AND ".join(where), values


def _make_tables(db: sqlite3.Connection) -> None:
    db.execute("BEGIN IMMEDIATE")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > _VERSION:
        raise sqlite3.DatabaseError(
            f"it was made by a newer qcov (version {version} of the journal, not {_VERSION})"
        )
    for statement in _SCHEMA.split(";"):
        db.execute(statement)
    db.execute(f"PRAGMA user_version = {_VERSION}")
    db.commit()


def _insert(db: sqlite3.Connection, intent: Intent) -> None:
    db.execute(
        "INSERT INTO jobs (token, run, part, scope, dispatch_id, node_id, provider, device, "
        "account, state, programs, shots, created, prices) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        (
            intent.token, intent.run, intent.part, intent.scope, intent.dispatch_id, intent.node_id,
            intent.provider, intent.device, intent.account, State.SUBMITTING, len(intent.keys),
            intent.shots, time.time(), intent.prices,
        ),
    )  # fmt: skip
    db.executemany(
        "INSERT INTO programs VALUES (?, ?, ?)",
        [(intent.token, number, key) for number, key in enumerate(intent.keys)],
    )
    db.executemany(
        "INSERT INTO charges (token, unit, estimate) VALUES (?, ?, ?)",
        [(intent.token, unit, amount) for unit, amount in intent.estimate.items()],
    )


def _is_unsettled(db: sqlite3.Connection, token: str, state: State) -> bool:
    """Whether a job has ended so, and nobody has said what it has cost."""
    query = (
        "SELECT 1 FROM jobs JOIN charges USING (token) "
        "WHERE token = ? AND state = ? AND actual IS NULL"
    )
    return db.execute(query, (token, state)).fetchone() is not None


def _settle(db: sqlite3.Connection, token: str, actual: Mapping[str, float]) -> None:
    """What is not among the actual amounts counts as estimated; without any, nothing was used."""
    default = "estimate" if actual else "0"
    db.execute(f"UPDATE charges SET actual = {default} WHERE token = ?", (token,))  # noqa: S608
    db.executemany(
        "INSERT INTO charges VALUES (?, ?, 0, ?) "
        "ON CONFLICT (token, unit) DO UPDATE SET actual = excluded.actual",
        [(token, unit, amount) for unit, amount in actual.items()],
    )


def _shortfall(
    db: sqlite3.Connection, budget: str, allowance: Allowance, needs: Mapping[str, float]
) -> Shortfall | None:
    spent = _spent(db, budget)
    for unit, allowed in allowance.items():
        left = allowed - spent.get(unit, 0.0)
        if unit not in needs:
            return Shortfall(budget, unit, float("nan"), left)
        if needs[unit] > left + _ROUNDING * allowed:
            return Shortfall(budget, unit, needs[unit], left)
    return None


_ROUNDING = 1e-12  #: of an allowance: what sums of its parts may differ by


def _spent(db: sqlite3.Connection, budget: str) -> dict[str, float]:
    rows = db.execute(
        "SELECT unit, sum(coalesce(actual, estimate)) FROM charges JOIN budgets USING (token) "
        "WHERE budget = ? GROUP BY unit",
        (budget,),
    )
    return dict(rows.fetchall())


def _count_open(db: sqlite3.Connection, account: str) -> int:
    """How many jobs the provider has, as far as is known; what was asked for lately counts too."""
    query = (
        "SELECT count(*) FROM jobs WHERE account = ? AND (state = ? OR (state = ? AND created > ?))"
    )
    values = (account, State.SUBMITTED, State.SUBMITTING, time.time() - _LATELY)
    return db.execute(query, values).fetchone()[0]


def _cut(values: Sequence[str]) -> list[Sequence[str]]:
    """As many at a time as one statement takes."""
    return [values[at : at + _MOST_VALUES] for at in range(0, len(values), _MOST_VALUES)]


def _keys(db: sqlite3.Connection, token: str) -> list[str]:
    rows = db.execute("SELECT key FROM programs WHERE token = ? ORDER BY number", (token,))
    return [row["key"] for row in rows]


def _entry(row: sqlite3.Row) -> JobEntry:
    values: dict[str, Any] = {**row, "state": State(row["state"])}
    return JobEntry(**values)


def _marks(values: Iterable[object]) -> str:
    return ", ".join("?" for _ in values)
