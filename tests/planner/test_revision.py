"""Edits, restorations, comparisons and approvals: every revision counts, and only its hash."""

import asyncio
import tempfile
from pathlib import Path
from uuid import uuid4

import pytest
from attune.planner.v1 import dataset_pb2, planner_pb2
from attune.spec.v1 import spec_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.common.clock import SystemClock
from services.common.errors import (
    Conflict,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ServiceError,
)
from services.planner.brief import BriefPatch
from services.planner.dataset_store import DatasetStore
from services.planner.spec.hash import spec_hash
from services.planner.spec.path import write
from services.planner.spec.rules import violations
from services.planner.vocabulary import Command, Shape
from tests.planner.plans import facts
from tests.planner.talk import FIRST, PROJECT, ROWS, TUNED, Talk, talking

RANK, RATE, SEED = f"{TUNED}lora.rank", f"{TUNED}learning_rate", f"{TUNED}seed"


async def edited(talk: Talk, spec: spec_pb2.Spec, **values) -> spec_pb2.Spec:
    paths = {"rank": RANK, "rate": RATE, "seed": SEED, "alias": "serving.alias"}
    for name, value in values.items():
        write(spec, paths[name], value)
    return await talk.update(spec, *(paths[name] for name in values))


def choice_of(spec: spec_pb2.Spec, path: str) -> spec_pb2.Choice:
    return next(choice for choice in spec.choices if choice.field_path == path)


async def test_an_edit_keeps_the_value_marks_it_and_warns_instead_of_correcting(talk):
    spec = await talk.begin()
    rate = min(0.09, 20 * spec.stages[0].hyperparameters.learning_rate)
    after = await edited(talk, spec, rate=rate)
    assert after.stages[0].hyperparameters.learning_rate == rate
    assert choice_of(after, RATE).source == spec_pb2.Choice.SOURCE_USER
    (notice,) = [each for each in after.notices if each.code == "user_value_warned"]
    assert notice.field_path == RATE
    assert notice.message
    milder = await edited(talk, after, rate=rate / 20)
    assert "user_value_warned" not in {each.code for each in milder.notices}


async def test_an_edit_of_the_rank_alone_says_what_it_does_to_the_step(talk):
    after = await edited(talk, await talk.begin(), rank=64)
    assert "rank_alpha_scale" in {each.code for each in after.notices}


async def test_an_edited_deadline_corrects_nothing_and_says_when_it_is_missed(talk):
    spec = await talk.begin()
    epochs = spec.stages[0].hyperparameters.epoch_count
    spec.limits.deadline.FromSeconds(30)
    after = await talk.update(spec, "limits.deadline")
    assert after.stages[0].hyperparameters.epoch_count == epochs
    assert "deadline_missed" in {each.code for each in after.notices}


async def test_what_was_said_before_an_edit_is_known_after_it(talk):
    after = await edited(talk, await talk.begin(), seed=9)
    turn = await talk.say(BriefPatch(overrides={RANK: 8}))
    newest = await talk.newest()
    assert newest.stages[0].hyperparameters.seed == 9
    assert [change.field_path for change in turn.changes if "seed" in change.field_path] == []
    assert newest.revision == after.revision + 1


async def test_a_restoration_hashes_as_the_first_did_and_ends_the_approval(talk):
    first = await talk.begin()
    second = await edited(talk, await talk.newest(), rank=8)
    approved = await talk.approve(second)
    back = await talk.restore(approved, 1)
    assert (back.revision, back.hash) == (3, first.hash)
    assert back.state == spec_pb2.Spec.STATE_DRAFT
    assert not back.HasField("approval")
    assert back.compute == first.compute
    assert (await talk.approve(back)).state == spec_pb2.Spec.STATE_APPROVED


async def test_a_restoration_takes_the_conversation_back_too(talk):
    await talk.begin()
    await talk.say(BriefPatch(overrides={RANK: 64}))
    await talk.restore(await talk.newest(), 1)
    turn = await talk.say(BriefPatch(overrides={SEED: 3}))
    assert [change.field_path for change in turn.changes] == [SEED]


