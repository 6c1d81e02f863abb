"""A model version: an adapter that a job made, and whether the engine reproduces it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from attune.scheduler.v1.scheduler_pb2 import Job
from attune.spec.v1.evaluation_pb2 import EvaluationReport

from services.common.errors import FailedPrecondition, NotFound, Violation, invalid
from services.common.names import SEGMENT, last_part, project_of
from services.serving.engines.weights import Weights
from services.serving.registry.parity import ParityReport

SHA256 = re.compile(r"[0-9a-f]{64}")
BASE_ID_DIGITS = 12
"""Of a whole model's hash in its id as a base model, as the trainer names it."""


class VersionState(StrEnum):
    """Whether a version may be served."""

    STAGED = "STAGED"
    """Known; parity is not proved yet."""
    READY = "READY"
    """Parity holds."""
    REJECTED = "REJECTED"
    """The engine cannot load the adapter or does not reproduce the trainer."""
    DELETED = "DELETED"
    """Out of use for ever; its weights are gone."""


class Form(StrEnum):
    """How an engine holds a version."""

    ADAPTER = "ADAPTER"
    """As an adapter beside its base."""
    WHOLE = "WHOLE"
    """As a whole model, which it is, or which its adapter must be merged into first."""


@dataclass(frozen=True)
class Version:
    """One version, as it is kept."""

    id: str
    """Sorts by the time it was made."""
    name: str
    """`projects/{project}/models/{model}/versions/{version}`."""
    state: VersionState
    state_reason: str
    """Why it is in this state, in words."""
    job: str
    """Name of the job; there is one version for each."""
    spec: str
    spec_hash: str
    base_model: str
    base_model_revision: str
    adapter_sha256: str
    """Names the adapter's folder, and the adapter in the engine; empty for a whole model."""
    merged_sha256: str
    """Names the folder of the whole model; empty for an adapter that was never merged."""
    form: Form
    parity_tolerance: float
    """In nats."""
    planned_target: str
    """Deploy target that the spec asks for, whether there is such a one or not; empty: unknown."""
    report: EvaluationReport
    parity: ParityReport | None
    create_time: datetime
    update_time: datetime

    @property
    def is_adapter(self) -> bool:
        """Whether an engine holds it as an adapter beside its base."""
        return self.form is Form.ADAPTER

    @property
    def weights(self) -> Weights:
        """What an engine must hold to answer as this version."""
        if not self.is_adapter:
            return whole_weights(self.merged_sha256)
        return Weights(self.base_model, self.base_model_revision, self.adapter_sha256)


def whole_weights(merged_sha256: str) -> Weights:
    """Return the weights of a whole model, which the trainer put at hand as a base."""
    return Weights(f"merged/{merged_sha256[:BASE_ID_DIGITS]}", merged_sha256)


@dataclass(frozen=True)
class Lineage:
    """What a succeeded job says of the version to be made."""

    project: str
    model: str
    """Id of the model."""
    job: Job


def lineage_of(job: Job) -> Lineage:
    """Return what a succeeded job says of the version that it makes.

    Raises:
        InvalidArgument: If the job lacks what a version needs; every such field is named.
    """
    violations = []
    model = job.serving.alias or last_part(job.spec)
    if not SEGMENT.fullmatch(model):
        text = f"'{model[:80]}' cannot name a model. Parts are [a-z][a-z0-9-]*."
        violations.append(Violation("serving.alias", "RESOURCE_NAME", text))
    # An adapter, or a whole model; without either the adapter is missed.
    field = "merged_sha256" if job.result.merged_sha256 else "adapter_sha256"
    digest = getattr(job.result, field)
    if not SHA256.fullmatch(digest):
        text = f"'{digest[:80]}' is not a SHA-256 of 64 lower-case hex digits."
        violations.append(Violation(f"result.{field}", "SHA256", text))
    if not 0 < job.serving.parity_tolerance <= 1:
        text = f"{job.serving.parity_tolerance} nats; it must lie in (0, 1]."
        violations.append(Violation("serving.parity_tolerance", "RANGE", text))
    if violations:
        raise invalid(violations)
    return Lineage(project_of(job.name), model, job)


