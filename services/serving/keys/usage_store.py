"""Rows of what was used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from services.common.database import Database
from services.serving import store
from services.serving.keys.usage import Counts, UsageKey

rows = store.usage
COUNTS = ("request_count", "error_count", "prompt_token_count", "answer_token_count")


class UsageStore:
    """What was used, by the hour."""

    def __init__(self, database: Database) -> None:
        """Keep the database."""
        self._database = database

    async def add(self, used: Mapping[UsageKey, Counts]) -> None:
        """Add counts to those that there are, all or none."""
        async with self._database.write() as connection:
            is_sqlite = connection.dialect.name == "sqlite"
            for key, counts in used.items():
                values = {**asdict(key), **asdict(counts)}
                # The same clause in both, which SQLAlchemy has once for each.
                insert = (sqlite if is_sqlite else postgresql).insert(rows).values(values)
                summed = {name: rows.c[name] + insert.excluded[name] for name in COUNTS}
                keys = [column.name for column in rows.primary_key]
                await connection.execute(
                    insert.on_conflict_do_update(index_elements=keys, set_=summed)
                )

    async def list_sums(
        self, project: str, start: datetime, end: datetime, limit: int
    ) -> list[tuple[str, str, str, Counts]]:
        """Return key, model name, version and counts over a time, most tokens first.

        Args:
            project: Id of the project.
            start: First hour.
            end: Hour after the last one.
            limit: Most rows to return.
        """
        names = (rows.c.api_key, rows.c.model, rows.c.model_version)
        sums = [func.sum(rows.c[name]) for name in COUNTS]
        query = (
            select(*names, *sums)
            .where(rows.c.project == project, rows.c.hour >= start, rows.c.hour < end)
            .group_by(*names)
            .order_by((sums[2] + sums[3]).desc(), *names)
            .limit(limit)
        )
        async with self._database.read() as connection:
            found = (await connection.execute(query)).all()
        return [
            (row[0], row[1], row[2], Counts(*(int(count) for count in row[3:]))) for row in found
        ]

    async def prune(self, before: datetime) -> None:
        """Forget what was used in hours before a moment."""
        async with self._database.write() as connection:
            await connection.execute(delete(rows).where(rows.c.hour < before))
