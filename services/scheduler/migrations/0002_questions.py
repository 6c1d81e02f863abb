"""What a run asks before it goes on, and which reasons a person has waived."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("question", sa.LargeBinary))
    op.add_column("jobs", sa.Column("waived_reasons", sa.JSON, nullable=False, server_default="[]"))
