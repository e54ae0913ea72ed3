"""Which dispatch has computed a node's output that was taken over."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("nodes", sa.Column("reused_from", sa.String(length=36), nullable=True))
