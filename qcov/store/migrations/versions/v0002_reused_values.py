"""Values that are taken over from earlier dispatches, or kept for equal electrons."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
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
