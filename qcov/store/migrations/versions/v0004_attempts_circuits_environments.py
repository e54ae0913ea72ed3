"""Attempts of electrons; what lists of circuits are sorted by; what dispatches run in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

from qcov.wire import unpack

revision = "0004"
down_revision = "0003"

_AT_A_TIME = 1000


def upgrade() -> None:
    op.create_table(
        "attempts",
        sa.Column("dispatch_id", sa.String(length=36), nullable=False),
        sa.Column("node_id", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("started", sa.Float(), nullable=True),
        sa.Column("ended", sa.Float(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["dispatch_id"], ["dispatches.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("dispatch_id", "node_id", "attempt"),
    )
    op.add_column(
        "circuits",
        sa.Column("status", sa.String(length=16), nullable=False, server_default="COMPLETED"),
    )
    op.add_column("dispatches", sa.Column("environment", sa.String(length=64), nullable=True))
    op.create_table(
        "environments",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("described", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
    )
    connection = op.get_bind()
    connection.execute(
        sa.text("UPDATE circuits SET execution_time = 0 WHERE execution_time IS NULL")
    )
    for failed in _failed(connection):
        statement = sa.text("UPDATE circuits SET status = 'FAILED' WHERE number = :number")
        connection.execute(statement, failed)
    op.drop_index("circuits_by_node", "circuits")
    op.create_index("circuits_by_node", "circuits", ["dispatch_id", "node_id", "executor"])
    op.create_index("circuits_by_number", "circuits", ["dispatch_id", "number"])
    op.create_index(
        "circuits_by_executor",
        "circuits",
        ["dispatch_id", "executor", "device", "number", "execution_time"],
    )
    failures = sa.text("status = 'FAILED'")
    op.create_index(
        "circuits_failed", "circuits", ["dispatch_id", "number", "node_id", "executor"],
        sqlite_where=failures, postgresql_where=failures,
    )  # fmt: skip


def _failed(connection: sa.Connection) -> Iterator[Sequence[dict[str, Any]]]:
    """The numbers of the circuits whose records have an error, some at a time."""
    window = sa.text(
        "SELECT number, record FROM circuits WHERE number > :after ORDER BY number LIMIT :most"
    )
    after = -1
    while rows := connection.execute(window, {"after": after, "most": _AT_A_TIME}).all():
        after = rows[-1].number
        failed = [{"number": row.number} for row in rows if unpack(bytes(row.record)).get("error")]
        if failed:
            yield failed
