"""The target `shared`: an adapter on its base's engine, beside other adapters."""

from __future__ import annotations

from collections.abc import Sequence

from services.common.errors import FailedPrecondition, ResourceExhausted, Unavailable
from services.serving.deployments.deployment import Deployment
from services.serving.engines.engine_client import EngineRefused
from services.serving.engines.pool import Engines
from services.serving.engines.residency import DEPLOYED_MAX, LORAS_MAX
from services.serving.engines.weights import Weights
from services.serving.registry.version import Version
from services.serving.targets.target import Client, Offer, Progress, TargetFailed

NAME = "shared"


class Shared:
    """Adapters of one base share its engines; what is deployed stays loaded."""

    name = NAME
    has_canary = True

    def __init__(self, engines: Engines) -> None:
        """Keep the engines."""
        self._engines = engines

    async def offer(self, version: Version) -> Offer:
        """Return what it means for a version."""
        running = self._engines.waits_for(version.weights) is None
        soon = "under a second" if running else "as soon as its engine is loaded"
        return Offer(
            target=self.name,
            title="Shared engine",
            description=(
                f"The adapter is loaded beside others into the engine of {version.base_model}, "
                "which runs anyway."
            ),
            cost="Nothing besides the engine of its base, whatever the number of adapters.",
            hour_cost_micro_usd=0,
            latency=f"Answers {soon}; an adapter costs each token a little more than its base.",
            limits=(
                f"An engine holds {LORAS_MAX} adapters, {DEPLOYED_MAX} of them deployed.",
                "All adapters of the base share its throughput.",
            ),
            objection=_objection(version),
        )

    def check(self, version: Version, others: Sequence[tuple[Deployment, Version]]) -> None:
        """Refuse a whole model, and one deployed adapter too many.

        One place in the engine stays free of deployments: without it no new version could be proved
        or compared, and no alias could be switched without a failed request.

        Raises:
            FailedPrecondition: If the version is a whole model.
            ResourceExhausted: If the engine's places for deployments are taken.
        """
        if objection := _objection(version):
            raise FailedPrecondition(
                f"{version.name}: {objection}", reason="WHOLE_MODEL", model_version=version.name
            )
        model = version.weights.model
        deployed = {
            other.weights.adapter_sha256 for _, other in others if other.weights.model == model
        }
        if len(deployed | {version.adapter_sha256}) > DEPLOYED_MAX:
            raise ResourceExhausted(
                f"{len(deployed)} adapters of {version.base_model} are deployed; its engine holds "
                f"at most {DEPLOYED_MAX} deployed ones. Point an existing alias at this version, "
                "delete a deployment, or deploy it to the target 'dedicated'.",
                reason="NO_PLACE_FOR_DEPLOYMENT",
                deployed_count=str(len(deployed)),
                deployed_max=str(DEPLOYED_MAX),
            )

    async def prepare(self, version: Version) -> bool:
        """Load the adapter into every engine of its base that answers.

        Raises:
            Unavailable: If none answers now.
            TargetFailed: If the engine refuses the adapter.
            ResourceExhausted: If it has no room.
        """
        try:
            await self._engines.keep(version.weights)
        except EngineRefused as error:
            raise TargetFailed(f"The engine refuses {version.name}: {error.message}") from None
        return True

    async def reconcile(self, deployment: Deployment, versions: Sequence[Version]) -> Progress:
        """Load what is missing.

        Raises:
            TargetFailed: If the engine refuses an adapter.
        """
        for version in versions:
            try:
                await self.prepare(version)
            except (Unavailable, ResourceExhausted) as error:
                return Progress(is_done=False, message=error.message)
        return Progress(is_done=True)

    async def withdraw(self, deployment: Deployment) -> bool:
        """Return true: the adapter goes when its place is needed."""
        return True

    def weights(self, version: Version) -> Weights | None:
        """Return the adapter beside its base."""
        return version.weights

    def client(self, deployment: Deployment, version: Version) -> Client | None:
        """Return none: engines of ours answer."""
        return None


def _objection(version: Version) -> str:
    if version.is_adapter:
        return ""
    return "It is a whole model, which has no base to share an engine with. Use 'dedicated'."
