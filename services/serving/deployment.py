"""A deployment: an alias that applications call, and the version behind it."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from services.common.errors import (
    Conflict,
    FailedPrecondition,
    ResourceExhausted,
    Violation,
    invalid,
)
from services.common.names import SEGMENT, last_part
from services.serving.residency import DEPLOYED_MAX
from services.serving.version import Version, check_ready

TARGET = "shared"
"""An adapter on its base's engine."""


class DeploymentState(StrEnum):
    """Whether applications get answers."""

    PENDING = "PENDING"
    """Accepted; the engine does not hold the version yet."""
    READY = "READY"
    """The engine holds it."""


@dataclass(frozen=True)
class Deployment:
    """One deployment, as it is kept."""

    name: str
    """`projects/{project}/deployments/{alias}`."""
    model_version: str
    adapter_sha256: str
    """Of that version."""
    target: str
    state: DeploymentState
    etag: str
    """Changes with every decision of a person, not when the engine confirms one."""
    create_time: datetime
    update_time: datetime

    @property
    def alias(self) -> str:
        """The model name that applications send."""
        return last_part(self.name)


def check_request(alias: str, target: str) -> None:
    """Refuse an alias or a target that breaks its rule.

    Raises:
        InvalidArgument: With every violation.
    """
    violations = []
    if not SEGMENT.fullmatch(alias):
        text = f"'{alias[:80]}' is not an alias of the form [a-z]([a-z0-9-]{{0,61}}[a-z0-9])?."
        violations.append(Violation("deployment_id", "ALIAS", text))
    if target != TARGET:
        text = f"'{target[:80]}' is not a deploy target here. Use '{TARGET}'."
        violations.append(Violation("deployment.target", "TARGET", text))
    if violations:
        raise invalid(violations)


def check_mask(paths: list[str]) -> None:
    """Refuse an update of anything but the version.

    Raises:
        InvalidArgument: If the mask is not exactly `model_version`.
    """
    if paths != ["model_version"]:
        shown = ", ".join(paths)[:200]
        text = f"'{shown}' cannot be updated. The mask must be exactly 'model_version'."
        raise invalid([Violation("update_mask", "MASK", text)])


def check_etag(deployment: Deployment, etag: str) -> None:
    """Refuse an update that was decided on an older state; an empty etag always fits.

    Raises:
        Conflict: If the etag is not the newest one.
    """
    if etag and etag != deployment.etag:
        raise Conflict(
            f"{deployment.name} points at {deployment.model_version} now. Read it again and "
            "decide anew.",
            reason="STALE_ETAG",
            deployment=deployment.name,
            model_version=deployment.model_version,
        )


def check_servable(version: Version, base_model: str, base_model_revision: str) -> None:
    """Refuse a version that the running engine cannot hold.

    Args:
        version: To be served.
        base_model: Id of the engine's base model.
        base_model_revision: Its exact revision; empty while the engine waits for its model.

    Raises:
        FailedPrecondition: If it is not READY, or belongs to another base.
    """
    check_ready(version)
    if not base_model_revision:
        return
    if (version.base_model, version.base_model_revision) != (base_model, base_model_revision):
        raise FailedPrecondition(
            f"{version.name} was tuned from {version.base_model} revision "
            f"{version.base_model_revision[:12]}; the engine holds {base_model} revision "
            f"{base_model_revision[:12]}. Set ATTUNE_SERVING_BASE_MODEL and restart serving.",
            reason="OTHER_BASE_MODEL",
            model_version=version.name,
            base_model=version.base_model,
            base_model_revision=version.base_model_revision,
            engine_base_model=base_model,
            engine_base_model_revision=base_model_revision,
        )


def check_room(deployed: Set[str], adapter_sha256: str) -> None:
    """Refuse one deployed adapter too many.

    One place in the engine stays free of deployments: without it no new version could be proved
    or compared, and no alias could be switched without a failed request.

    Args:
        deployed: Adapters behind the other aliases.
        adapter_sha256: The adapter to be deployed.

    Raises:
        ResourceExhausted: If the engine's places for deployments are taken.
    """
    if len(deployed | {adapter_sha256}) > DEPLOYED_MAX:
        raise ResourceExhausted(
            f"{len(deployed)} adapters are deployed; the engine holds at most {DEPLOYED_MAX} "
            "deployed ones. Point an existing alias at this version instead.",
            reason="NO_PLACE_FOR_DEPLOYMENT",
            deployed_count=str(len(deployed)),
            deployed_max=str(DEPLOYED_MAX),
        )


def create(project: str, alias: str, version: Version, etag: str, now: datetime) -> Deployment:
    """Return a new deployment, PENDING until the engine holds its version."""
    return Deployment(
        name=f"projects/{project}/deployments/{alias}",
        model_version=version.name,
        adapter_sha256=version.adapter_sha256,
        target=TARGET,
        state=DeploymentState.PENDING,
        etag=etag,
        create_time=now,
        update_time=now,
    )


def point_at(
    deployment: Deployment, version: Version, *, held: bool, etag: str, now: datetime
) -> Deployment:
    """Return the deployment after its alias was pointed at another version.

    Args:
        deployment: Before.
        version: A READY one.
        held: Whether the engine holds the version already.
        etag: The new one.
        now: The present moment.
    """
    return replace(
        deployment,
        model_version=version.name,
        adapter_sha256=version.adapter_sha256,
        state=DeploymentState.READY if held else DeploymentState.PENDING,
        etag=etag,
        update_time=now,
    )


def confirm(deployment: Deployment, now: datetime) -> Deployment:
    """Return the deployment after the engine confirmed that it holds the version.

    Raises:
        FailedPrecondition: If it is READY already.
    """
    if deployment.state is not DeploymentState.PENDING:
        raise FailedPrecondition(
            f"{deployment.name} is {deployment.state} already.",
            reason="DEPLOYMENT_NOT_PENDING",
            deployment=deployment.name,
            state=deployment.state.value,
        )
    return replace(deployment, state=DeploymentState.READY, update_time=now)
