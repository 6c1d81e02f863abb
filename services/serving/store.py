"""Tables of serving, and the parts that both stores share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Float,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from services.common.database import Database, new_metadata
from services.common.idempotency import requests_table
from services.common.outbox import inbox_table, outbox_table

MIGRATIONS = Path(__file__).parent / "migrations"
SOURCE = "/attune/serving"

metadata = new_metadata()
requests = requests_table(metadata)
outbox = outbox_table(metadata)
inbox = inbox_table(metadata)
versions = Table(
    "versions",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("project", String(64), nullable=False),
    Column("model", String(64), nullable=False),
    Column("number", Integer, nullable=False),
    Column("state", String(16), nullable=False, index=True),
    Column("state_reason", Text, nullable=False),
    Column("job", String(200), nullable=False, unique=True),
    Column("spec", String(200), nullable=False),
    Column("spec_hash", String(64), nullable=False),
    Column("base_model", String(200), nullable=False),
    Column("base_model_revision", String(200), nullable=False),
    Column("adapter_sha256", String(64), nullable=False),
    Column("merged_sha256", String(64), nullable=False),
    Column("form", String(16), nullable=False),
    Column("parity_tolerance", Float, nullable=False),
    Column("planned_target", Text, nullable=False),
    Column("report", LargeBinary, nullable=False),
    Column("parity", LargeBinary, nullable=True),
    Column("create_time", DateTime(timezone=True), nullable=False),
    Column("update_time", DateTime(timezone=True), nullable=False),
    UniqueConstraint("project", "model", "number"),
)


def _arms(prefix: str) -> list[Column[Any]]:
    """Return the columns that say which versions answer."""
    return [
        Column(f"{prefix}model_version", String(200), nullable=False),
        Column(f"{prefix}canary_model_version", String(200), nullable=False),
        Column(f"{prefix}canary_percent", Float, nullable=False),
    ]


deployments = Table(
    "deployments",
    metadata,
    Column("project", String(64), primary_key=True),
    Column("alias", String(64), primary_key=True),
    Column("target", String(16), nullable=False),
    *_arms(""),
    *_arms("serving_"),
    Column("previous_model_version", String(200), nullable=False),
    Column("state", String(16), nullable=False),
    Column("state_reason", Text, nullable=False),
    Column("external_name", String(400), nullable=False),
    Column("etag", String(32), nullable=False),
    Column("create_time", DateTime(timezone=True), nullable=False),
    Column("decide_time", DateTime(timezone=True), nullable=False),
    Column("update_time", DateTime(timezone=True), nullable=False),
)
deployment_changes = Table(
    "deployment_changes",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("project", String(64), nullable=False),
    Column("alias", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("author", String(200), nullable=False),
    Column("reason", Text, nullable=False),
    Column("override_reason", Text, nullable=False),
    *_arms(""),
    Column("create_time", DateTime(timezone=True), nullable=False),
    Index("ix_deployment_changes_alias", "project", "alias", "id"),
)
api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("project", String(64), nullable=False),
    Column("title", String(200), nullable=False),
    Column("secret_prefix", String(32), nullable=False),
    Column("secret_sha256", String(64), nullable=False, unique=True),
    Column("models", Text, nullable=False),
    Column("requests_per_minute", Integer, nullable=True),
    Column("tokens_per_minute", Integer, nullable=True),
    Column("concurrent_requests", Integer, nullable=True),
    Column("create_time", DateTime(timezone=True), nullable=False),
    Column("expire_time", DateTime(timezone=True), nullable=True),
    Column("revoke_time", DateTime(timezone=True), nullable=True),
    Column("last_use_time", DateTime(timezone=True), nullable=True),
    Index("ix_api_keys_project", "project", "id"),
)
usage = Table(
    "usage",
    metadata,
    Column("project", String(64), primary_key=True),
    Column("hour", DateTime(timezone=True), primary_key=True),
    Column("api_key", String(200), primary_key=True),
    Column("model", String(250), primary_key=True),
    Column("model_version", String(200), primary_key=True),
    Column("request_count", BigInteger, nullable=False),
    Column("error_count", BigInteger, nullable=False),
    Column("prompt_token_count", BigInteger, nullable=False),
    Column("answer_token_count", BigInteger, nullable=False),
)
exchanges = Table(
    "exchanges",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("project", String(64), nullable=False),
    Column("prompt", LargeBinary, nullable=False),
    Column("answers", LargeBinary, nullable=False),
    Column("verdict", String(16), nullable=False),
    Column("answer_index", Integer, nullable=False),
    Column("corrected_answer", Text, nullable=False),
    Column("author", String(200), nullable=False),
    Column("preference_create_time", DateTime(timezone=True), nullable=True),
    Column("create_time", DateTime(timezone=True), nullable=False),
    Index("ix_exchanges_project", "project", "id"),
    Index("ix_exchanges_verdict", "project", "verdict", "id"),
)
arm_figures = Table(
    "arm_figures",
    metadata,
    Column("project", String(64), primary_key=True),
    Column("alias", String(64), primary_key=True),
    Column("model_version", String(200), primary_key=True),
    Column("decision", String(32), nullable=False),
    Column("request_count", BigInteger, nullable=False),
    Column("error_count", BigInteger, nullable=False),
    Column("first_token", LargeBinary, nullable=False),
    Column("total", LargeBinary, nullable=False),
)


def new_database(url: str) -> Database:
    """Return serving's database; nothing is opened yet."""
    return Database(url, MIGRATIONS)