async def test_restoring_needs_the_newest_etag_and_a_revision_that_exists(talk):
    spec = await talk.begin()
    stale = spec_pb2.Spec()
    stale.CopyFrom(spec)
    await edited(talk, await talk.newest(), rank=8)
    with pytest.raises(Conflict):
        await talk.restore(stale, 1)
    newest = await talk.newest()
    with pytest.raises(NotFound):
        await talk.restore(newest, 9)
    with pytest.raises(InvalidArgument):
        await talk.restore(newest, 0)


async def compare(talk: Talk, name: str, first: int = 0, last: int = 0):
    request = planner_pb2.DiffSpecsRequest(name=name, from_revision=first, to_revision=last)
    return await talk.revisions.compare(request)


async def test_revisions_are_compared_field_by_field_with_reasons(talk):
    spec = await talk.begin()
    await edited(talk, await talk.newest(), rank=8)
    await edited(talk, await talk.newest(), seed=7)
    found = await compare(talk, spec.name)
    assert (found.from_revision, found.to_revision) == (2, 3)
    assert [(each.field_path, each.after) for each in found.changes] == [(SEED, "7")]
    assert all(each.reason for each in found.changes)
    whole = await compare(talk, spec.name, 1, 3)
    assert {each.field_path for each in whole.changes} == {RANK, SEED}
    assert list((await compare(talk, spec.name, 1, 1)).changes) == []
    with pytest.raises(InvalidArgument):
        await compare(talk, spec.name, -1)


async def refused(talk: Talk, spec: spec_pb2.Spec) -> FailedPrecondition:
    with pytest.raises(FailedPrecondition) as error:
        await talk.approve(spec)
    assert (await talk.specs.get(spec.name)).state == spec_pb2.Spec.STATE_DRAFT
    return error.value


async def test_a_plan_that_trains_nothing_is_not_approved(talk):
    turn = await talk.say(
        BriefPatch(**{**vars(FIRST), "data_row_count": 3, "command": Command.PROPOSE_NOW})
    )
    error = await refused(talk, await talk.specs.get(turn.spec))
    assert error.reason == "TRAINS_NOTHING"


async def test_described_rows_are_not_approved(talk):
    patch = {"data_shape": Shape.DEMONSTRATIONS, "command": Command.PROPOSE_NOW}
    turn = await talk.say(BriefPatch(**{**vars(FIRST), **patch}))
    error = await refused(talk, await talk.specs.get(turn.spec))
    assert error.reason == "DATA_MISSING"
    assert "Upload" in error.message


async def test_a_dataset_that_is_invalid_or_gone_is_not_approved(talk):
    spec = await talk.begin()
    good = talk.sources.datasets[ROWS]
    talk.sources.datasets[ROWS] = type(good)(**{**vars(good), "valid": False})
    assert (await refused(talk, spec)).reason == "DATA_INVALID"
    del talk.sources.datasets[ROWS]
    assert (await refused(talk, spec)).reason == "DATA_MISSING"


@pytest.mark.parametrize("shape", ["preference", "text", "prompts_only"])
async def test_rows_that_the_technique_does_not_learn_from_are_not_approved(talk, shape):
    spec = await talk.begin()
    talk.sources.datasets[ROWS] = facts(format=shape)
    error = await refused(talk, spec)
    assert error.reason == "DATA_UNFIT"
    assert shape in error.message


async def test_a_dataset_that_is_deleted_while_the_approval_looks_at_it_is_not_approved(talk):
    spec = await talk.begin()
    asked, estimate = asyncio.Event(), talk.scheduler.estimate
    deleted = asyncio.Event()

    async def slow(*given):
        asked.set()
        await deleted.wait()
        return await estimate(*given)

    talk.scheduler.estimate = slow
    approving = asyncio.create_task(talk.approve(spec))
    await asked.wait()
    request = dataset_pb2.DeleteDatasetRequest(name=ROWS, request_id=str(uuid4()))
    await DatasetStore(talk.store).delete(request, SystemClock().now())
    deleted.set()
    with pytest.raises(Conflict, match="deleted in between"):
        await approving
    assert (await talk.specs.get(spec.name)).state == spec_pb2.Spec.STATE_DRAFT


