"""What runs have taken of memory: written in the transaction that ends one, so once for each."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import and_, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.common.database import Database
from services.scheduler.lessons import EMPTY, Book
from services.scheduler.observed import Key, Observation
from services.scheduler.row_store import OBSERVATIONS

KEPT_PER_KEY = 50
"""Newest observations of a key that are kept; those before them were of older libraries."""
READ_MAX = 20_000
"""Newest observations that a book holds."""


class ObservationStore:
    """Reads all observations, again only after there are new ones."""

    def __init__(self, database: Database) -> None:
        """Keep the database."""
        self._database = database
        self._book = EMPTY
        self._state: tuple[int, int] = (0, 0)

    async def read(self) -> Book:
        """Return what was observed so far; the same book while nothing is added."""
        newest = select(func.coalesce(func.max(OBSERVATIONS.c.sequence), 0), func.count())
        async with self._database.read() as connection:
            last, count = (await connection.execute(newest.select_from(OBSERVATIONS))).one()
            if (last, count) != self._state:
                query = select(OBSERVATIONS).order_by(OBSERVATIONS.c.sequence.desc())
                rows = (await connection.execute(query.limit(READ_MAX))).all()
                self._book = Book(
                    Observation(
                        Key(*(getattr(row, name) for name in Key._fields)),
                        row.expected_bytes,
                        row.peak_bytes,
                    )
                    for row in rows
                )
                self._state = (last, count)
        return self._book


async def observe(
    connection: AsyncConnection, observation: Observation, run: str, now: datetime
) -> None:
    """Add an observation and let go of the oldest ones of its key.

    Args:
        connection: Of the transaction that ends the run.
        observation: Of a whole run.
        run: Its name.
        now: The present moment.
    """
    key = observation.key._asdict()
    await connection.execute(
        insert(OBSERVATIONS).values(
            **key,
            expected_bytes=observation.expected_bytes,
            peak_bytes=observation.peak_bytes,
            run=run,
            create_time=now,
        )
    )
    same = and_(*(OBSERVATIONS.c[name] == value for name, value in key.items()))
    newest = select(OBSERVATIONS.c.sequence).where(same)
    newest = newest.order_by(OBSERVATIONS.c.sequence.desc()).limit(KEPT_PER_KEY)
    oldest = min(row.sequence for row in await connection.execute(newest))
    await connection.execute(delete(OBSERVATIONS).where(same, OBSERVATIONS.c.sequence < oldest))
