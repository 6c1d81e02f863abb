"""Versions say how engines hold them; deployments have canaries, a way back and a history."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def _arms(prefix: str) -> list[sa.Column[object]]:
    return [
        sa.Column(f"{prefix}model_version", sa.String(200), nullable=False),
        sa.Column(f"{prefix}canary_model_version", sa.String(200), nullable=False),
        sa.Column(f"{prefix}canary_percent", sa.Float, nullable=False),
    ]


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    form = sa.Column("form", sa.String(16), nullable=False, server_default="ADAPTER")
    op.add_column("versions", form)
    op.execute("UPDATE versions SET form = 'WHOLE' WHERE merged_sha256 <> ''")
    op.drop_table("deployments")  # Nothing is released yet: no row is lost that somebody has.
    op.create_table(
        "deployments",
        sa.Column("project", sa.String(64), primary_key=True),
        sa.Column("alias", sa.String(64), primary_key=True),
        sa.Column("target", sa.String(16), nullable=False),
        *_arms(""),
        *_arms("serving_"),
        sa.Column("previous_model_version", sa.String(200), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("state_reason", sa.Text, nullable=False),
        sa.Column("external_name", sa.String(400), nullable=False),
        sa.Column("etag", sa.String(32), nullable=False),
        sa.Column("create_time", moment, nullable=False),
        sa.Column("decide_time", moment, nullable=False),
        sa.Column("update_time", moment, nullable=False),
    )
    op.create_table(
        "deployment_changes",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("alias", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("author", sa.String(200), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("override_reason", sa.Text, nullable=False),
        *_arms(""),
        sa.Column("create_time", moment, nullable=False),
    )
    op.create_index("ix_deployment_changes_alias", "deployment_changes", ["project", "alias", "id"])
