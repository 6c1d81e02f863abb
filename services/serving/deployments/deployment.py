"""A deployment: an alias that applications call, the version behind it, and perhaps a canary."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from services.common.errors import Conflict, FailedPrecondition
from services.common.names import last_part


class DeploymentState(StrEnum):
    """Whether applications get answers."""

    PENDING = "PENDING"
    """Decided; the target does not hold it yet."""
    READY = "READY"
    """The target holds what was decided."""
    FAILED = "FAILED"
    """The target could not do it."""
    DELETING = "DELETING"
    """Is being taken down."""


class ChangeKind(StrEnum):
    """What was decided about an alias."""

    CREATE = "CREATE"
    SWITCH = "SWITCH"
    CANARY = "CANARY"
    END_CANARY = "END_CANARY"
    PROMOTE = "PROMOTE"
    ROLLBACK = "ROLLBACK"
    DELETE = "DELETE"


@dataclass(frozen=True)
class Canary:
    """A version that is tried on a share of the requests."""

    model_version: str
    percent: float
    """In [0, 100]."""


@dataclass(frozen=True)
class Arms:
    """Which versions answer."""

    model_version: str
    """Empty while none does."""
    canary: Canary | None = None

    @property
    def model_versions(self) -> tuple[str, ...]:
        """Both of them."""
        canary = () if self.canary is None else (self.canary.model_version,)
        return (self.model_version, *canary) if self.model_version else canary


@dataclass(frozen=True)
class Deployment:
    """One deployment, as it is kept."""

    name: str
    """`projects/{project}/deployments/{alias}`."""
    target: str
    decided: Arms
    """What was decided."""
    serving: Arms
    """What answers; differs from what was decided while the target prepares it."""
    previous_model_version: str
    """What a rollback returns to; empty when there is nothing."""
    state: DeploymentState
    state_reason: str
    external_name: str
    """Name of what the target made outside; empty for targets of our own."""
    etag: str
    """Changes with every decision, not when a target confirms one."""
    create_time: datetime
    decide_time: datetime
    """When the last decision was made."""
    update_time: datetime

    @property
    def alias(self) -> str:
        """The model name that applications send."""
        return last_part(self.name)

    @property
    def needed_versions(self) -> frozenset[str]:
        """The versions that must not go: decided on, answering, or the way back."""
        names = {*self.decided.model_versions, *self.serving.model_versions}
        return frozenset({*names, self.previous_model_version} - {""})


@dataclass(frozen=True)
class Decision:
    """Who decided, and why."""

    author: str = ""
    reason: str = ""
    override_reason: str = ""
    """Why a refusal was overridden; empty when none was to be."""


@dataclass(frozen=True)
class Change:
    """One decision about an alias, as it is kept."""

    kind: ChangeKind
    decision: Decision
    arms: Arms
    """What was decided; without a version after a deletion."""
    create_time: datetime


def create(name: str, target: str, model_version: str, *, etag: str, now: datetime) -> Deployment:
    """Return a new deployment, PENDING until its target holds the version."""
    return Deployment(
        name=name,
        target=target,
        decided=Arms(model_version),
        serving=Arms(""),
        previous_model_version="",
        state=DeploymentState.PENDING,
        state_reason="Accepted.",
        external_name="",
        etag=etag,
        create_time=now,
        decide_time=now,
        update_time=now,
    )


def point_at(deployment: Deployment, model_version: str) -> Deployment:
    """Return the deployment pointed at another version; a canary ends.

    A version that it already has, without a canary, changes nothing but the time.
    """
    _check_lives(deployment)
    before = deployment.decided.model_version
    way_back = deployment.previous_model_version if before == model_version else before
    return replace(deployment, decided=Arms(model_version), previous_model_version=way_back)


def try_canary(deployment: Deployment, canary: Canary | None) -> Deployment:
    """Return the deployment with another canary, or with none.

    Raises:
        FailedPrecondition: If the canary is the version itself.
    """
    _check_lives(deployment)
    if canary is not None and canary.model_version == deployment.decided.model_version:
        raise FailedPrecondition(
            f"{canary.model_version} answers already. Try another version beside it.",
            reason="CANARY_IS_VERSION",
            deployment=deployment.name,
            model_version=canary.model_version,
        )
    return replace(deployment, decided=replace(deployment.decided, canary=canary))


def promote(deployment: Deployment) -> Deployment:
    """Return the deployment with its canary as the version.

    Raises:
        FailedPrecondition: If it has no canary.
    """
    _check_lives(deployment)
    canary = deployment.decided.canary
    if canary is None:
        raise FailedPrecondition(
            f"{deployment.name} has no canary. Begin one, or update its model_version.",
            reason="NO_CANARY",
            deployment=deployment.name,
        )
    return point_at(deployment, canary.model_version)


def roll_back(deployment: Deployment) -> Deployment:
    """Return the deployment as before its last change: without its canary, or a version earlier.

    Raises:
        FailedPrecondition: If there is nothing to go back to.
    """
    _check_lives(deployment)
    if deployment.decided.canary is not None:
        return try_canary(deployment, None)
    if not deployment.previous_model_version:
        raise FailedPrecondition(
            f"{deployment.name} never had another version. Delete it, or update its model_version.",
            reason="NOTHING_TO_ROLL_BACK",
            deployment=deployment.name,
        )
    return point_at(deployment, deployment.previous_model_version)


def delete(deployment: Deployment) -> Deployment:
    """Return the deployment as it is taken down; it stops answering at once."""
    return replace(
        deployment,
        serving=Arms(""),
        state=DeploymentState.DELETING,
        state_reason="Is being taken down.",
    )


def decide(deployment: Deployment, *, held: bool, etag: str, now: datetime) -> Deployment:
    """Return a deployment after a decision: READY if its target holds everything, else PENDING.

    Args:
        deployment: With what was decided.
        held: Whether the target holds all of it already.
        etag: The new one.
        now: The present moment.
    """
    decided = replace(deployment, etag=etag, decide_time=now, update_time=now)
    if decided.state is DeploymentState.DELETING:
        return decided
    if held:
        return confirm(decided, now)
    return replace(
        decided, state=DeploymentState.PENDING, state_reason="Waits until its target holds it."
    )


def confirm(deployment: Deployment, now: datetime) -> Deployment:
    """Return the deployment after its target confirmed that it holds what was decided."""
    return replace(
        deployment,
        serving=deployment.decided,
        state=DeploymentState.READY,
        state_reason="Answers.",
        update_time=now,
    )


def fail(deployment: Deployment, reason: str, now: datetime) -> Deployment:
    """Return the deployment after its target gave up; what answered goes on answering."""
    return replace(deployment, state=DeploymentState.FAILED, state_reason=reason, update_time=now)


def check_etag(deployment: Deployment, etag: str) -> None:
    """Refuse a decision that was made on an older state; an empty etag always fits.

    Raises:
        Conflict: If the etag is not the newest one.
    """
    if etag and etag != deployment.etag:
        version = deployment.decided.model_version
        raise Conflict(
            f"{deployment.name} points at {version} now. Read it again and decide anew.",
            reason="STALE_ETAG",
            deployment=deployment.name,
            model_version=version,
        )


def _check_lives(deployment: Deployment) -> None:
    if deployment.state is DeploymentState.DELETING:
        raise FailedPrecondition(
            f"{deployment.name} is being taken down. Make it anew when it is gone.",
            reason="DEPLOYMENT_DELETING",
            deployment=deployment.name,
        )
