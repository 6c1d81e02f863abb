"""What each stage of a job has made, and where its attempts begin."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    fence = sa.Column("stage_fence", sa.BigInteger, nullable=False, server_default="0")
    op.add_column("jobs", fence)
    results = sa.Column("stage_results", sa.JSON, nullable=False, server_default="[]")
    op.add_column("jobs", results)
