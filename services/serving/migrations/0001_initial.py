"""First schema of serving."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "requests",
        sa.Column("request_id", sa.String(64), primary_key=True),
        sa.Column("body_sha256", sa.String(64), nullable=False),
        sa.Column("answer", sa.LargeBinary, nullable=False),
        sa.Column("create_time", moment, nullable=False),
    )
    op.create_table(
        "outbox",
        sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("event_id", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(400), nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("create_time", moment, nullable=False),
        sa.Column("publish_time", moment, nullable=True),
        sa.UniqueConstraint("event_id", name="uq_outbox_event_id"),
    )
    op.create_index("ix_outbox_publish_time", "outbox", ["publish_time"])
    op.create_table(
        "inbox",
        sa.Column("consumer", sa.String(64), primary_key=True),
        sa.Column("event_id", sa.String(64), primary_key=True),
        sa.Column("create_time", moment, nullable=False),
    )
    op.create_table(
        "versions",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("model", sa.String(64), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("state_reason", sa.Text, nullable=False),
        sa.Column("job", sa.String(200), nullable=False),
        sa.Column("spec", sa.String(200), nullable=False),
        sa.Column("spec_hash", sa.String(64), nullable=False),
        sa.Column("base_model", sa.String(200), nullable=False),
        sa.Column("base_model_revision", sa.String(200), nullable=False),
        sa.Column("adapter_sha256", sa.String(64), nullable=False),
        sa.Column("parity_tolerance", sa.Float, nullable=False),
        sa.Column("report", sa.LargeBinary, nullable=False),
        sa.Column("parity", sa.LargeBinary, nullable=True),
        sa.Column("create_time", moment, nullable=False),
        sa.Column("update_time", moment, nullable=False),
        sa.UniqueConstraint("job", name="uq_versions_job"),
        sa.UniqueConstraint("project", "model", "number", name="uq_versions_project"),
    )
    op.create_index("ix_versions_state", "versions", ["state"])
    op.create_table(
        "deployments",
        sa.Column("project", sa.String(64), primary_key=True),
        sa.Column("alias", sa.String(64), primary_key=True),
        sa.Column("model_version", sa.String(200), nullable=False),
        sa.Column("adapter_sha256", sa.String(64), nullable=False),
        sa.Column("target", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("etag", sa.String(32), nullable=False),
        sa.Column("create_time", moment, nullable=False),
        sa.Column("update_time", moment, nullable=False),
    )
