"""What became of requests is kept by version, until the next decision about their deployment."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "arm_figures",
        sa.Column("project", sa.String(64), primary_key=True),
        sa.Column("alias", sa.String(64), primary_key=True),
        sa.Column("model_version", sa.String(200), primary_key=True),
        sa.Column("decision", sa.String(32), nullable=False),
        sa.Column("request_count", sa.BigInteger, nullable=False),
        sa.Column("error_count", sa.BigInteger, nullable=False),
        sa.Column("first_token", sa.LargeBinary, nullable=False),
        sa.Column("total", sa.LargeBinary, nullable=False),
    )
