"""Leases and commits, for engines that share a database; which key has sealed what is in it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("dispatches", sa.Column("owner", sa.String(length=80), nullable=True))
    op.add_column("dispatches", sa.Column("epoch", sa.Integer(), nullable=True))
    op.add_column("dispatches", sa.Column("lease_ends", sa.Float(), nullable=True))
    op.add_column("dispatches", sa.Column("cancel_requested", sa.Text(), nullable=True))
    op.add_column("triggers", sa.Column("owner", sa.String(length=80), nullable=True))
    op.add_column("triggers", sa.Column("lease_ends", sa.Float(), nullable=True))
    if op.get_bind().dialect.name == "postgresql":  # SQLite's integers are all of 64 bits
        op.alter_column("blobs", "size", type_=sa.BigInteger())
        op.alter_column("circuits", "number", type_=sa.BigInteger())
        op.execute("ALTER SEQUENCE circuits_number_seq AS bigint")
    op.create_table(
        "commits",
        sa.Column("owner", sa.String(length=80), nullable=False),
        sa.Column("token", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("owner"),
    )
    op.create_table(
        "sealing",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sign", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