def stage(lineage: Lineage, number: int, version_id: str, now: datetime) -> Version:
    """Return the new version of a job.

    Args:
        lineage: From the job.
        number: One more than the newest version of the model, from 1.
        version_id: A new id.
        now: The present moment.
    """
    job = lineage.job
    return Version(
        id=version_id,
        name=f"projects/{lineage.project}/models/{lineage.model}/versions/{number}",
        state=VersionState.STAGED,
        state_reason="Waits for its parity proof.",
        job=job.name,
        spec=job.spec,
        spec_hash=job.spec_hash,
        base_model=job.base_model.id,
        base_model_revision=job.base_model.revision,
        adapter_sha256=job.result.adapter_sha256,
        merged_sha256=job.result.merged_sha256,
        form=Form.WHOLE if job.result.merged_sha256 else Form.ADAPTER,
        parity_tolerance=job.serving.parity_tolerance,
        planned_target=job.serving.target,
        report=job.result.report,
        parity=None,
        create_time=now,
        update_time=now,
    )


def judge(version: Version, parity: ParityReport, now: datetime) -> Version:
    """Return the version after its parity proof: READY if parity holds, else REJECTED.

    Raises:
        FailedPrecondition: If it is not STAGED: the outcome of a proof is final.
    """
    _check_staged(version)
    state = VersionState.READY if parity.holds else VersionState.REJECTED
    return replace(
        version, state=state, state_reason=parity.describe(), parity=parity, update_time=now
    )


def reject(version: Version, reason: str, now: datetime) -> Version:
    """Return the version after it could not even be compared.

    Raises:
        FailedPrecondition: If it is not STAGED.
    """
    _check_staged(version)
    return replace(version, state=VersionState.REJECTED, state_reason=reason, update_time=now)


def made_whole(version: Version, merged_sha256: str, now: datetime) -> Version:
    """Return a STAGED version that is served as one model from now on.

    Raises:
        FailedPrecondition: If it is not STAGED.
    """
    _check_staged(version)
    return replace(
        version,
        merged_sha256=merged_sha256,
        form=Form.WHOLE,
        state_reason="Merged into its base; waits for its parity proof.",
        update_time=now,
    )


def deleted(version: Version, now: datetime) -> Version:
    """Return the version out of use for ever."""
    return replace(
        version,
        state=VersionState.DELETED,
        state_reason=f"Deleted on {now:%Y-%m-%d} at {now:%H:%M} UTC; it was {version.state}.",
        update_time=now,
    )


def describe_wait(version: Version, engine_reason: str) -> Version:
    """Return a STAGED version with what it waits for now; any other comes back as it is.

    Args:
        version: As it is kept.
        engine_reason: Why no engine can prove it now; empty when one can.
    """
    if version.state is not VersionState.STAGED or not engine_reason:
        return version
    return replace(version, state_reason=f"Waits for the engine: {engine_reason}")


def check_ready(version: Version) -> None:
    """Refuse a version that may not be served.

    Raises:
        NotFound: If it was deleted.
        FailedPrecondition: If it is not READY.
    """
    check_lives(version)
    if version.state is not VersionState.READY:
        raise FailedPrecondition(
            f"{version.name} is {version.state}, not READY: {version.state_reason}",
            reason="VERSION_NOT_READY",
            model_version=version.name,
            state=version.state.value,
            state_reason=version.state_reason,
        )


def check_lives(version: Version) -> None:
    """Refuse a version that was deleted.

    Raises:
        NotFound: If it was.
    """
    if version.state is VersionState.DELETED:
        raise NotFound(
            f"{version.name} is gone: {version.state_reason} Use another version.",
            reason="VERSION_DELETED",
            name=version.name,
        )


def _check_staged(version: Version) -> None:
    if version.state is not VersionState.STAGED:
        raise FailedPrecondition(
            f"{version.name} is {version.state} already.",
            reason="VERSION_NOT_STAGED",
            model_version=version.name,
            state=version.state.value,
        )
