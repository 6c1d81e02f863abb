"""Rows of what became of requests; figures of an earlier decision are left behind."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import and_, delete, insert, select, update

from services.common.database import Database
from services.common.names import parse
from services.serving import store
from services.serving.deployments.arm_figures import Arm, ArmFigures
from services.serving.deployments.deployment_row import PATTERN
from services.serving.deployments.histogram import Histogram

rows = store.arm_figures
deployments = store.deployments


class ArmStore:
    """Figures of versions by deployment, since the last decision about it."""

    def __init__(self, database: Database) -> None:
        """Keep the database."""
        self._database = database

    async def add(self, counted: Mapping[Arm, ArmFigures]) -> None:
        """Add what was counted since the last time; what an earlier decision caused is dropped."""
        async with self._database.write() as connection:
            for arm, figures in counted.items():
                parts = parse(arm.deployment, PATTERN)
                of_alias = and_(rows.c.project == parts["project"], rows.c.alias == parts["alias"])
                newest = select(deployments.c.etag).where(
                    deployments.c.project == parts["project"],
                    deployments.c.alias == parts["alias"],
                )
                if (await connection.execute(newest)).scalar() != arm.decision:
                    continue
                await connection.execute(
                    delete(rows).where(of_alias, rows.c.decision != arm.decision)
                )
                mine = and_(of_alias, rows.c.model_version == arm.model_version)
                query = select(rows).where(mine).with_for_update()
                row = (await connection.execute(query)).one_or_none()
                total = ArmFigures() if row is None else _from_row(row)
                total.merge(figures)
                key = {**parts, "decision": arm.decision, "model_version": arm.model_version}
                statement = insert(rows) if row is None else update(rows).where(mine)
                await connection.execute(statement.values({**key, **_to_row(total)}))

    async def load(self, decisions: Collection[str]) -> dict[Arm, ArmFigures]:
        """Return the figures since certain decisions, named by the etags that they gave."""
        query = select(rows).where(rows.c.decision.in_(decisions))
        async with self._database.read() as connection:
            found = (await connection.execute(query)).all()
        return {
            Arm(
                f"projects/{row.project}/deployments/{row.alias}", row.decision, row.model_version
            ): _from_row(row)
            for row in found
        }


def _to_row(figures: ArmFigures) -> dict[str, Any]:
    return {
        "request_count": figures.request_count,
        "error_count": figures.error_count,
        "first_token": figures.first_token.to_bytes(),
        "total": figures.total.to_bytes(),
    }


def _from_row(row: Any) -> ArmFigures:
    return ArmFigures(
        request_count=row.request_count,
        error_count=row.error_count,
        first_token=Histogram.from_bytes(row.first_token),
        total=Histogram.from_bytes(row.total),
    )
