"""What was known when a revision was made, so that going back to it goes back in the talk too."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    brief = sa.Column("brief", sa.Text, nullable=False, server_default="")
    op.add_column("spec_revisions", brief)
