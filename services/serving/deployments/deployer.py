"""Decisions about deployments: checked, prepared, then kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from attune.serving.v1 import deployment_pb2 as pb
from attune.spec.v1.evaluation_pb2 import EvaluationReport

from services.common.clock import Clock, new_id
from services.common.errors import FailedPrecondition, Unavailable, Violation, invalid
from services.common.names import SEGMENT
from services.serving.deployments import deployment as domain
from services.serving.deployments.arm_meter import ArmMeter, comparison_of
from services.serving.deployments.decision_fields import read_decision, read_path
from services.serving.deployments.deployment import (
    Canary,
    ChangeKind,
    Decision,
    Deployment,
)
from services.serving.deployments.deployment_store import DeploymentStore
from services.serving.registry.version import Version, VersionState, check_ready
from services.serving.registry.version_store import VersionStore
from services.serving.targets.target import Recommendation, Target, TargetFailed, recommend

VERSION_FIELD = "deployment.model_version"
CANARY_FIELD = "deployment.canary.model_version"


class Deployer:
    """Makes and changes deployments."""

    def __init__(
        self,
        deployments: DeploymentStore,
        versions: VersionStore,
        targets: Mapping[str, Target],
        meter: ArmMeter,
        clock: Clock,
    ) -> None:
        """Keep what a decision needs.

        Args:
            deployments: Where they are kept.
            versions: The registry.
            targets: Those that this installation offers, by name, in their order.
            meter: What became of requests.
            clock: Of the service.
        """
        self._deployments = deployments
        self._versions = versions
        self._targets = targets
        self._meter = meter
        self._clock = clock

    async def offers(self, model_version: str) -> list[Recommendation]:
        """Return what each target means for a version, the recommended one first.

        Raises:
            NotFound: If there is no such version.
        """
        version = await self._versions.get(model_version, field="model_version")
        offers = [await target.offer(version) for target in self._targets.values()]
        return recommend(offers, version.planned_target)

    async def create(self, request: pb.CreateDeploymentRequest, project: str) -> pb.Deployment:
        """Make a deployment; it is READY at once if its target holds its version or soon can.

        Raises:
            InvalidArgument: If a field breaks its rule.
            NotFound: If there is no such version.
            FailedPrecondition: If the version may not be deployed, or not to this target.
            AlreadyExists: If the alias is taken.
            ResourceExhausted: If the target has no room.
        """
        if answer := await self._deployments.find_answer(request):
            return answer
        decision = read_decision(request.decision)
        target = self._target(request.deployment_id, request.deployment)
        version = await self._version(request.deployment.model_version, VERSION_FIELD, decision)
        now = self._clock.now()
        made = domain.create(
            f"projects/{project}/deployments/{request.deployment_id}",
            target.name,
            version.name,
            etag=new_id(now),
            now=now,
        )
        check = await self._room(target, [version])
        if await self._is_held(target, [version]):
            made = domain.confirm(made, now)
        return await self._deployments.create(request, made, decision, check)

    async def update(self, request: pb.UpdateDeploymentRequest) -> pb.Deployment:
        """Point an alias at another version, or begin, change or end its canary.

        Raises:
            InvalidArgument: If a field breaks its rule, or the mask names another field.
            NotFound: If there is no such deployment or version.
            FailedPrecondition: As `create`, or if the target has no canaries.
            Conflict: If the etag is not the newest one.
            ResourceExhausted: If the target has no room.
        """
        if answer := await self._deployments.find_answer(request):
            return answer
        path = read_path(list(request.update_mask.paths))
        wanted = request.deployment
        before = await self._deployments.get(wanted.name, field="deployment.name")
        decision = read_decision(request.decision)
        if path == "model_version":
            version = await self._version(wanted.model_version, VERSION_FIELD, decision)
            return await self._decide(
                request,
                before,
                wanted.etag,
                ChangeKind.SWITCH,
                decision,
                lambda one: domain.point_at(one, version.name),
                [version],
            )
        if not wanted.HasField("canary"):
            return await self._decide(
                request,
                before,
                wanted.etag,
                ChangeKind.END_CANARY,
                decision,
                lambda one: domain.try_canary(one, None),
                [],
            )
        self._check_canary(before, wanted.canary)
        version = await self._version(wanted.canary.model_version, CANARY_FIELD, decision)
        canary = Canary(version.name, wanted.canary.percent)
        return await self._decide(
            request,
            before,
            wanted.etag,
            ChangeKind.CANARY,
            decision,
            lambda one: domain.try_canary(one, canary),
            [version],
        )

    async def promote(self, request: pb.PromoteDeploymentRequest) -> pb.Deployment:
        """Make the canary the version.

        Raises:
            NotFound: If there is no such deployment.
            FailedPrecondition: If it has no canary, that may not be deployed, or fails more often.
            Conflict: If the etag is not the newest one.
        """
        if answer := await self._deployments.find_answer(request):
            return answer
        before = await self._deployments.get(request.name)
        decision = read_decision(request.decision)
        canary = domain.promote(before).decided.model_version
        version = await self._version(canary, "name", decision)
        await self._check_arms(before, decision)
        return await self._decide(
            request,
            before,
            request.etag or before.etag,
            ChangeKind.PROMOTE,
            decision,
            domain.promote,
            [version],
        )

    async def roll_back(self, request: pb.RollbackDeploymentRequest) -> pb.Deployment:
        """Take back the last change. What was deployed once needs no new judgement.

        Raises:
            NotFound: If there is no such deployment.
            FailedPrecondition: If there is nothing to go back to.
            Conflict: If the etag is not the newest one.
        """
        if answer := await self._deployments.find_answer(request):
            return answer
        before = await self._deployments.get(request.name)
        after = domain.roll_back(before)
        version = await self._versions.get(after.decided.model_version)
        return await self._decide(
            request,
            before,
            request.etag or before.etag,
            ChangeKind.ROLLBACK,
            read_decision(request.decision),
            domain.roll_back,
            [version],
        )

    async def delete(self, request: pb.DeleteDeploymentRequest) -> pb.Deployment:
        """Take a deployment down; it stops answering at once.

        Raises:
            NotFound: If there is no such deployment.
            Conflict: If the etag is not the newest one.
        """
        if answer := await self._deployments.find_answer(request):
            return answer
        return await self._deployments.decide(
            request,
            request.name,
            request.etag,
            ChangeKind.DELETE,
            read_decision(request.decision),
            domain.delete,
            lambda *_: None,
            held=False,
        )

    async def _decide(
        self,
        request: pb.UpdateDeploymentRequest
        | pb.PromoteDeploymentRequest
        | pb.RollbackDeploymentRequest,
        before: Deployment,
        etag: str,
        kind: ChangeKind,
        decision: Decision,
        act: Callable[[Deployment], Deployment],
        versions: Sequence[Version],
    ) -> pb.Deployment:
        """Let the target hold what is new, then keep the decision."""
        domain.check_etag(before, etag)
        target = self._target_of(before)
        check = await self._room(target, versions)
        prepared = {version.name for version in versions}
        rest = set(act(before).decided.model_versions) - prepared
        held = await self._is_held(target, versions) and rest <= set(before.serving.model_versions)
        return await self._deployments.decide(
            request, before.name, before.etag, kind, decision, act, check, held=held
        )

    async def _is_held(self, target: Target, versions: Sequence[Version]) -> bool:
        """Let a target hold versions before they are switched to, and return whether it does.

        Raises:
            FailedPrecondition: If it cannot.
            ResourceExhausted: If it has no room.
        """
        held = True
        try:
            for version in versions:
                held = await target.prepare(version) and held
        except Unavailable:
            return False  # Nothing answers, so nothing can fail: the decision is done later.
        except TargetFailed as error:
            raise FailedPrecondition(
                str(error), reason="TARGET_REFUSED", target=target.name
            ) from None
        return held

    async def _room(
        self, target: Target, versions: Sequence[Version]
    ) -> Callable[[Deployment, list[Deployment]], None]:
        """Return what refuses versions that a target cannot take beside all others."""
        registered = {
            one.name: one
            for one in await self._versions.list_named(
                {
                    name
                    for other in await self._deployments.list_all()
                    for name in other.needed_versions
                }
            )
        }

        def check(deployment: Deployment, others: list[Deployment]) -> None:
            beside = [
                (other, registered[name])
                for other in [*others, deployment]
                if other.target == target.name
                for name in other.decided.model_versions
                if name in registered
            ]
            for version in versions:
                target.check(version, beside)

        return check

    async def _version(self, name: str, field: str, decision: Decision) -> Version:
        """Return a version that may be deployed.

        Raises:
            NotFound: If there is none.
            FailedPrecondition: If it is not READY, or worse than its base, unless overridden.
        """
        version = await self._versions.get(name, field=field)
        was_compared = version.state is VersionState.REJECTED and version.parity is not None
        if not (was_compared and decision.override_reason):
            check_ready(version)
        is_worse = version.report.verdict == EvaluationReport.VERDICT_WORSE
        if is_worse and not decision.override_reason:
            raise FailedPrecondition(
                f"{version.name} is worse than its base by its evaluation. Deploy another version, "
                "or say in decision.override_reason why this one all the same.",
                reason="VERDICT_WORSE",
                model_version=version.name,
            )
        return version

    async def _check_arms(self, deployment: Deployment, decision: Decision) -> None:
        """Refuse a canary that fails more often than the version beside it, unless overridden."""
        (figures,) = await self._meter.figures([deployment])
        found = comparison_of(deployment, figures)
        if found is not None and found.is_worse and not decision.override_reason:
            raise FailedPrecondition(
                f"{found.text} Roll back, or say in decision.override_reason why it is to answer "
                "all the same.",
                reason="CANARY_WORSE",
                deployment=deployment.name,
                comparison=found.text,
            )

    def _target(self, alias: str, wanted: pb.Deployment) -> Target:
        violations = []
        if not SEGMENT.fullmatch(alias):
            text = f"'{alias[:80]}' is not an alias of the form [a-z]([a-z0-9-]{{0,61}}[a-z0-9])?."
            violations.append(Violation("deployment_id", "ALIAS", text))
        if wanted.target not in self._targets:
            known = " or ".join(f"'{name}'" for name in self._targets)
            text = f"'{wanted.target[:80]}' is not a deploy target here. Use {known}."
            violations.append(Violation("deployment.target", "TARGET", text))
        if wanted.HasField("canary"):
            text = "A new alias has nothing to try a canary beside. Add it with an update."
            violations.append(Violation("deployment.canary", "ABSENT", text))
        if violations:
            raise invalid(violations)
        return self._targets[wanted.target]

    def _target_of(self, deployment: Deployment) -> Target:
        """Return the target of a deployment.

        Raises:
            FailedPrecondition: If this installation does not offer it any more.
        """
        target = self._targets.get(deployment.target)
        if target is None:
            raise FailedPrecondition(
                f"The target '{deployment.target}' of {deployment.name} is not offered here any "
                "more. Configure it again, or delete the deployment.",
                reason="TARGET_NOT_OFFERED",
                deployment=deployment.name,
                target=deployment.target,
            )
        return target

    def _check_canary(self, deployment: Deployment, canary: pb.Canary) -> None:
        if not canary.HasField("percent") or not 0 <= canary.percent <= 100:
            shown = f"{canary.percent:g}" if canary.HasField("percent") else "Nothing"
            text = f"{shown}; it must lie in [0, 100]."
            raise invalid([Violation("deployment.canary.percent", "RANGE", text)])
        if not self._target_of(deployment).has_canary:
            raise FailedPrecondition(
                f"The target '{deployment.target}' serves one version of a deployment. Deploy the "
                "other one under an alias of its own.",
                reason="NO_CANARY_THERE",
                deployment=deployment.name,
                target=deployment.target,
            )
