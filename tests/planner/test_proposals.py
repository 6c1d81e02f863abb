"""A complete plan in one call."""

from dataclasses import replace
from uuid import uuid4

import pytest
from attune.planner.v1 import planner_pb2
from attune.spec.v1 import spec_pb2

from services.common.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable
from services.planner.brief import BriefPatch
from services.planner.spec.rules import violations
from services.planner.vocabulary import Signal
from tests.planner.plans import SENTENCE, facts
from tests.planner.talk import FIRST, PROJECT, ROWS


def problem_choice(spec: spec_pb2.Spec) -> spec_pb2.Choice:
    return next(each for each in spec.choices if each.field_path == "objective.problem")


async def test_a_dataset_alone_gives_a_complete_plan(talk):
    spec = await talk.propose(ROWS)
    assert violations(spec) == []
    assert (spec.revision, spec.conversation, len(spec.stages)) == (1, "", 1)
    assert spec.objective.task == "extraction"
    assert problem_choice(spec).source == spec_pb2.Choice.SOURCE_DATA
    assert spec.compute.available
    assert (await talk.specs.get(spec.name)) == spec
    assert (await talk.approve(spec)).state == spec_pb2.Spec.STATE_APPROVED


async def test_dataset_and_objective_together(talk):
    spec = await talk.propose(ROWS, objective=SENTENCE, patch=FIRST)
    assert spec.objective.problem == SENTENCE
    assert problem_choice(spec).source == spec_pb2.Choice.SOURCE_USER


async def test_rows_that_were_never_compared_with_the_hold_out_are_pointed_out(talk):
    held = f"{PROJECT}/datasets/b1"
    talk.sources.datasets[held] = facts("b1", row_count=60)

    def told(spec: spec_pb2.Spec) -> bool:
        assert spec.data.holdout_dataset == held
        return "overlap_unknown" in {notice.code for notice in spec.notices}

    aside = await talk.propose(ROWS, held)
    assert told(aside)
    aside.serving.alias = "other"
    assert told(await talk.update(aside, "serving.alias"))
    compared = replace(talk.sources.datasets[ROWS], holdout_dataset=held)
    talk.sources.datasets[ROWS] = compared
    assert not told(await talk.propose(ROWS, held))


async def test_an_objective_alone_gives_a_plan_that_says_what_it_rests_on(talk):
    spec = await talk.propose(objective=SENTENCE, patch=FIRST)
    assert spec.data.provisional
    assert spec.verdict.reason


async def test_an_objective_that_nothing_was_read_in_is_the_problem_all_the_same(talk):
    spec = await talk.propose(ROWS, objective="  Tidy   them ")
    assert spec.objective.problem == "Tidy them"


@pytest.mark.parametrize("signal", [Signal.HARMFUL, Signal.OUT_OF_SCOPE, Signal.ASKS_CAPABILITY])
async def test_what_no_plan_may_exist_for_is_refused(talk, signal):
    with pytest.raises(FailedPrecondition) as error:
        await talk.propose(objective="x", patch=BriefPatch(signals=frozenset({signal})))
    assert error.value.reason == "NO_PLAN_POSSIBLE"


async def test_neither_dataset_nor_objective_an_unknown_dataset_and_too_long_a_text(talk):
    for datasets, objective, kind in (
        ((), "  ", InvalidArgument),
        ((f"{PROJECT}/datasets/none",), "", NotFound),
        ((), "x" * 8001, InvalidArgument),
        ((ROWS, ROWS), "", InvalidArgument),
        (("projects/other/datasets/a1",), "", InvalidArgument),
    ):
        with pytest.raises(kind):
            await talk.propose(*datasets, objective=objective)


async def test_without_the_scheduler_nothing_is_kept(talk):
    talk.scheduler.is_away = True
    with pytest.raises(Unavailable):
        await talk.propose(ROWS)
    assert await talk.specs.list_newest("default", 0, "", 9) == []


async def test_a_repeated_request_gives_the_same_plan_and_the_same_data_the_same_hash(talk):
    request = planner_pb2.ProposeSpecRequest(
        parent=PROJECT, datasets=[ROWS], request_id=str(uuid4())
    )
    first = await talk.proposals.propose(request)
    assert await talk.proposals.propose(request) == first
    assert (await talk.propose(ROWS)).hash == first.hash


async def test_a_plan_of_one_call_is_edited_and_restored_like_any_other(talk):
    spec = await talk.propose(ROWS)
    spec.serving.alias = "other"
    edited = await talk.update(spec, "serving.alias")
    back = await talk.restore(edited, 1)
    first = await talk.specs.get(spec.name, 1)
    assert (back.revision, back.hash) == (3, first.hash)
