"""Triggers with the dispatches that they have started; values that are taken over or kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "triggers",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("dispatch_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("object", sa.String(length=64), nullable=False),
        sa.Column("object_seal", sa.String(length=64), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("triggers_by_dispatch", "triggers", ["dispatch_id"])
    op.create_table(
        "trigger_dispatches",
        sa.Column("trigger_id", sa.String(length=36), nullable=False),
        sa.Column("dispatch_id", sa.String(length=36), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("trigger_id", "dispatch_id"),
    )
    op.add_column("nodes", sa.Column("output_key", sa.String(length=64), nullable=True))
    op.add_column("nodes", sa.Column("reused_from", sa.String(length=36), nullable=True))
    op.create_table(
        "memo",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("output", sa.String(length=64), nullable=False),
        sa.Column("output_seal", sa.String(length=64), nullable=False),
        sa.Column("output_key", sa.String(length=64), nullable=True),
        sa.Column("value_repr", sa.Text(), nullable=True),
        sa.Column("dispatch_id", sa.String(length=36), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
