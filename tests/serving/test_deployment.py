from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.common.errors import (
    Conflict,
    FailedPrecondition,
    InvalidArgument,
    ResourceExhausted,
)
from services.serving.deployment import (
    DeploymentState,
    check_etag,
    check_mask,
    check_request,
    check_room,
    check_servable,
    confirm,
    create,
    point_at,
)
from services.serving.parity import ParityReport
from services.serving.residency import DEPLOYED_MAX
from services.serving.version import judge, lineage_of, stage
from tests.serving.parts import BASE, REVISION, a_job

NOW = datetime(2026, 11, 21, tzinfo=UTC)
LATER = NOW + timedelta(seconds=5)
STAGED = stage(lineage_of(a_job(name="j1")), 1, "v1", NOW)
VERSION = judge(STAGED, ParityReport(1, 0, 0, 0.0, 0.01), NOW)
OTHER = replace(VERSION, name="projects/default/models/tickets/versions/2", adapter_sha256="c" * 64)


def a_deployment():
    return create("default", "tickets", VERSION, "e1", NOW)


def test_a_new_deployment_is_pending_until_the_engine_confirms_it():
    made = a_deployment()
    assert (made.name, made.state) == ("projects/default/deployments/tickets", "PENDING")
    ready = confirm(made, LATER)
    assert ready.state is DeploymentState.READY
    assert ready.etag == made.etag
    with pytest.raises(FailedPrecondition):
        confirm(ready, LATER)


@pytest.mark.parametrize(("held", "state"), [(True, "READY"), (False, "PENDING")])
@pytest.mark.parametrize("before", [a_deployment(), confirm(a_deployment(), NOW)])
def test_an_alias_can_be_pointed_elsewhere_from_every_state(before, held, state):
    after = point_at(before, OTHER, held=held, etag="e2", now=LATER)
    assert (after.model_version, after.adapter_sha256) == (OTHER.name, OTHER.adapter_sha256)
    assert (after.state, after.etag, after.create_time) == (state, "e2", NOW)


def test_every_bad_field_of_a_request_is_named():
    check_request("tickets", "shared")
    with pytest.raises(InvalidArgument) as caught:
        check_request("base:x", "sagemaker")
    assert len(caught.value.violations) == 2


@pytest.mark.parametrize("paths", [[], ["target"], ["model_version", "target"]])
def test_only_the_version_can_be_updated(paths):
    check_mask(["model_version"])
    with pytest.raises(InvalidArgument):
        check_mask(paths)


def test_an_old_etag_is_refused_and_an_empty_one_fits():
    check_etag(a_deployment(), "")
    check_etag(a_deployment(), "e1")
    with pytest.raises(Conflict):
        check_etag(a_deployment(), "e0")


@pytest.mark.parametrize(
    ("version", "model", "revision"),
    [(STAGED, BASE, REVISION), (VERSION, BASE, "r2"), (VERSION, "other/base", REVISION)],
)
def test_what_the_engine_cannot_hold_is_refused(version, model, revision):
    check_servable(VERSION, BASE, REVISION)
    check_servable(VERSION, BASE, "")
    with pytest.raises(FailedPrecondition):
        check_servable(version, model, revision)


def test_one_place_of_the_engine_stays_free_of_deployments():
    deployed = {f"{number}" * 64 for number in range(DEPLOYED_MAX)}
    check_room(deployed, "0" * 64)
    with pytest.raises(ResourceExhausted):
        check_room(deployed, "f" * 64)
