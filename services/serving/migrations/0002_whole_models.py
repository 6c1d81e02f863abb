"""Versions whose weights all learnt have no adapter but a whole model."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    merged = sa.Column("merged_sha256", sa.String(64), nullable=False, server_default="")
    op.add_column("versions", merged)
