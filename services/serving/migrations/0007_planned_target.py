"""Versions keep the deploy target that their spec asks for; empty for those made before."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    planned = sa.Column("planned_target", sa.Text, nullable=False, server_default="")
    op.add_column("versions", planned)
