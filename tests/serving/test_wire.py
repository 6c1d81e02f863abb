from dataclasses import replace
from datetime import UTC, datetime

import pytest
from attune.serving.v1 import deployment_pb2

from services.serving import wire
from services.serving.deployments.arm_figures import ArmFigures
from services.serving.deployments.deployment import (
    Arms,
    Canary,
    Change,
    ChangeKind,
    Decision,
    create,
)
from services.serving.registry.parity import ParityReport
from services.serving.registry.version import judge, lineage_of, stage
from tests.serving.parts import a_job

NOW = datetime(2026, 11, 21, 1, 2, 3, tzinfo=UTC)
PARITY = ParityReport(5, 1, 2, 0.25, 0.01)
VERSION = judge(stage(lineage_of(a_job(name="j1")), 1, "v1", NOW), PARITY, NOW)


def unset(message):
    """Return the names of fields that were not filled in."""
    filled = {field.name for field, _ in message.ListFields()}
    return {field.name for field in message.DESCRIPTOR.fields} - filled


def test_every_field_of_a_version_is_filled_in():
    message = wire.version_to_proto(VERSION)
    assert unset(message) == {"merged_sha256"}
    whole = replace(VERSION, adapter_sha256="", merged_sha256="c" * 64)
    assert unset(wire.version_to_proto(whole)) == {"adapter_sha256"}
    assert unset(message.parity) == set()
    assert message.create_time.ToDatetime(UTC) == NOW
    assert wire.parity_from_proto(message.parity) == PARITY


def test_every_field_of_a_deployment_is_filled_in():
    name = "projects/default/deployments/tickets"
    made = create(name, "shared", VERSION.name, etag="e", now=NOW)
    message = wire.deployment_to_proto(made, "http://x")
    assert unset(message) == {
        "canary", "serving_model_version", "previous_model_version", "external_name", "arms",
        "comparison",
    }  # fmt: skip
    assert message.state == deployment_pb2.Deployment.STATE_PENDING
    arms = Arms("v2", Canary("v3", 12.5))
    full = replace(
        made, decided=arms, serving=arms, previous_model_version="v1", external_name="endpoint"
    )
    figures = ArmFigures()
    for status in (200, 503):
        figures.add(status, 0.25, 61.5)
    message = wire.deployment_to_proto(full, "http://x", {"v2": figures}, "No difference.")
    assert unset(message) == unset(message.arms[0]) == set()
    assert message.arms[0].total_p50.ToTimedelta().total_seconds() == pytest.approx(61.5, rel=0.05)
    assert (message.canary.model_version, message.canary.percent) == ("v3", 12.5)


def test_every_field_of_a_decision_is_filled_in():
    decision = Decision("ann", "shorter answers", "worse on old rows only")
    change = Change(ChangeKind.CANARY, decision, Arms("v2", Canary("v3", 12.5)), NOW)
    message = wire.change_to_proto(change)
    assert unset(message) == set()
    assert message.kind == deployment_pb2.DeploymentChange.KIND_CANARY
    assert set(wire.CHANGE_KINDS) == set(ChangeKind)
