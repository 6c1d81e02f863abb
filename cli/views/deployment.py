"""Deployments and deploy targets as people read them."""

from __future__ import annotations

from collections.abc import Sequence

from attune.serving.v1 import deployment_pb2 as pb

from cli.version_names import short_version
from cli.views.figures import moment, words
from cli.views.screen import Screen


def state_of(found: pb.Deployment) -> str:
    """Return the state in a word."""
    return words(pb.Deployment.State.Name(found.state), "STATE_")


def arms_of(found: pb.Deployment | pb.DeploymentChange) -> str:
    """Return the version that was decided on, and its canary."""
    version = short_version(found.model_version) if found.model_version else "-"
    if not found.HasField("canary"):
        return version
    share = f"{found.canary.percent:g} %"
    return f"{version}, {share} {short_version(found.canary.model_version)}"


def show_deployment(screen: Screen, found: pb.Deployment) -> None:
    """Write what was decided, what answers, and the way back."""
    serving = short_version(found.serving_model_version) if found.serving_model_version else "-"
    back = short_version(found.previous_model_version) if found.previous_model_version else "-"
    screen.facts(
        [
            ("alias", found.name.rsplit("/", 1)[1]),
            ("state", f"{state_of(found)}: {found.state_reason}"),
            ("decided", arms_of(found)),
            ("answers", serving),
            ("way back", back),
            ("target", found.target),
            ("endpoint", found.endpoint),
            ("elsewhere", found.external_name),
            ("changed", moment(found.update_time)),
        ]
    )


def show_targets(screen: Screen, targets: Sequence[pb.DeployTarget]) -> None:
    """Write each target with what it means, the recommended one first."""
    for one in targets:
        screen.heading(f"{one.title} ({one.target}){', recommended' if one.recommended else ''}")
        screen.facts(
            [
                ("what", one.description),
                ("cost", one.cost),
                ("latency", one.latency),
                *(("limit", limit) for limit in one.limits),
                ("why", one.reason),
            ]
        )
        screen.say()
