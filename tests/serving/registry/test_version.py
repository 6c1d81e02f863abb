from datetime import UTC, datetime, timedelta

import pytest

from services.common.errors import FailedPrecondition, InvalidArgument
from services.serving.registry.parity import ParityReport
from services.serving.registry.version import (
    VersionState,
    check_ready,
    describe_wait,
    judge,
    lineage_of,
    reject,
    stage,
)
from tests.serving.parts import BASE, REVISION, a_job

NOW = datetime(2026, 11, 21, tzinfo=UTC)
LATER = NOW + timedelta(seconds=5)
HOLDS = ParityReport(3, 0, 0, 0.0, 0.01)
FAILS = ParityReport(3, 0, 1, 0.0, 0.01)


def a_version(state="STAGED"):
    staged = stage(lineage_of(a_job(name="j1")), 1, "v1", NOW)
    return {
        "STAGED": staged,
        "READY": judge(staged, HOLDS, NOW),
        "REJECTED": judge(staged, FAILS, NOW),
    }[state]


def test_a_job_becomes_a_staged_version_of_the_model_it_names():
    version = stage(lineage_of(a_job(name="j1")), 4, "v1", NOW)
    assert version.name == "projects/default/models/tickets/versions/4"
    assert version.state is VersionState.STAGED
    assert (version.base_model, version.base_model_revision) == (BASE, REVISION)
    assert version.report.tuned_score == 0.75
    assert version.parity is None
    assert version.planned_target == "shared"


def test_without_an_alias_the_spec_names_the_model():
    assert lineage_of(a_job(alias="")).model == "s1"


@pytest.mark.parametrize("target", ["", "mars"])
def test_a_version_is_made_whatever_target_the_plan_asks_for(target):
    job = a_job()
    job.serving.target = target
    assert stage(lineage_of(job), 1, "v1", NOW).planned_target == target


def test_every_lack_of_a_job_is_named():
    job = a_job("../../etc", alias="Not A Name")
    job.serving.parity_tolerance = 2
    with pytest.raises(InvalidArgument) as caught:
        lineage_of(job)
    assert [violation.field for violation in caught.value.violations] == [
        "serving.alias",
        "result.adapter_sha256",
        "serving.parity_tolerance",
    ]


def test_a_whole_model_takes_the_place_of_an_adapter():
    job = a_job("")
    job.result.merged_sha256 = "c" * 64
    assert lineage_of(job).job.result.merged_sha256 == "c" * 64
    job.result.merged_sha256 = "c"
    with pytest.raises(InvalidArgument, match=r"result\.merged_sha256"):
        lineage_of(job)


EVENTS = {
    "parity holds": lambda version: judge(version, HOLDS, LATER),
    "parity fails": lambda version: judge(version, FAILS, LATER),
    "not comparable": lambda version: reject(version, "rank 64", LATER),
}


@pytest.mark.parametrize(
    ("state", "event", "after"),
    [
        ("STAGED", "parity holds", "READY"),
        ("STAGED", "parity fails", "REJECTED"),
        ("STAGED", "not comparable", "REJECTED"),
        *[(state, event, None) for state in ("READY", "REJECTED") for event in EVENTS],
    ],
)
def test_every_state_and_event(state, event, after):
    version = a_version(state)
    if after is None:
        with pytest.raises(FailedPrecondition):
            EVENTS[event](version)
        return
    changed = EVENTS[event](version)
    assert changed.state == after
    assert changed.update_time == LATER
    assert changed.state_reason


def test_a_rejected_version_keeps_what_the_comparison_found():
    assert a_version("REJECTED").parity == FAILS


@pytest.mark.parametrize("state", ["STAGED", "REJECTED"])
def test_only_ready_versions_are_served(state):
    check_ready(a_version("READY"))
    with pytest.raises(FailedPrecondition):
        check_ready(a_version(state))


@pytest.mark.parametrize(
    ("engine_reason", "says"),
    [
        ("", "Waits for its parity proof."),
        ("not at hand yet", "Waits for the engine: not at hand yet"),
    ],
)
def test_a_staged_version_says_what_it_waits_for(engine_reason, says):
    assert describe_wait(a_version(), engine_reason).state_reason == says


def test_a_settled_version_waits_for_nothing():
    assert describe_wait(a_version("READY"), "down") == a_version("READY")
