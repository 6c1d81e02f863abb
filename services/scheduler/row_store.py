"""The scheduler's tables, and how a job lies in its row."""

from __future__ import annotations

from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

from attune.scheduler.v1 import scheduler_pb2
from attune.spec.v1.spec_pb2 import Spec
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status
from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    DateTime,
    Float,
    Index,
    Integer,
    LargeBinary,
    Row,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from services.common.database import aware, new_metadata
from services.common.idempotency import requests_table
from services.common.names import last_part, project_of
from services.common.outbox import inbox_table, outbox_table
from services.scheduler.failed_layout import FailedLayout
from services.scheduler.job import Job
from services.scheduler.queue.entry import Priority
from services.scheduler.state import State

METADATA = new_metadata()
JOBS = Table(
    "jobs",
    METADATA,
    Column("name", String(200), primary_key=True),
    Column("id", String(64), nullable=False, index=True),
    Column("project", String(64), nullable=False),
    Column("spec", String(200), nullable=False),
    Column("spec_revision", BigInteger, nullable=False),
    Column("spec_hash", String(64), nullable=False),
    Column("base_model", String(200), nullable=False),
    Column("approved_spec", LargeBinary, nullable=False),
    Column("state", String(16), nullable=False),
    Column("state_reason", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("queue_time", DateTime(timezone=True), nullable=False),
    Column("stage_index", Integer, nullable=False),
    Column("stage_fence", BigInteger, nullable=False),
    Column("stage_results", JSON, nullable=False),
    Column("attempt_count", BigInteger, nullable=False),
    Column("loss_count", Integer, nullable=False),
    Column("finished_fence", BigInteger, nullable=False),
    Column("node", String(64), nullable=False),
    Column("instance", String(64), nullable=False),
    Column("lease_expire_time", DateTime(timezone=True), nullable=True),
    Column("lease_time", DateTime(timezone=True), nullable=True),
    Column("expected_s", Float, nullable=False),
    Column("price_micro_usd_per_hour", BigInteger, nullable=False),
    Column("layout", JSON, nullable=False),
    Column("failed", JSON, nullable=False),
    Column("device_s", Float, nullable=False),
    Column("spent_micro_usd", BigInteger, nullable=False),
    Column("yield_count", Integer, nullable=False),
    Column("promised_start_time", DateTime(timezone=True), nullable=True),
    Column("promised_node", String(64), nullable=False),
    Column("progress", LargeBinary, nullable=True),
    Column("result", LargeBinary, nullable=True),
    Column("error", LargeBinary, nullable=True),
    Column("question", LargeBinary, nullable=True),
    Column("waived_reasons", JSON, nullable=False),
    Column("create_time", DateTime(timezone=True), nullable=False),
    Column("start_time", DateTime(timezone=True), nullable=True),
    Column("end_time", DateTime(timezone=True), nullable=True),
    Column("update_time", DateTime(timezone=True), nullable=False),
    Column("version", BigInteger, nullable=False),
    UniqueConstraint("spec", "spec_revision"),
    Index("ix_jobs_state", "state", "queue_time"),
)
NODES = Table(
    "nodes",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("instance", String(64), nullable=False),
    Column("node", LargeBinary, nullable=False),
    Column("heartbeat_time", DateTime(timezone=True), nullable=False, index=True),
)
USAGE = Table(
    "usage",
    METADATA,
    Column("project", String(64), primary_key=True),
    Column("recent_s", Float, nullable=False),
    Column("recent_time", DateTime(timezone=True), nullable=False),
    Column("device_s", Float, nullable=False),
    Column("spent_micro_usd", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
)
"""What each project has used in leases that ended; `recent_s` as it counted at `recent_time`."""
OBSERVATIONS = Table(
    "observations",
    METADATA,
    Column("sequence", Integer, primary_key=True, autoincrement=True),
    Column("architecture", String(200), nullable=False),
    Column("technique", String(32), nullable=False),
    Column("method", String(32), nullable=False),
    Column("length_bucket", Integer, nullable=False),
    Column("device", String(64), nullable=False),
    Column("expected_bytes", BigInteger, nullable=False),
    Column("peak_bytes", BigInteger, nullable=False),
    Column("run", String(200), nullable=False),
    Column("create_time", DateTime(timezone=True), nullable=False),
    Index(
        "ix_observations_architecture",
        "architecture",
        "technique",
        "method",
        "length_bucket",
        "device",
    ),
)
"""What finished runs have taken of memory, beside what the formula expected."""
OUTBOX = outbox_table(METADATA)
INBOX = inbox_table(METADATA)
REQUESTS = requests_table(METADATA)

MESSAGES: dict[str, type[Message]] = {
    "approved_spec": Spec,
    "progress": scheduler_pb2.JobProgress,
    "result": scheduler_pb2.JobResult,
    "error": Status,
    "question": scheduler_pb2.JobQuestion,
}
"""Columns that hold serialised messages."""


def row_of(job: Job) -> dict[str, Any]:
    """Return the columns of a job."""
    row = {field.name: getattr(job, field.name) for field in fields(job)}
    for name in MESSAGES:
        row[name] = None if row[name] is None else row[name].SerializeToString()
    row["layout"] = {} if job.layout is None else asdict(job.layout)
    row["failed"] = [asdict(one) for one in job.failed]
    row["stage_results"] = [_json(one) for one in job.stage_results]
    row["waived_reasons"] = list(job.waived_reasons)
    row["id"], row["project"] = last_part(job.name), project_of(job.name)
    row["base_model"] = job.approved_spec.base_model.id
    return row


def job_of(row: Row[Any]) -> Job:
    """Return the job in a row."""
    values = {field.name: getattr(row, field.name) for field in fields(Job)}
    for name, value in values.items():
        if name in MESSAGES and value is not None:
            values[name] = MESSAGES[name].FromString(value)
        elif isinstance(value, datetime):
            values[name] = aware(value)
    values["layout"] = FailedLayout(**row.layout) if row.layout else None
    values["failed"] = tuple(FailedLayout(**one) for one in row.failed)
    values["stage_results"] = tuple(
        ParseDict(one, scheduler_pb2.JobResult(), ignore_unknown_fields=True)
        for one in row.stage_results
    )
    values["waived_reasons"] = tuple(row.waived_reasons)
    values["state"], values["priority"] = State(values["state"]), Priority(values["priority"])
    return Job(**values)


def _json(message: Message) -> dict[str, Any]:
    return MessageToDict(message, preserving_proto_field_name=True)
