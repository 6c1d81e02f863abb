"""What a message does to a plan: what it must change, and nothing else."""

import asyncio
import threading
from uuid import uuid4

import pytest
from attune.spec.v1 import spec_pb2, stage_pb2

from services.common.errors import NotFound
from services.planner.brief import BriefPatch, Criterion
from services.planner.vocabulary import Command, Shape, Signal, Task
from tests.planner.plans import facts
from tests.planner.talk import FIRST, PROJECT, ROWS, TUNED, changed, codes, talking

FINE_TUNE = spec_pb2.Verdict.RECOMMENDATION_FINE_TUNE


def told(**changes) -> BriefPatch:
    return BriefPatch(**{**vars(FIRST), **changes})


async def test_what_is_missing_is_asked_once_and_then_proposed(talk):
    asked = await talk.say(told(target=None), ROWS)
    assert asked.question.field_path == "objective.success_criteria.0.target"
    assert asked.question.text
    assert asked.question.reason
    assert asked.question.options
    assert asked.spec == ""
    proposed = await talk.say(BriefPatch(target=0.9))
    assert (proposed.spec_revision, proposed.HasField("question")) == (1, False)
    assert not proposed.changes


async def test_at_most_three_questions_then_it_says_what_is_missing(talk):
    turns = [await talk.say(BriefPatch()) for _ in range(5)]
    assert 1 <= sum(turn.HasField("question") for turn in turns) <= 3
    assert all(turn.reply for turn in turns)
    assert turns[-1].spec == ""


async def test_told_to_propose_it_asks_nothing(talk):
    patch = told(target=None, command=Command.PROPOSE_NOW)
    turn = await talk.say(patch, ROWS)
    assert turn.spec_revision == 1
    nothing = await talk.say(BriefPatch(command=Command.PROPOSE_NOW))
    assert nothing.spec == ""


async def test_with_rows_alone_the_objective_is_read_from_them(talk):
    turn = await talk.say(BriefPatch(command=Command.PROPOSE_NOW), ROWS)
    assert "a1.jsonl" in (await talk.specs.get(turn.spec)).objective.problem


async def test_described_rows_give_a_provisional_plan_that_the_upload_settles(talk):
    turn = await talk.say(FIRST)
    while turn.HasField("question"):
        turn = await talk.say(BriefPatch(command=Command.PROPOSE_NOW))
    plan = await talk.newest()
    assert plan.data.provisional
    assert "provisional" in {notice.code for notice in plan.notices}
    settled = await talk.say(BriefPatch(), ROWS)
    assert settled.spec_revision == 2
    assert not (await talk.newest()).data.provisional


async def test_advice_against_training_is_a_plan_without_stages_and_without_an_estimate(talk):
    patch = told(data_row_count=3, data_shape=Shape.DEMONSTRATIONS, command=Command.PROPOSE_NOW)
    turn = await talk.say(patch)
    plan = await talk.specs.get(turn.spec)
    assert plan.verdict.recommendation != FINE_TUNE
    assert (len(plan.stages), plan.HasField("compute")) == (0, False)
    assert plan.verdict.instead
    assert plan.verdict.would_change
    assert plan.evaluation.graders
    assert talk.scheduler.estimates == 0


async def test_a_purpose_that_harms_withdraws_the_plan(talk):
    plan = await talk.begin()
    turn = await talk.say(BriefPatch(signals=frozenset({Signal.HARMFUL})))
    assert "harmful_declined" in codes(turn)
    assert turn.spec == ""
    with pytest.raises(NotFound):
        await talk.newest()
    assert (await talk.specs.get(plan.name)).hash == plan.hash


async def test_one_value_changes_one_field_and_says_why(talk):
    before = await talk.begin()
    rate = before.stages[0].hyperparameters.learning_rate
    patch = BriefPatch(overrides={f"{TUNED}learning_rate": rate / 2})
    turn = await talk.say(patch, message="halve the rate")
    assert changed(turn) == {f"{TUNED}learning_rate"}
    assert "halve the rate" in turn.changes[0].reason
    assert turn.spec_revision == 2


async def test_only_the_named_value_changes_and_what_follows_is_said(talk):
    before = await talk.begin()
    rank = before.stages[0].hyperparameters.lora.rank
    patch = BriefPatch(overrides={f"{TUNED}lora.rank": 4 * rank}, only=True)
    turn = await talk.say(patch)
    assert changed(turn) == {f"{TUNED}lora.rank"}
    assert "rank_alpha_scale" in codes(turn)
    after = await talk.newest()
    assert after.stages[0].hyperparameters.lora.alpha == before.stages[0].hyperparameters.lora.alpha


async def test_what_only_held_still_holds_when_the_next_message_changes_something_else(talk):
    before = await talk.begin()
    other = next(each for each in before.base_model.alternatives)
    await talk.say(BriefPatch(base_model=other.title, only=True))
    only = await talk.newest()
    assert only.base_model.id == other.title
    assert only.stages == before.stages
    turn = await talk.say(BriefPatch(overrides={f"{TUNED}seed": 7}))
    assert changed(turn) == {f"{TUNED}seed"}


