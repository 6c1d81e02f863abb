"""Jobs with their leases, nodes, and the tables that every service has."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    _create_jobs()
    op.create_table(
        "nodes",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("instance", sa.String(64), nullable=False),
        sa.Column("node", sa.LargeBinary, nullable=False),
        sa.Column("heartbeat_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_nodes"),
    )
    op.create_index("ix_nodes_heartbeat_time", "nodes", ["heartbeat_time"])
    op.create_table(
        "usage",
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("recent_s", sa.Float, nullable=False),
        sa.Column("recent_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("device_s", sa.Float, nullable=False),
        sa.Column("spent_micro_usd", sa.BigInteger, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("project", name="pk_usage"),
    )
    _create_observations()
    op.create_table(
        "requests",
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("body_sha256", sa.String(64), nullable=False),
        sa.Column("answer", sa.LargeBinary, nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("request_id", name="pk_requests"),
    )
    _create_events()


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("spec", sa.String(200), nullable=False),
        sa.Column("spec_revision", sa.BigInteger, nullable=False),
        sa.Column("spec_hash", sa.String(64), nullable=False),
        sa.Column("base_model", sa.String(200), nullable=False),
        sa.Column("approved_spec", sa.LargeBinary, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("state_reason", sa.Text, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("queue_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("stage_index", sa.Integer, nullable=False),
        sa.Column("attempt_count", sa.BigInteger, nullable=False),
        sa.Column("loss_count", sa.Integer, nullable=False),
        sa.Column("finished_fence", sa.BigInteger, nullable=False),
        sa.Column("node", sa.String(64), nullable=False),
        sa.Column("instance", sa.String(64), nullable=False),
        sa.Column("lease_expire_time", sa.DateTime(timezone=True)),
        sa.Column("lease_time", sa.DateTime(timezone=True)),
        sa.Column("expected_s", sa.Float, nullable=False),
        sa.Column("price_micro_usd_per_hour", sa.BigInteger, nullable=False),
        sa.Column("layout", sa.JSON, nullable=False),
        sa.Column("failed", sa.JSON, nullable=False),
        sa.Column("device_s", sa.Float, nullable=False),
        sa.Column("spent_micro_usd", sa.BigInteger, nullable=False),
        sa.Column("yield_count", sa.Integer, nullable=False),
        sa.Column("promised_start_time", sa.DateTime(timezone=True)),
        sa.Column("promised_node", sa.String(64), nullable=False),
        sa.Column("progress", sa.LargeBinary),
        sa.Column("result", sa.LargeBinary),
        sa.Column("error", sa.LargeBinary),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("start_time", sa.DateTime(timezone=True)),
        sa.Column("end_time", sa.DateTime(timezone=True)),
        sa.Column("update_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_jobs"),
        sa.UniqueConstraint("spec", "spec_revision", name="uq_jobs_spec"),
    )
    op.create_index("ix_jobs_id", "jobs", ["id"])
    op.create_index("ix_jobs_state", "jobs", ["state", "queue_time"])


def _create_observations() -> None:
    op.create_table(
        "observations",
        sa.Column("sequence", sa.Integer, autoincrement=True, nullable=False),
        sa.Column("architecture", sa.String(200), nullable=False),
        sa.Column("technique", sa.String(32), nullable=False),
        sa.Column("method", sa.String(32), nullable=False),
        sa.Column("length_bucket", sa.Integer, nullable=False),
        sa.Column("device", sa.String(64), nullable=False),
        sa.Column("expected_bytes", sa.BigInteger, nullable=False),
        sa.Column("peak_bytes", sa.BigInteger, nullable=False),
        sa.Column("run", sa.String(200), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_observations"),
    )
    key = ["architecture", "technique", "method", "length_bucket", "device"]
    op.create_index("ix_observations_architecture", "observations", key)


def _create_events() -> None:
    op.create_table(
        "outbox",
        sa.Column("sequence", sa.Integer, autoincrement=True, nullable=False),
        sa.Column("event_id", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(400), nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("publish_time", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("sequence", name="pk_outbox"),
        sa.UniqueConstraint("event_id", name="uq_outbox_event_id"),
    )
    op.create_index("ix_outbox_publish_time", "outbox", ["publish_time"])
    op.create_table(
        "inbox",
        sa.Column("consumer", sa.String(64), nullable=False),
        sa.Column("event_id", sa.String(64), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("consumer", "event_id", name="pk_inbox"),
    )
