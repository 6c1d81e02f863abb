"""Between deployments and the columns that they are kept in; pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from services.common.database import aware
from services.common.names import parse
from services.serving.deployments.deployment import (
    Arms,
    Canary,
    Change,
    ChangeKind,
    Decision,
    Deployment,
    DeploymentState,
)

PATTERN = "projects/{project}/deployments/{alias}"


def to_row(deployment: Deployment) -> dict[str, Any]:
    """Return the columns of a deployment."""
    parts = parse(deployment.name, PATTERN)
    return {
        "project": parts["project"],
        "alias": parts["alias"],
        "target": deployment.target,
        **arms_to_row("", deployment.decided),
        **arms_to_row("serving_", deployment.serving),
        "previous_model_version": deployment.previous_model_version,
        "state": deployment.state.value,
        "state_reason": deployment.state_reason,
        "external_name": deployment.external_name,
        "etag": deployment.etag,
        "create_time": deployment.create_time,
        "decide_time": deployment.decide_time,
        "update_time": deployment.update_time,
    }


def arms_to_row(prefix: str, arms: Arms) -> dict[str, Any]:
    """Return the columns that say which versions answer, with a prefix."""
    canary = arms.canary
    return {
        f"{prefix}model_version": arms.model_version,
        f"{prefix}canary_model_version": "" if canary is None else canary.model_version,
        f"{prefix}canary_percent": 0.0 if canary is None else canary.percent,
    }


def _arms_from_row(prefix: str, row: Any) -> Arms:
    values = row._mapping
    name = values[f"{prefix}canary_model_version"]
    canary = Canary(name, values[f"{prefix}canary_percent"]) if name else None
    return Arms(values[f"{prefix}model_version"], canary)


def from_row(row: Any) -> Deployment:
    """Return the deployment in a row."""
    return Deployment(
        name=f"projects/{row.project}/deployments/{row.alias}",
        target=row.target,
        decided=_arms_from_row("", row),
        serving=_arms_from_row("serving_", row),
        previous_model_version=row.previous_model_version,
        state=DeploymentState(row.state),
        state_reason=row.state_reason,
        external_name=row.external_name,
        etag=row.etag,
        create_time=aware(row.create_time),
        decide_time=aware(row.decide_time),
        update_time=aware(row.update_time),
    )


def change_from_row(row: Any) -> Change:
    """Return the decision in a row."""
    moment: datetime = aware(row.create_time)
    return Change(
        kind=ChangeKind(row.kind),
        decision=Decision(row.author, row.reason, row.override_reason),
        arms=_arms_from_row("", row),
        create_time=moment,
    )
