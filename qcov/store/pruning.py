"""What of a store is not needed any more: old dispatches, and payloads that nobody refers to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import sqlalchemy as sa

from qcov.errors import DispatchNotFound, IntegrityError
from qcov.store.changes import TERMINAL, Changes
from qcov.store.schema import blobs, commits, dispatches, memo, nodes, triggers

if TYPE_CHECKING:
    from qcov.store.store import Store

_DIGEST = re.compile(r"[0-9a-f]{64}")
#: Columns of changes that name a blob.
_NAMING = ("digest", "output", "new_output", "new_result", "object", "manifest")


def old_dispatches(
    store: Store, ended_before: float, statuses: Sequence[str], needed: Set[str]
) -> list[list[str]]:
    """Dispatches that ended before then, each with its sublattices; the oldest first.

    Those that a trigger may run again are not among them, nor are those with one that is `needed`.
    """
    watched = sa.select(triggers.c.dispatch_id).where(triggers.c.status == "ACTIVE")
    roots = store.rows(
        sa.select(dispatches.c.id)
        .where(
            dispatches.c.parent_id.is_(None),
            dispatches.c.status.in_([status for status in statuses if status in TERMINAL]),
            dispatches.c.ended < ended_before,
            dispatches.c.id.not_in(watched),
        )
        .order_by(dispatches.c.ended)
    )
    families = [[*family_of(store, row["id"])] for row in roots]
    return [family for family in families if needed.isdisjoint(family)]


def family_of(store: Store, root: str) -> dict[str, str]:
    """The statuses of a dispatch and its sublattices by their ids, the dispatch last."""
    chosen = sa.select(dispatches.c.id, dispatches.c.status).where(dispatches.c.root_id == root)
    statuses = {row["id"]: row["status"] for row in store.rows(chosen)}
    own = statuses.pop(root, None)
    return statuses if own is None else {**statuses, root: own}


def unreferenced(store: Store) -> tuple[list[tuple[str, int]], list[str]]:
    """Payloads that no dispatch, node or trigger refers to, with their sizes in bytes.

    And the dispatches whose graphs cannot be read. While there is one, there is no such payload: it
    may refer to any of them, for equal values are stored once.
    """
    damaged: list[str] = []
    kept = set(_referenced(store, damaged))
    if damaged:
        return [], damaged
    rows = store.rows(sa.select(blobs.c.digest, blobs.c.size))
    return [(row["digest"], row["size"]) for row in rows if row["digest"] not in kept], []


def last_commits(store: Store) -> list[str]:
    """What tells, where engines share a database, whether any has written something since."""
    return [row["token"] for row in store.rows(sa.select(commits.c.token))]


def alone(store: Store) -> Changes:
    """With this in a transaction, no other engine writes until its end."""
    return {} if store.leases is None else {"alone": [{}]}


def removal(store: Store, digests: Iterable[str], seen: Sequence[str]) -> Changes:
    """What removes payloads, unless another engine may have taken one into use.

    Args:
        store: Where they are.
        digests: Those that nothing refers to.
        seen: The `last_commits` from before that was looked for.
    """
    own: dict[str, Any] = {}
    if store.leases is not None:
        own = {"of_owner": store.leases.owner, "of_seen": seen}
    return {**alone(store), "blob_pruned": [{"of_digest": digest, **own} for digest in digests]}


def remaining(store: Store, digests: Sequence[str]) -> set[str]:
    """Those of the payloads that are there."""
    found = store.rows(sa.select(blobs.c.digest).where(blobs.c.digest.in_(digests)))
    return {row["digest"] for row in found}


def stray_files(store: Store, written_before: float) -> list[Path]:
    """Files of payloads, written before then, that have no row: their writer was killed.

    Only those in the data folder, which is one store's: a place that was chosen may have others'.
    """
    folder = store.folder / "blobs"
    if store.payloads.location != str(folder):
        return []
    old = [path for path in folder.glob("??/*") if _is_older(path, written_before)]
    if not old:
        return []
    known = {row["digest"] for row in store.rows(sa.select(blobs.c.digest))}
    return [path for path in old if path.name not in known]


def _is_older(path: Path, moment: float) -> bool:
    try:
        return path.stat().st_mtime < moment
    except FileNotFoundError:  # a draft, which has just got its name
        return False


def _referenced(store: Store, damaged: list[str]) -> Iterator[str]:
    for row in store.rows(sa.select(dispatches.c.id, dispatches.c.manifest, dispatches.c.result)):
        yield row["manifest"]
        if row["result"] is not None:
            yield row["result"]
        try:
            yield from digests_in(store.manifest(row["id"]))
        except DispatchNotFound:  # it has gone meanwhile
            continue
        except (IntegrityError, OSError):
            damaged.append(row["id"])
    for column in (nodes.c.output, triggers.c.object, memo.c.output):
        found = store.rows(sa.select(column.label("digest")).where(column.is_not(None)).distinct())
        yield from (row["digest"] for row in found)


def digests_in(value: object) -> Iterator[str]:
    """All that has the form of a digest, in JSON."""
    if isinstance(value, str):
        if _DIGEST.fullmatch(value):
            yield value
    elif isinstance(value, Mapping):
        for name, item in cast("Mapping[str, object]", value).items():
            yield from digests_in(name)
            yield from digests_in(item)
    elif isinstance(value, (list, tuple)):
        for item in cast("Iterable[object]", value):
            yield from digests_in(item)


def named_in(changes: Changes) -> Iterator[str]:
    """The payloads that changes refer to."""
    for rows in changes.values():
        for row in rows:
            for column in _NAMING:
                digest: Any = row.get(column)
                if digest is not None:
                    yield digest
