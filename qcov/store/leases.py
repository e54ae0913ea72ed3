"""Who runs which dispatch, where several engines share one database.

An engine has a dispatch for the length of a lease, and renews it while it lives. When a lease has
ended another engine may take the dispatch over, whose epoch grows with that. Each transaction that
changes a dispatch first locks its row and sees that owner and epoch are still those that the
change was made under: what an engine writes that was paused for too long changes nothing.

All times are the database's: engines need not agree about the time of day.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import sqlalchemy as sa

from qcov.errors import EngineStopped
from qcov.store.changes import TERMINAL, Changes, database_time, dispatches_in
from qcov.store.schema import dispatches, nodes, triggers

Row = dict[str, Any]

Transaction = Callable[[], AbstractContextManager[sa.Connection]]

#: What a change was made under: the epoch of each dispatch that it is about, if it is known.
Epochs = Mapping[str, int | None]
Held = tuple[str, int | None]

_HELD = "NEW_OBJECT"  # only stored: nobody runs it
_RUNNING = ("PENDING", "RUNNING", "CANCELING")
_UNENDED = (_HELD, *_RUNNING)
_ALL_OF_IT = "null"  # JSON: what `cancel_requested` is where no nodes are named
_JUST = 5.0  # seconds; clocks of engines may differ by less
_AT_ONCE = 100  # dispatches that are taken over at a time: they are read before they go on


class Leases:
    """The dispatches of one engine.

    Args:
        transaction: Begins one in the database.
        owner: Who it is: the same for every engine of one data folder, of which one lives.
        seconds: The length of a lease.
    """

    def __init__(self, transaction: Transaction, owner: str, seconds: float) -> None:
        self.owner, self.seconds = owner, seconds
        self._transaction = transaction
        self._epochs: dict[str, int] = {}
        self._lock = threading.Lock()  # what is given back at the end must not be renewed after it
        self._over = False

    # -- writing

    def stamp(self, changes: Changes) -> Changes:
        """The same changes, with new dispatches and triggers as this engine's."""
        stamped = dict(changes)
        for row in changes.get("dispatch", ()):
            if row["status"] != _HELD:
                self._epochs[row["id"]] = 1
        for name in ("dispatch", "trigger"):
            if name in changes:
                stamped[name] = [{**row, **self._stamp(row)} for row in changes[name]]
        if "trigger_ended" in changes:
            ended = changes["trigger_ended"]
            stamped["trigger_ended"] = [{**row, "of_owner": self.owner} for row in ended]
        return stamped

    def _stamp(self, row: Mapping[str, Any]) -> Row:
        held = row["status"] == _HELD
        own = {"owner": None if held else self.owner, "of_lease": None if held else self.seconds}
        return own | {"epoch": 1} if "root_id" in row else own

    def epochs(self, changes: Changes) -> Epochs:
        """Under which epochs changes are made."""
        return {each: self._epochs.get(each) for each in dispatches_in(changes)}

    def forget(self, dispatch_id: str) -> None:
        """It has ended, or is another engine's."""
        self._epochs.pop(dispatch_id, None)

    # -- keeping, taking, giving back

    def renew(self) -> set[str]:
        """Renew the leases of what this engine runs; return the dispatches that it has lost.

        A dispatch that is its own and that it knows nothing of (it was told that its commit had
        failed) is taken once its lease has ended, like one that nobody runs.
        """
        known = dict(self._epochs)
        chosen = (dispatches.c.owner == self.owner, _one_of(dispatches.c.id, known))
        watched = (triggers.c.owner == self.owner, triggers.c.status == "ACTIVE")
        with self._keeping() as connection:  # two of them: a lease must not age in the first
            connection.execute(sa.update(triggers).where(*watched).values(lease_ends=self._until()))
        with self._keeping() as connection:
            self._lock_rows(connection, *chosen)
            kept = connection.execute(
                sa.update(dispatches)
                .where(*chosen, _unended())
                .values(lease_ends=self._until())
                .returning(dispatches.c.id, dispatches.c.epoch)
            ).all()
        epochs = {row.id: row.epoch for row in kept}
        return self._lost(each for each, epoch in known.items() if epochs.get(each) != epoch)

    def _lost(self, missed: Iterable[str]) -> set[str]:
        """Those of the dispatches that another engine has: others have just ended, or begin."""
        missed = set(missed)
        if not missed:
            return missed
        with self._transaction() as connection:
            rows = connection.execute(
                sa.select(dispatches.c.id, dispatches.c.owner, dispatches.c.epoch).where(
                    dispatches.c.id.in_(missed)
                )
            ).all()
        return {
            row.id
            for row in rows
            if (row.owner, row.epoch) != (self.owner, self._epochs.get(row.id, row.epoch))
        }

    def lapsed(self, *, own: bool = False, but: Collection[str] = ()) -> list[Row]:
        """What nobody runs any more: some of it, roots only.

        Args:
            own: What an earlier engine of this data folder has left, too, whatever its lease.
            but: Not these, unless they are to end.

        Returns:
            Rows with `root_id`; `waits`, for how many seconds nobody has run it; `owner`, the last
            one; `error`, what is known to be wrong; and `cancel`, whether all of it is to end.
        """
        columns = (
            dispatches.c.root_id,
            sa.func.min(database_time() - self._lease_ends(dispatches)).label("waits"),
            sa.func.min(dispatches.c.owner).label("owner"),
            sa.func.min(dispatches.c.error).label("error"),
            sa.func.bool_or(_is_to_end()).label("cancel"),
        )
        query = sa.select(*columns).where(
            self._lapsed(own=own),
            # what this engine runs it must not take from itself (see `_unlocked` too)
            sa.not_(_one_of(dispatches.c.root_id, self._epochs)),
            sa.not_(_one_of(dispatches.c.root_id, but)) | _is_to_end(),
        )
        with self._transaction() as connection:
            found = connection.execute(query.group_by(dispatches.c.root_id).limit(_AT_ONCE))
            return [dict(row) for row in found.mappings()]

    def take(self, roots: Collection[str], *, own: bool = False) -> list[Row]:
        """Take over what nobody runs any more, a dispatch with all its sublattices at a time.

        Args:
            roots: Those that `lapsed` has found.
            own: As there.
        """
        with self._keeping() as connection:
            free = self._unlocked(connection, roots, self._lapsed(own=own))
            taken = self._take(connection, _families(free)) if free else []
        return self._known(taken)

    def _unlocked(
        self, connection: sa.Connection, roots: Collection[str], lapsed: sa.ColumnElement[bool]
    ) -> set[str]:
        """Lock families as a whole; those that nobody else has locked, and that are still free.

        Nobody is waited for. To add a sublattice an engine must lock the root (see `Fence`): a
        family whose root is locked has no more members than are seen then.
        """
        of = _families(roots)
        locking = sa.select(dispatches.c.id).where(of)
        locked = set(connection.scalars(locking.with_for_update(skip_locked=True, key_share=True)))
        columns = (dispatches.c.id, dispatches.c.root_id, lapsed.label("lapsed"))
        seen = connection.execute(sa.select(*columns).where(of)).all()
        busy = {row.root_id for row in seen if row.id not in locked}
        free = {row.root_id for row in seen if row.lapsed} - busy
        return {root for root in free if root not in self._epochs}  # or begun here meanwhile

    def take_held(self, dispatch_id: str) -> bool:
        """Take a dispatch that waits to be started; False if somebody has been faster."""
        if dispatch_id in self._epochs:
            return False
        chosen = (dispatches.c.id == dispatch_id, dispatches.c.status == _HELD)
        with self._keeping() as connection:
            taken = self._take(connection, *chosen, self._free(dispatches, own=True))
        return bool(self._known(taken))

    def _take(self, connection: sa.Connection, *chosen: sa.ColumnElement[bool]) -> list[Row]:
        epoch = sa.func.coalesce(dispatches.c.epoch, 0) + 1
        rows = connection.execute(
            sa.update(dispatches)
            .where(*chosen)
            .values(owner=self.owner, epoch=epoch, lease_ends=self._until(), error=_as_ended())
            .returning(dispatches)
        )
        taken = [dict(row) for row in rows.mappings() if row["status"] not in TERMINAL]
        return sorted(taken, key=lambda row: row["created"])

    def _known(self, taken: list[Row]) -> list[Row]:
        """Renew them from now on; if the commit's answer was lost they lapse, and are free."""
        self._epochs |= {row["id"]: row["epoch"] for row in taken}
        return taken

    def take_triggers(self, *, own: bool = False, but: Collection[str] = ()) -> list[Row]:
        """Take over triggers that nobody watches any more, but not these; return their rows."""
        free = sa.select(triggers.c.id).where(
            triggers.c.status == "ACTIVE",
            self._free(triggers, own=own),
            sa.not_(_one_of(triggers.c.id, but)),
        )
        with self._keeping() as connection:
            taken = connection.execute(
                sa.update(triggers)
                .where(triggers.c.id.in_(free.with_for_update(skip_locked=True)))
                .values(owner=self.owner, lease_ends=self._until())
                .returning(triggers)
            )
            return sorted((dict(row) for row in taken.mappings()), key=lambda row: row["created"])

    @contextlib.contextmanager
    def _keeping(self) -> Generator[sa.Connection, None, None]:
        """A transaction that makes something this engine's, unless it has given all back."""
        with self._lock:
            if self._over:
                raise EngineStopped(address=self.owner)
            with self._transaction() as connection:
                yield connection

    def own_triggers(self) -> set[str]:
        """The triggers that this engine is to watch."""
        with self._transaction() as connection:
            own = sa.select(triggers.c.id).where(
                triggers.c.owner == self.owner, triggers.c.status == "ACTIVE"
            )
            return set(connection.scalars(own))

    def give_back(self, roots: Collection[str] | None = None) -> None:
        """End the leases of these dispatches with their sublattices; others may have them at once.

        Args:
            roots: Which ones; without them all, and nothing is taken or renewed any more.
        """
        chosen = [dispatches.c.owner == self.owner, _unended()]
        if roots is not None:
            chosen.append(_one_of(dispatches.c.root_id, roots))
        with self._lock:
            self._over = self._over or roots is None
            self._end(chosen)

    def _end(self, chosen: Sequence[sa.ColumnElement[bool]]) -> None:
        with self._transaction() as connection:
            self._lock_rows(connection, *chosen)
            nobodys = {"owner": None, "lease_ends": database_time()}
            connection.execute(sa.update(dispatches).where(*chosen).values(nobodys))
            if self._over:
                mine = triggers.c.owner == self.owner
                connection.execute(sa.update(triggers).where(mine).values(lease_ends=0.0))

    def note(self, root: str, reason: str) -> None:
        """Write down why a dispatch that nobody has does not go on."""
        with self._transaction() as connection:
            connection.execute(
                sa.update(dispatches)
                .where(dispatches.c.id == root, self._lapsed(own=False))
                .values(error=reason)
            )

    def others_run(self) -> bool:
        """True if other engines run dispatches."""
        theirs = sa.select(dispatches.c.id).where(_unended(), dispatches.c.owner != self.owner)
        with self._transaction() as connection:
            return connection.scalar(theirs.limit(1)) is not None

    def elsewhere(self, also: Collection[str]) -> list[Row]:
        """Dispatches that other engines run, or have just taken in; and those of these ids."""
        others = dispatches.c.owner.is_distinct_from(self.owner)
        # not `database_time`, which is another one for each row: no index would help
        now = sa.cast(sa.extract("epoch", sa.func.now()), sa.Float)
        young = dispatches.c.created > now - _JUST
        chosen = (others & (_unended() | young)) | _one_of(dispatches.c.id, list(also))
        columns = (dispatches.c.id, dispatches.c.root_id, dispatches.c.status)
        with self._transaction() as connection:
            found = connection.execute(sa.select(*columns).where(chosen)).mappings()
            return [dict(row) for row in found]

    def nodes_since(self, dispatch_id: str, moment: float) -> list[Row]:
        """The nodes of a dispatch that have begun or ended since, by its engine's clock."""
        columns = (nodes.c.node_id, nodes.c.status, nodes.c.started, nodes.c.ended)
        changed = (nodes.c.started > moment) | (nodes.c.ended > moment)
        query = sa.select(*columns).where(nodes.c.dispatch_id == dispatch_id, changed)
        with self._transaction() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    # -- asking the owner

    def ask_to_cancel(self, dispatch_id: str, node_ids: list[int] | None) -> bool:
        """Ask whoever runs a dispatch to cancel it; False if it has not heeded another one yet."""
        with self._transaction() as connection:
            asked = connection.execute(
                sa.update(dispatches)
                .where(dispatches.c.id == dispatch_id, dispatches.c.cancel_requested.is_(None))
                .values(cancel_requested=json.dumps(node_ids))
            )
        return asked.rowcount == 1

    def to_cancel(self) -> dict[str, str]:
        """What this engine was asked to cancel: nodes of dispatches as JSON, null for all."""
        with self._transaction() as connection:
            rows = connection.execute(
                sa.select(dispatches.c.id, dispatches.c.cancel_requested).where(
                    dispatches.c.owner == self.owner,
                    dispatches.c.cancel_requested.is_not(None),
                    _unended(),
                )
            ).all()
        return {row.id: row.cancel_requested for row in rows}

    def _lock_rows(self, connection: sa.Connection, *chosen: sa.ColumnElement[bool]) -> None:
        """Always in the same order: then nobody waits for somebody who waits for him."""
        connection.execute(
            sa.select(dispatches.c.id)
            .where(*chosen, _unended())
            .order_by(dispatches.c.id)
            .with_for_update(key_share=True)
        )

    def _free(self, table: sa.Table, *, own: bool) -> sa.ColumnElement[bool]:
        """True for what nobody has, or its owner no more; with `own`, for what is ours as well."""
        lapsed = self._lease_ends(table) < database_time()
        return lapsed | (table.c.owner == self.owner) if own else lapsed

    def _lapsed(self, *, own: bool) -> sa.ColumnElement[bool]:
        running = dispatches.c.status.in_(_RUNNING)
        return sa.and_(running, self._free(dispatches, own=own))

    @staticmethod
    def _lease_ends(table: sa.Table) -> sa.ColumnElement[float]:
        return sa.func.coalesce(table.c.lease_ends, 0.0)

    def _until(self) -> sa.ColumnElement[float]:
        return database_time() + self.seconds


