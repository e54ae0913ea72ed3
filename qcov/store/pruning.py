"""What of a store is not needed any more: old dispatches, and payloads that nobody refers to."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa

from qcov.errors import DispatchNotFound, IntegrityError
from qcov.store.asking import in_parts
from qcov.store.changes import TERMINAL, Changes
from qcov.store.schema import blobs, commits, dispatches, memo, nodes, triggers
from qcov.store.store import Store
from qcov.transport import address

_DIGEST = re.compile(r"[0-9a-f]{64}")
_IN_BYTES = re.compile(_DIGEST.pattern.encode())
_AT_ONCE = 500  # digests in one question
_REST = 0.001  # seconds between two, in which others of this process may run
#: Columns of dispatches that name a blob, and those of other tables with what names a dispatch.
_OWN = (dispatches.c.manifest, dispatches.c.result)
_OTHERS = {nodes.c.output: nodes.c.dispatch_id, triggers.c.object: triggers.c.dispatch_id}
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


def named_by(store: Store, dispatch_ids: Sequence[str]) -> set[str]:
    """The payloads that some dispatches refer to, with their nodes and triggers.

    What a damaged graph refers to is left out.
    """
    found: set[str] = set()
    for dispatch_id in dispatch_ids:
        for row in store.rows(sa.select(*_OWN).where(dispatches.c.id == dispatch_id)):
            found.update(digest for digest in row.values() if digest is not None)
        with contextlib.suppress(IntegrityError, DispatchNotFound, OSError):
            found.update(digests_in(store.manifest(dispatch_id)))
        for column, owner in _OTHERS.items():
            rows = store.rows(sa.select(column.label("digest")).where(owner == dispatch_id))
            found.update(row["digest"] for row in rows if row["digest"] is not None)
    return found


def still_named(store: Store, digests: set[str]) -> set[str]:
    """Those of the payloads that a dispatch, node, trigger or kept value refers to.

    Raises:
        IntegrityError: A graph cannot be read, which may refer to any of them.
    """
    named: set[str] = set()
    for some in in_parts(digests, _AT_ONCE):
        for column in (*_OWN, *_OTHERS, memo.c.output):
            rows = store.rows(sa.select(column.label("digest")).where(column.in_(some)).distinct())
            named.update(row["digest"] for row in rows)
    left = digests - named
    if left:  # graphs are the most to read
        named |= left.intersection(_in_graphs(store))
    return named


def _in_graphs(store: Store) -> Iterator[str]:
    """All that has the form of a digest in the graphs of all dispatches; equal ones are one."""
    rows = store.rows(sa.select(dispatches.c.manifest).distinct())
    for some in in_parts((row["manifest"] for row in rows), _AT_ONCE):
        inline = dict(store.inline_blobs(some))
        for digest in some:
            data = inline.get(digest) or store.blob(digest)
            if address(data) != digest:
                raise IntegrityError(blob=digest, reason="its content does not match its digest")
            yield from (found.decode() for found in _IN_BYTES.findall(data))
        time.sleep(_REST)


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


def sizes_of(store: Store, digests: Set[str]) -> list[tuple[str, int]]:
    """The payloads that are there, with their sizes in bytes."""
    found: list[tuple[str, int]] = []
    for some in in_parts(digests, _AT_ONCE):
        rows = store.rows(sa.select(blobs.c.digest, blobs.c.size).where(blobs.c.digest.in_(some)))
        found += [(row["digest"], row["size"]) for row in rows]
    return found


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
