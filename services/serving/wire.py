"""Maps messages to domain objects and back; pure."""

from __future__ import annotations

from collections.abc import Mapping

from attune.serving.v1 import deployment_pb2, model_pb2

from services.common.wire_time import duration, timestamp
from services.serving.deployments.arm_figures import ArmFigures
from services.serving.deployments.deployment import (
    Canary,
    Change,
    ChangeKind,
    Deployment,
    DeploymentState,
)
from services.serving.registry.parity import ParityReport
from services.serving.registry.version import Form, Version, VersionState
from services.serving.targets.target import Recommendation

VERSION_STATES = {
    VersionState.STAGED: model_pb2.ModelVersion.STATE_STAGED,
    VersionState.READY: model_pb2.ModelVersion.STATE_READY,
    VersionState.REJECTED: model_pb2.ModelVersion.STATE_REJECTED,
    VersionState.DELETED: model_pb2.ModelVersion.STATE_DELETED,
}
FORMS = {
    Form.ADAPTER: model_pb2.ModelVersion.FORM_ADAPTER,
    Form.WHOLE: model_pb2.ModelVersion.FORM_WHOLE,
}
DEPLOYMENT_STATES = {
    DeploymentState.PENDING: deployment_pb2.Deployment.STATE_PENDING,
    DeploymentState.READY: deployment_pb2.Deployment.STATE_READY,
    DeploymentState.FAILED: deployment_pb2.Deployment.STATE_FAILED,
    DeploymentState.DELETING: deployment_pb2.Deployment.STATE_DELETING,
}
CHANGE_KINDS = {
    ChangeKind.CREATE: deployment_pb2.DeploymentChange.KIND_CREATE,
    ChangeKind.SWITCH: deployment_pb2.DeploymentChange.KIND_SWITCH,
    ChangeKind.CANARY: deployment_pb2.DeploymentChange.KIND_CANARY,
    ChangeKind.END_CANARY: deployment_pb2.DeploymentChange.KIND_END_CANARY,
    ChangeKind.PROMOTE: deployment_pb2.DeploymentChange.KIND_PROMOTE,
    ChangeKind.ROLLBACK: deployment_pb2.DeploymentChange.KIND_ROLLBACK,
    ChangeKind.DELETE: deployment_pb2.DeploymentChange.KIND_DELETE,
}


def version_to_proto(version: Version) -> model_pb2.ModelVersion:
    """Return the message of a version."""
    return model_pb2.ModelVersion(
        name=version.name,
        state=VERSION_STATES[version.state],
        state_reason=version.state_reason,
        job=version.job,
        spec=version.spec,
        spec_hash=version.spec_hash,
        base_model=version.base_model,
        base_model_revision=version.base_model_revision,
        adapter_sha256=version.adapter_sha256,
        merged_sha256=version.merged_sha256,
        form=FORMS[version.form],
        planned_target=version.planned_target,
        report=version.report,
        parity=None if version.parity is None else parity_to_proto(version.parity),
        create_time=timestamp(version.create_time),
        update_time=timestamp(version.update_time),
    )


def parity_to_proto(parity: ParityReport) -> model_pb2.ParityReport:
    """Return the message of a parity report."""
    return model_pb2.ParityReport(
        prompt_count=parity.prompt_count,
        token_mismatch_count=parity.token_mismatch_count,
        text_mismatch_count=parity.text_mismatch_count,
        max_logprob_difference=parity.max_logprob_difference,
        tolerance=parity.tolerance,
    )


def parity_from_proto(message: model_pb2.ParityReport) -> ParityReport:
    """Return the parity report in a message."""
    return ParityReport(
        prompt_count=message.prompt_count,
        token_mismatch_count=message.token_mismatch_count,
        text_mismatch_count=message.text_mismatch_count,
        max_logprob_difference=message.max_logprob_difference,
        tolerance=message.tolerance,
    )


def deployment_to_proto(
    deployment: Deployment,
    endpoint: str,
    figures: Mapping[str, ArmFigures] | None = None,
    comparison: str = "",
) -> deployment_pb2.Deployment:
    """Return the message of a deployment.

    Args:
        deployment: As it is kept.
        endpoint: Base URL for OpenAI clients.
        figures: Of each version that was decided on.
        comparison: What they say about promoting the canary.
    """
    return deployment_pb2.Deployment(
        name=deployment.name,
        model_version=deployment.decided.model_version,
        canary=_canary_to_proto(deployment.decided.canary),
        target=deployment.target,
        state=DEPLOYMENT_STATES[deployment.state],
        state_reason=deployment.state_reason,
        serving_model_version=deployment.serving.model_version,
        previous_model_version=deployment.previous_model_version,
        external_name=deployment.external_name,
        endpoint=endpoint,
        etag=deployment.etag,
        create_time=timestamp(deployment.create_time),
        update_time=timestamp(deployment.update_time),
        arms=[_figures_to_proto(name, one) for name, one in (figures or {}).items()],
        comparison=comparison,
    )


def change_to_proto(change: Change) -> deployment_pb2.DeploymentChange:
    """Return the message of a decision about an alias."""
    return deployment_pb2.DeploymentChange(
        kind=CHANGE_KINDS[change.kind],
        create_time=timestamp(change.create_time),
        author=change.decision.author,
        reason=change.decision.reason,
        override_reason=change.decision.override_reason,
        model_version=change.arms.model_version,
        canary=_canary_to_proto(change.arms.canary),
    )


def recommendation_to_proto(one: Recommendation) -> deployment_pb2.DeployTarget:
    """Return the message of what a target means for a version."""
    return deployment_pb2.DeployTarget(
        target=one.offer.target,
        title=one.offer.title,
        description=one.offer.description,
        cost=one.offer.cost,
        hour_cost_micro_usd=one.offer.hour_cost_micro_usd,
        latency=one.offer.latency,
        limits=one.offer.limits,
        recommended=one.is_best,
        reason=one.reason,
        objection=one.offer.objection,
    )


def _canary_to_proto(canary: Canary | None) -> deployment_pb2.Canary | None:
    if canary is None:
        return None
    return deployment_pb2.Canary(model_version=canary.model_version, percent=canary.percent)


def _figures_to_proto(model_version: str, figures: ArmFigures) -> deployment_pb2.ArmFigures:
    return deployment_pb2.ArmFigures(
        model_version=model_version,
        request_count=figures.request_count,
        error_count=figures.error_count,
        first_token_p50=duration(figures.first_token.quantile(0.5)),
        first_token_p95=duration(figures.first_token.quantile(0.95)),
        total_p50=duration(figures.total.quantile(0.5)),
        total_p95=duration(figures.total.quantile(0.95)),
    )