async def test_a_dataset_of_another_project_is_refused(talk):
    spec, other = await talk.begin(), "projects/other/datasets/a1"
    talk.sources.datasets[other] = facts(name=other)
    for path in ("data.dataset", "data.holdout_dataset"):
        write(spec, path, other)
        with pytest.raises(InvalidArgument) as error:
            await talk.update(spec, path)
        assert (path, "OTHER_PROJECT") in {(v.field, v.rule) for v in error.value.violations}


async def test_every_reason_against_an_approval_is_named(talk):
    patch = {"data_row_count": 3, "command": Command.PROPOSE_NOW}
    turn = await talk.say(BriefPatch(**{**vars(FIRST), **patch}))
    error = await refused(talk, await talk.specs.get(turn.spec))
    assert error.metadata["reasons"] == "TRAINS_NOTHING, DATA_MISSING"


async def test_a_new_dataset_in_an_edit_brings_its_verdict(talk):
    spec = await talk.begin()
    name = f"{PROJECT}/datasets/few"
    talk.sources.datasets[name] = facts("few", row_count=12, valid_row_count=12)
    spec.data.dataset = name
    after = await talk.update(spec, "data.dataset")
    assert after.data.train_row_count + after.data.holdout_row_count == 12
    assert after.verdict.reason != spec.verdict.reason


EDITS = st.one_of(
    st.tuples(st.just("rank"), st.integers(-1, 600)),
    st.tuples(st.just("rate"), st.floats(allow_nan=True, allow_infinity=True)),
    st.tuples(st.just("seed"), st.integers(0, 10)),
    st.tuples(st.just("alias"), st.text(max_size=6)),
    st.tuples(st.just("restore"), st.integers(-1, 9)),
    st.tuples(st.just("approve"), st.booleans()),
    st.tuples(st.just("say rank"), st.integers(-1, 600)),
    st.tuples(st.just("say undo"), st.integers(-1, 9)),
    st.tuples(st.just("say only"), st.integers(0, 10)),
)


async def step(talk: Talk, kind: str, value) -> None:
    newest = await talk.newest()
    if kind == "restore":
        await talk.restore(newest, value)
    elif kind == "approve":
        await talk.approve(newest, newest.hash if value else "0" * 64)
        assert value, "approved something else than the newest hash"
    elif kind == "say rank":
        await talk.say(BriefPatch(overrides={RANK: value}))
    elif kind == "say undo":
        await talk.say(BriefPatch(command=Command.RESTORE, restore_revision=value))
    elif kind == "say only":
        await talk.say(BriefPatch(overrides={SEED: value}, only=True))
    else:
        await edited(talk, newest, **{kind: value})


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(EDITS, max_size=8))
async def test_any_sequence_of_edits_undos_and_approvals_is_valid_or_clearly_refused(steps):
    with tempfile.TemporaryDirectory() as folder:
        async with talking(Path(folder)) as talk:
            first = await talk.begin()
            seen = {1: first.hash}
            for kind, value in steps:
                before = await talk.newest()
                refusal = ""
                try:
                    await step(talk, kind, value)
                except ServiceError as error:
                    refusal = error.message or "nothing was said"
                if refusal:
                    assert refusal != "nothing was said"
                    assert await talk.newest() == before
                    continue
                after = await talk.newest()
                assert violations(after) == []
                assert after.hash == spec_hash(after)
                assert after.revision in (before.revision, before.revision + 1)
                if after.state == spec_pb2.Spec.STATE_APPROVED:
                    assert after.approval.hash == after.hash
                seen[after.revision] = after.hash
            for revision, found in seen.items():
                assert (await talk.specs.get(first.name, revision)).hash == found
