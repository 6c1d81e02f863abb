"""What projects have used: written in the transaction that ends a lease, so once for each."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.common.database import Database, aware, guarded
from services.common.names import project_of
from services.scheduler.account import Usage
from services.scheduler.job import Job
from services.scheduler.queue.share import decay
from services.scheduler.row_store import USAGE


class UsageStore:
    """Past use by project."""

    def __init__(self, database: Database) -> None:
        """Keep the database."""
        self._database = database

    async def read(self, now: datetime) -> dict[str, Usage]:
        """Return what each project has used, as it counts now."""
        async with self._database.read() as connection:
            rows = await connection.execute(select(USAGE))
            return {
                row.project: Usage(
                    decay(row.recent_s, (now - aware(row.recent_time)).total_seconds()),
                    row.device_s,
                    row.spent_micro_usd,
                )
                for row in rows
            }


async def charge(connection: AsyncConnection, before: Job, after: Job) -> None:
    """Add a lease that ends to what its project has used.

    Args:
        connection: Of the transaction that ends it.
        before: The job with the lease.
        after: The job without.

    Raises:
        Conflict: If another lease of the project ends at the same time; the whole change is
            tried again.
    """
    project, now = project_of(after.name), after.update_time
    used_s = after.device_s - before.device_s
    spent = after.spent_micro_usd - before.spent_micro_usd
    row = (await connection.execute(select(USAGE).where(USAGE.c.project == project))).one_or_none()
    if row is None:
        first = {"recent_s": used_s, "recent_time": now, "device_s": used_s}
        values = {**first, "spent_micro_usd": spent, "version": 1}
        await connection.execute(insert(USAGE).values(project=project, **values))
        return
    recent_s = decay(row.recent_s, (now - aware(row.recent_time)).total_seconds())
    change = (
        update(USAGE)
        .where(USAGE.c.project == project, USAGE.c.version == row.version)
        .values(
            recent_s=recent_s + used_s,
            recent_time=max(now, aware(row.recent_time)),
            device_s=row.device_s + used_s,
            spent_micro_usd=row.spent_micro_usd + spent,
            version=row.version + 1,
        )
    )
    await guarded(connection, change, f"the use of {project}")