async def test_a_deadline_that_is_lifted_gives_the_epochs_back(talk):
    first = await talk.begin()
    await talk.say(BriefPatch(deadline_s=75))
    turn = await talk.say(BriefPatch(overrides={f"{TUNED}seed": 7}))
    assert changed(turn) == {f"{TUNED}seed"}
    turn = await talk.say(BriefPatch(deadline_s=100 * 3600))
    assert changed(turn) == {f"{TUNED}epoch_count", "limits.deadline"}
    newest = await talk.newest()
    assert newest.stages[0].hyperparameters.epoch_count == (
        first.stages[0].hyperparameters.epoch_count
    )


async def test_a_value_that_cannot_work_is_refused_once_and_the_others_stay(talk):
    await talk.begin()
    values = {f"{TUNED}lora.rank": 0, f"{TUNED}seed": 7}
    turn = await talk.say(BriefPatch(overrides=values))
    assert changed(turn) == {f"{TUNED}seed"}
    assert "user_value_rejected" in codes(turn)
    later = await talk.say(BriefPatch(overrides={f"{TUNED}seed": 8}))
    assert "user_value_rejected" not in codes(later)


async def test_a_value_far_from_the_recipe_is_kept_and_warned_about(talk):
    before = await talk.begin()
    rate = before.stages[0].hyperparameters.learning_rate
    turn = await talk.say(BriefPatch(overrides={f"{TUNED}learning_rate": min(0.05, 20 * rate)}))
    assert "user_value_warned" in codes(turn)
    assert changed(turn) == {f"{TUNED}learning_rate"}


async def test_a_question_changes_nothing(talk):
    before, brief = await talk.begin(), await talk.brief()
    paths = (f"{TUNED}learning_rate",)
    patch = BriefPatch(
        command=Command.EXPLAIN, explain_paths=paths, grader_kinds=("macro_f1",), language="en"
    )
    turn = await talk.say(patch)
    assert (turn.spec, changed(turn)) == ("", set())
    assert "reason_given" in codes(turn)
    assert await talk.newest() == before
    assert await talk.brief() == brief


async def test_a_value_and_a_question_do_both(talk):
    await talk.begin()
    path = f"{TUNED}seed"
    patch = BriefPatch(command=Command.EXPLAIN, explain_paths=(path,), overrides={path: 7})
    turn = await talk.say(patch)
    assert changed(turn) == {path}
    assert "reason_given" in codes(turn)


async def test_going_back_restores_the_hash_and_what_was_known(talk):
    first = await talk.begin()
    await talk.say(BriefPatch(overrides={f"{TUNED}lora.rank": 64}))
    second = await talk.newest()
    turn = await talk.say(BriefPatch(command=Command.RESTORE, restore_revision=1))
    back = await talk.newest()
    assert (back.hash, back.revision, turn.spec_revision) == (first.hash, 3, 3)
    assert changed(turn)
    later = await talk.say(BriefPatch(overrides={f"{TUNED}seed": 7}))
    assert changed(later) == {f"{TUNED}seed"}
    await talk.say(BriefPatch(command=Command.RESTORE, restore_revision=2))
    assert (await talk.newest()).hash == second.hash


async def test_undo_twice_comes_back(talk):
    first = await talk.begin()
    await talk.say(BriefPatch(overrides={f"{TUNED}seed": 7}))
    second = await talk.newest()
    undo = BriefPatch(command=Command.RESTORE, restore_revision=-1)
    await talk.say(undo)
    assert (await talk.newest()).hash == first.hash
    await talk.say(undo)
    assert (await talk.newest()).hash == second.hash
    nothing = await talk.say(BriefPatch(command=Command.RESTORE, restore_revision=99))
    assert nothing.spec == ""


async def test_a_smaller_and_then_a_larger_model(talk):
    before = await talk.begin()
    turn = await talk.say(BriefPatch(command=Command.LARGER_MODEL))
    larger = await talk.newest()
    assert larger.base_model.parameter_count > before.base_model.parameter_count
    assert {"base_model.id", "base_model.parameter_count"} <= changed(turn)
    assert not {path for path in changed(turn) if path.startswith(("objective.p", "data.d"))}
    await talk.say(BriefPatch(command=Command.SMALLER_MODEL))
    smaller = await talk.newest()
    assert smaller.base_model.parameter_count < larger.base_model.parameter_count


async def test_no_smaller_model_is_said_and_changes_nothing(talk):
    await talk.begin(parameters_max_b=0.01)
    for _ in range(10):
        turn = await talk.say(BriefPatch(command=Command.SMALLER_MODEL))
    assert turn.spec == ""
    assert "no_smaller_model" in codes(turn)


async def test_another_technique_is_explored_when_the_data_allow_it_and_else_refused(talk):
    before = await talk.begin()
    patch = BriefPatch(command=Command.COMPARE_TECHNIQUE, technique="DPO")
    refused = await talk.say(patch)
    assert refused.spec == ""
    assert codes(refused)
    assert await talk.newest() == before
    talk.sources.datasets[f"{PROJECT}/datasets/pairs"] = facts("pairs", format="preference")
    await talk.say(patch, f"{PROJECT}/datasets/pairs")
    stages = (await talk.newest()).stages
    assert stage_pb2.TECHNIQUE_DPO in [stage.technique for stage in stages]


