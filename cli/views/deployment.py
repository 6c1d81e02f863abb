"""Deployments and deploy targets as people read them."""

from __future__ import annotations

from collections.abc import Sequence

from attune.serving.v1 import deployment_pb2 as pb
from google.protobuf.duration_pb2 import Duration

from cli.version_names import short_version
from cli.views.figures import moment, number, words
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
    if any(one.request_count for one in found.arms):
        screen.say()
        _show_arms(screen, found)


def _show_arms(screen: Screen, found: pb.Deployment) -> None:
    """Write what became of requests since the last decision, and what that says."""
    headers = ("since the last decision", "requests", "failed", "first token", "whole answer")
    rows = [
        (
            short_version(one.model_version),
            number(one.request_count),
            number(one.error_count),
            _times(one.first_token_p50, one.first_token_p95),
            _times(one.total_p50, one.total_p95),
        )
        for one in found.arms
    ]
    screen.table(headers, rows)
    screen.say("Times: half of the requests, and 95 in 100, took at most so long.")
    if found.comparison:
        screen.say(found.comparison)


def _times(median: Duration, most: Duration) -> str:
    """Return a time's median and 95th in 100; a dash where nothing was counted."""
    if not most.ToNanoseconds():
        return "-"
    return f"{median.ToMilliseconds():,} ms, {most.ToMilliseconds():,} ms"


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
