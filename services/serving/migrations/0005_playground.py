"""What was asked and answered in the playground, and what people think of it."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "exchanges",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("prompt", sa.LargeBinary, nullable=False),
        sa.Column("answers", sa.LargeBinary, nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("answer_index", sa.Integer, nullable=False),
        sa.Column("corrected_answer", sa.Text, nullable=False),
        sa.Column("author", sa.String(200), nullable=False),
        sa.Column("preference_create_time", moment, nullable=True),
        sa.Column("create_time", moment, nullable=False),
    )
    op.create_index("ix_exchanges_project", "exchanges", ["project", "id"])
    op.create_index("ix_exchanges_verdict", "exchanges", ["project", "verdict", "id"])
