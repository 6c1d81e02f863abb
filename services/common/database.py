"""Transactions that behave alike on SQLite and PostgreSQL.

A read sees a snapshot. A write on SQLite begins with BEGIN IMMEDIATE: SQLAlchemy's default begins
as a reader and loses updates when two processes upgrade. Every update of a row goes through
`guarded`, which demands that the version or fence it names is still there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Executable, MetaData, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from services.common.errors import Conflict

BUSY_TIMEOUT_MS = 10_000
"""How long SQLite waits for another process's write transaction."""
MIGRATION_FOLDER = Path(__file__).parent / "migration"
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_name)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "pk": "pk_%(table_name)s",
}


def new_metadata() -> MetaData:
    """Return the MetaData of one service, with the names that migrations rely on."""
    return MetaData(naming_convention=NAMING)


class Database:
    """One service's database."""

    def __init__(self, url: str, migrations: Path) -> None:
        """Prepare; nothing is opened yet.

        Args:
            url: `sqlite+aiosqlite:///path` or `postgresql+asyncpg://user@host/name`.
            migrations: Folder of the service's alembic revisions.
        """
        self._migrations = migrations
        self._listeners: list[Callable[[], None]] = []
        self._sqlite = url.startswith("sqlite")
        self._engine = _engine(url, self._sqlite)
        # One writer at a time inside the process: fairer than SQLite's sleeping busy handler.
        self._writer = asyncio.Lock() if self._sqlite else nullcontext()

    async def migrate(self) -> None:
        """Bring the schema to the newest revision.

        Raises:
            SystemExit: If the database cannot be opened, in one line that says what to do.
        """

        def upgrade(connection: Connection) -> None:
            config = Config()
            config.set_main_option("script_location", str(MIGRATION_FOLDER))
            config.set_main_option("version_locations", str(self._migrations))
            config.set_main_option("path_separator", "os")
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

        try:
            async with self._begin(write=True) as connection:
                await connection.run_sync(upgrade)
        except (OperationalError, OSError) as error:
            place = self._engine.url.render_as_string(hide_password=True)
            reason = getattr(error, "orig", error)
            raise SystemExit(
                f"The database {place} cannot be opened ({reason}). "
                "Check that it runs, that its folder can be written, and that the disk has room."
            ) from None

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction that only reads."""
        async with self._begin(write=False) as connection:
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction that commits when the block ends and rolls back when it raises.

        Make no network call inside: on SQLite every other writer waits.
        """
        async with self._writer, self._begin(write=True) as connection:
            yield connection
        for listener in self._listeners:
            listener()

    def on_commit(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each committed write; it must return at once."""
        self._listeners.append(listener)

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()

    @asynccontextmanager
    async def _begin(self, *, write: bool) -> AsyncIterator[AsyncConnection]:
        async with self._engine.connect() as connection:
            await connection.execution_options(attune_write=write)
            async with connection.begin():
                yield connection


def _engine(url: str, sqlite: bool) -> AsyncEngine:
    if not sqlite:
        return create_async_engine(url, pool_pre_ping=True, pool_size=10, max_overflow=10)
    engine = create_async_engine(url)

    @event.listens_for(engine.sync_engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # The driver must not begin by itself.
        for pragma in (
            f"busy_timeout = {BUSY_TIMEOUT_MS}",
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        write = connection.get_execution_options().get("attune_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def aware(moment: datetime) -> datetime:
    """Return a moment from the database in UTC; SQLite forgets the zone."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


async def guarded(connection: AsyncConnection, statement: Executable, what: str) -> None:
    """Execute an update that names the version or fence it expects.

    Args:
        connection: Of a write transaction.
        statement: An UPDATE whose WHERE holds the guard.
        what: Name of the resource, for the error.

    Raises:
        Conflict: If it changed no row: somebody else was first.
    """
    result = await connection.execute(statement)
    if result.rowcount != 1:
        raise Conflict(
            f"{what} was changed by somebody else in between. Read it again and repeat.",
            reason="CHANGED_CONCURRENTLY",
            resource=what,
        )
