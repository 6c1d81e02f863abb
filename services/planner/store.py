"""The planner's tables, and what its stores share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from google.protobuf.message import Message
from sqlalchemy import (
    Column,
    DateTime,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from services.common.database import Database, new_metadata
from services.common.idempotency import Requests, requests_table
from services.common.outbox import Outbox, outbox_table

MIGRATIONS = Path(__file__).with_name("migrations")
ATTEMPTS_MAX = 2
"""A write that a twin overtook is made once more; then it finds what the twin wrote."""

Answer = TypeVar("Answer", bound=Message)

METADATA = new_metadata()
REQUESTS = requests_table(METADATA)
OUTBOX = outbox_table(METADATA)
CONVERSATIONS = Table(
    "conversations",
    METADATA,
    Column("name", String(200), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("brief", Text, nullable=False),
    Column("spec", String(200), nullable=False),
    Column("turn_count", Integer, nullable=False),
    Column("create_time", DateTime(timezone=True), nullable=False),
    Column("update_time", DateTime(timezone=True), nullable=False),
)
TURNS = Table(
    "turns",
    METADATA,
    Column("conversation", String(200), primary_key=True),
    Column("turn_index", Integer, primary_key=True, autoincrement=False),
    Column("turn", LargeBinary, nullable=False),
    ForeignKeyConstraint(["conversation"], ["conversations.name"], name="fk_turns_conversation"),
)
SPECS = Table(
    "specs",
    METADATA,
    Column("name", String(200), primary_key=True),
    Column("spec_id", String(64), nullable=False),
    Column("project", String(64), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("etag", String(64), nullable=False),
    Column("state", Integer, nullable=False),
    Index("ix_specs_project", "project", "spec_id"),
)
SPEC_REVISIONS = Table(
    "spec_revisions",
    METADATA,
    Column("name", String(200), primary_key=True),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("hash", String(64), nullable=False),
    Column("spec", LargeBinary, nullable=False),
    Column("create_time", DateTime(timezone=True), nullable=False),
    Column("brief", Text, nullable=False, server_default=""),
    ForeignKeyConstraint(["name"], ["specs.name"], name="fk_spec_revisions_name"),
)
DATASETS = Table(
    "datasets",
    METADATA,
    Column("name", String(200), primary_key=True),
    Column("dataset_id", String(64), nullable=False),
    Column("project", String(64), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("holdout_dataset", String(200), nullable=False),
    Column("file_format", String(20), nullable=False),
    Column("state", Integer, nullable=False),
    Column("dataset", LargeBinary, nullable=False),
    Column("report", LargeBinary, nullable=False),
    Column("create_time", DateTime(timezone=True), nullable=False),
    UniqueConstraint(
        "project", "sha256", "holdout_dataset", "file_format", name="uq_datasets_content"
    ),
    Index("ix_datasets_project", "project", "dataset_id"),
)


class Store:
    """The database, the answers to repeated requests and the outbox."""

    def __init__(self, database: Database) -> None:
        """Keep the database, which `migrate` has brought up to date."""
        self.database = database
        self.requests = Requests(REQUESTS)
        self.outbox = Outbox(OUTBOX, "/attune/planner")

    async def find_answer(self, request: Message, answer: type[Answer]) -> Answer | None:
        """Return the first answer to a request, or None if it is new.

        Raises:
            InvalidArgument: If request_id is not a UUID, or was used for another request.
        """
        async with self.database.read() as connection:
            return await self.requests.find(connection, request, answer)

    async def answer_once(
        self,
        request: Message,
        answer: type[Answer],
        work: Callable[[AsyncConnection], Awaitable[Answer]],
        now: datetime,
    ) -> Answer:
        """Do the work of a request and keep its answer, in one transaction, once for all time.

        Args:
            request: Has a `request_id`.
            answer: The answer's class.
            work: Changes rows and returns the answer; runs again after a twin overtook it.
            now: The present moment.
        """
        for attempt in range(ATTEMPTS_MAX):
            try:
                async with self.database.write() as connection:
                    found = await self.requests.find(connection, request, answer)
                    if found is not None:
                        return found
                    made = await work(connection)
                    await self.requests.keep(connection, request, made, now)
                return made
            except IntegrityError:
                if attempt + 1 == ATTEMPTS_MAX:
                    raise
        raise AssertionError("the loop above returns or raises")