async def test_a_deadline_is_a_constraint_and_the_plan_finds_the_way(talk):
    before = await talk.begin()
    epochs = before.stages[0].hyperparameters.epoch_count
    assert epochs > 1
    turn = await talk.say(BriefPatch(deadline_s=75))
    after = await talk.newest()
    assert after.compute.expected_duration.ToSeconds() <= 75
    assert after.stages[0].hyperparameters.epoch_count < epochs
    assert changed(turn) == {"limits.deadline", f"{TUNED}epoch_count"}
    assert codes(turn) & {"deadline_fitted"}


async def test_criteria_change_the_reward_and_leave_the_rest(talk):
    rubric = (Criterion("accuracy", text="facts are right"), Criterion("humour", text="be funny"))
    patch = BriefPatch(
        problem="Reply to posts by our rubric",
        task=Task.DIALOGUE,
        data_shape=Shape.PROMPTS,
        data_row_count=700,
        criteria=rubric,
        signals=frozenset({Signal.RUBRIC_AGREED, Signal.PROMPT_FALLS_SHORT}),
        base_success=0.6,
        command=Command.PROPOSE_NOW,
    )
    turn = await talk.say(patch)
    before = await talk.specs.get(turn.spec)
    assert before.stages[0].technique == stage_pb2.TECHNIQUE_RLAIF
    new = Criterion("refunds", text="never promise a refund")
    turn = await talk.say(BriefPatch(criteria=(new,), criteria_removed=("humour",), only=True))
    after = await talk.newest()
    assert "refund" in str(after.stages[0].reward)
    assert "funny" not in str(after.stages[0].reward)
    allowed = ("stages.0.reward", "evaluation.", "objective.success_criteria")
    assert all(path.startswith(allowed) for path in changed(turn))


async def test_yes_and_no_approve_and_start_nothing(talk):
    spec = await talk.begin()
    agreed = await talk.say(BriefPatch(agreement=True))
    assert spec.hash in agreed.reply
    assert (await talk.say(BriefPatch(agreement=False))).reply
    assert await talk.newest() == spec


async def test_an_expert_review_changes_nothing(talk):
    spec = await talk.begin()
    turn = await talk.say(BriefPatch(command=Command.EXPERT_REVIEW))
    assert turn.reply
    assert await talk.newest() == spec


async def test_replies_and_notices_are_in_the_language_of_the_message(talk):
    turn = await talk.say(told(language="de"), ROWS)
    assert turn.language == "de"
    assert "Revision" in turn.reply
    assert "freigeben" in turn.reply
    plan = await talk.newest()
    english = await talk.say(BriefPatch(language="en", overrides={f"{TUNED}seed": 9}))
    assert (english.language, "approve" in english.reply) == ("en", True)
    assert (await talk.newest()).notices or not plan.notices


async def test_the_same_request_gives_the_same_turn(talk):
    request_id = str(uuid4())
    first = await talk.say(FIRST, ROWS, request_id=request_id)
    assert await talk.say(FIRST, ROWS, request_id=request_id) == first
    assert (await talk.newest()).revision == 1


async def test_the_same_brief_gives_the_same_hash(tmp_path):
    hashes = set()
    for _ in range(2):
        async with talking(tmp_path) as talk:
            hashes.add((await talk.begin()).hash)
    assert len(hashes) == 1


async def test_a_value_that_is_given_back_is_the_planners_again(talk):
    first = await talk.begin()
    proposed = first.stages[0].hyperparameters.learning_rate
    await talk.say(BriefPatch(overrides={TUNED + "learning_rate": 5e-3}))
    changed = await talk.newest()
    assert changed.stages[0].hyperparameters.learning_rate == 5e-3
    turn = await talk.say(BriefPatch(released=frozenset({TUNED + "learning_rate"})))
    assert [each.field_path for each in turn.changes] == [TUNED + "learning_rate"]
    again = await talk.newest()
    assert again.stages[0].hyperparameters.learning_rate == proposed
    (choice,) = (each for each in again.choices if each.field_path == TUNED + "learning_rate")
    assert choice.source != spec_pb2.Choice.SOURCE_USER


async def test_others_talk_on_while_a_long_message_is_read(talk):
    loop, others = asyncio.get_running_loop(), threading.Event()

    def read(message, brief):
        loop.call_soon_threadsafe(others.set)
        assert others.wait(5), "the event loop stands still while a message is read"
        return FIRST

    talk.reader.read = read
    turn = await talk.say(FIRST, ROWS, message="word " * 400)
    assert turn.spec_revision == 1


async def test_an_interpreter_that_takes_its_time_is_waited_for(talk):
    async def read(message, brief):
        return FIRST

    talk.reader.read = read
    turn = await talk.say(FIRST, ROWS)
    assert turn.spec_revision == 1
