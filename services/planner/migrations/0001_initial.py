"""Conversations, specs, datasets, answers to repeated requests and the outbox."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "requests",
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("body_sha256", sa.String(64), nullable=False),
        sa.Column("answer", sa.LargeBinary, nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("request_id", name="pk_requests"),
    )
    op.create_table(
        "outbox",
        sa.Column("sequence", sa.Integer, autoincrement=True, nullable=False),
        sa.Column("event_id", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(400), nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("publish_time", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("sequence", name="pk_outbox"),
        sa.UniqueConstraint("event_id", name="uq_outbox_event_id"),
    )
    op.create_index("ix_outbox_publish_time", "outbox", ["publish_time"])
    _conversations()
    _specs()
    op.create_table(
        "datasets",
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("dataset_id", sa.String(64), nullable=False),
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("holdout_dataset", sa.String(200), nullable=False),
        sa.Column("file_format", sa.String(20), nullable=False),
        sa.Column("state", sa.Integer, nullable=False),
        sa.Column("dataset", sa.LargeBinary, nullable=False),
        sa.Column("report", sa.LargeBinary, nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_datasets"),
        sa.UniqueConstraint(
            "project", "sha256", "holdout_dataset", "file_format", name="uq_datasets_content"
        ),
    )
    op.create_index("ix_datasets_project", "datasets", ["project", "dataset_id"])


def _conversations() -> None:
    op.create_table(
        "conversations",
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("brief", sa.Text, nullable=False),
        sa.Column("spec", sa.String(200), nullable=False),
        sa.Column("turn_count", sa.Integer, nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("update_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_conversations"),
    )
    op.create_table(
        "turns",
        sa.Column("conversation", sa.String(200), nullable=False),
        sa.Column("turn_index", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("turn", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("conversation", "turn_index", name="pk_turns"),
        sa.ForeignKeyConstraint(
            ["conversation"], ["conversations.name"], name="fk_turns_conversation"
        ),
    )


def _specs() -> None:
    op.create_table(
        "specs",
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("spec_id", sa.String(64), nullable=False),
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("etag", sa.String(64), nullable=False),
        sa.Column("state", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_specs"),
    )
    op.create_index("ix_specs_project", "specs", ["project", "spec_id"])
    op.create_table(
        "spec_revisions",
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("revision", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("spec", sa.LargeBinary, nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", "revision", name="pk_spec_revisions"),
        sa.ForeignKeyConstraint(["name"], ["specs.name"], name="fk_spec_revisions_name"),
    )
