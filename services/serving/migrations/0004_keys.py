"""The endpoint has keys, and what is used is counted."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("title", sa.String(200), nullable=False),
        sa.Column("secret_prefix", sa.String(32), nullable=False),
        sa.Column("secret_sha256", sa.String(64), nullable=False),
        sa.Column("models", sa.Text, nullable=False),
        sa.Column("requests_per_minute", sa.Integer, nullable=True),
        sa.Column("tokens_per_minute", sa.Integer, nullable=True),
        sa.Column("concurrent_requests", sa.Integer, nullable=True),
        sa.Column("create_time", moment, nullable=False),
        sa.Column("expire_time", moment, nullable=True),
        sa.Column("revoke_time", moment, nullable=True),
        sa.Column("last_use_time", moment, nullable=True),
        sa.UniqueConstraint("secret_sha256", name="uq_api_keys_secret_sha256"),
    )
    op.create_index("ix_api_keys_project", "api_keys", ["project", "id"])
    op.create_table(
        "usage",
        sa.Column("project", sa.String(64), primary_key=True),
        sa.Column("hour", moment, primary_key=True),
        sa.Column("api_key", sa.String(200), primary_key=True),
        sa.Column("model", sa.String(250), primary_key=True),
        sa.Column("model_version", sa.String(200), primary_key=True),
        sa.Column("request_count", sa.BigInteger, nullable=False),
        sa.Column("error_count", sa.BigInteger, nullable=False),
        sa.Column("prompt_token_count", sa.BigInteger, nullable=False),
        sa.Column("answer_token_count", sa.BigInteger, nullable=False),
    )