class Fence:
    """Keeps out, within a writer's transaction, what is about dispatches of other engines.

    Args:
        dialect: The database's.
        owner: Whose dispatches may be changed.
    """

    def __init__(self, dialect: sa.Dialect, owner: str) -> None:
        query = (
            sa.select(dispatches.c.id, dispatches.c.epoch)
            .where(
                dispatches.c.id == sa.func.any(sa.bindparam("ids", type_=sa.ARRAY(sa.Text))),
                dispatches.c.owner == sa.bindparam("owner"),
            )
            .order_by(dispatches.c.id)
            .with_for_update(key_share=True)
        )
        self._query = str(query.compile(dialect=dialect))
        self._owner = owner

    def lost(self, cursor: Any, made: Iterable[Epochs], new: Collection[str]) -> set[Held]:
        """Lock the dispatches that changes are about; return what the changes wrongly rely on.

        Args:
            cursor: The driver's, in the transaction.
            made: What the changes were made under.
            new: Dispatches that the transaction itself inserts.
        """
        wanted = {held for epochs in made for held in epochs.items() if held[0] not in new}
        if not wanted:
            return set()
        asked = sorted({dispatch_id for dispatch_id, _ in wanted})
        cursor.execute(self._query, {"ids": asked, "owner": self._owner})
        found: dict[str, int] = dict(cursor.fetchall())
        return {
            (dispatch_id, epoch)
            for dispatch_id, epoch in wanted
            if dispatch_id not in found or epoch not in (None, found[dispatch_id])
        }


def _one_of(column: sa.Column[str], ids: Iterable[str]) -> sa.ColumnElement[bool]:
    """One parameter, however many they are."""
    return column == sa.func.any(sa.literal(list(ids), sa.ARRAY(sa.Text)))


def _families(roots: Collection[str]) -> sa.ColumnElement[bool]:
    """Roots, ended or not, and what is below them and has not ended."""
    below = sa.and_(_unended(), _one_of(dispatches.c.root_id, roots))
    return below | _one_of(dispatches.c.id, roots)


def _unended() -> sa.ColumnElement[bool]:
    """As a list of states: an index finds them, however many dispatches have ended."""
    return dispatches.c.status.in_(_UNENDED)


def _as_ended() -> sa.ColumnElement[str | None]:
    """The error of what has ended; what was known to be wrong before is so no more."""
    return sa.case((_unended(), sa.null()), else_=dispatches.c.error)


def _is_root() -> sa.ColumnElement[bool]:
    return dispatches.c.id == dispatches.c.root_id


def _is_to_end() -> sa.ColumnElement[bool]:
    asked = sa.func.coalesce(dispatches.c.cancel_requested, "") == _ALL_OF_IT
    return sa.and_(_is_root(), asked)
