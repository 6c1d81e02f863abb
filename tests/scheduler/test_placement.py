"""Where a spec runs, and why."""

from math import inf

import pytest
from attune.scheduler.v1.scheduler_pb2 import DataShape
from attune.spec.v1.stage_pb2 import Method, Technique

from services.common.errors import InvalidArgument
from services.scheduler.approval import new_job
from services.scheduler.layout import place
from services.scheduler.placement import NO_TRAINER, make_plan
from services.scheduler.waiting import demands_of, place_job, wait_reason_of
from services.scheduler.words import in_words
from tests.scheduler.factories import (
    CATALOGUE,
    NOW,
    REVISION,
    a_job,
    a_node,
    a_spec,
)

QWEN = "Qwen/Qwen2.5-0.5B"
LLAMA = "meta-llama/Llama-3.1-8B"


def plan_of(spec, nodes, **data_shape):
    (stage,) = whole_plan(spec, nodes, **data_shape).stages
    return stage


def whole_plan(spec, nodes, profiles=CATALOGUE.profiles, **data_shape):
    demands = demands_of(spec, DataShape(**data_shape), nodes, CATALOGUE)
    return make_plan(spec, demands, nodes, profiles)


def a_job_of(spec):
    return new_job(spec, "a1", NOW)


def test_live_processor_runs_the_starter_for_nothing():
    plan = plan_of(a_spec(), [a_node()], max_token_count=200, total_token_count=60_000)
    placed = plan.placement
    assert (placed.profile.id, placed.cost_micro_usd, plan.missing) == ("cpu", 0, ())
    assert placed.fits
    assert placed.capacity_bytes == a_node().devices[0].memory_bytes
    assert "cheapest live device" in plan.reason


def test_all_other_profiles_are_rejected_with_a_reason_and_a_cost():
    plan = plan_of(a_spec(), [a_node()])
    assert {each.profile for each in plan.rejected} == set(CATALOGUE.profiles) - {"cpu"}
    assert all("No live trainer has one" in each.reason for each in plan.rejected)
    assert all(each.cost_micro_usd > 0 for each in plan.rejected)


def test_rejected_profile_that_is_too_small_has_no_cost():
    plan = plan_of(a_spec(base_model="meta-llama/Llama-3.1-70B", max_length=131_072), [])
    small = next(each for each in plan.rejected if each.profile == "l4-24gb")
    assert "It needs up to" in small.reason
    assert small.cost_micro_usd == 0


@pytest.mark.parametrize("batch", [1, 7, 12, 16, 100, 4096])
@pytest.mark.parametrize("memory_gib", [1.2, 2, 6])
def test_effective_batch_is_kept_exactly(batch, memory_gib):
    batching = plan_of(a_spec(batch=batch), [a_node(memory_gib=memory_gib)]).placement.batching
    assert batching.micro_batch_size * batching.gradient_accumulation_steps == batch


def test_less_memory_gives_smaller_micro_batches():
    sizes = [
        plan_of(a_spec(batch=64, max_length=1024), [a_node(memory_gib=gib)]).placement
        for gib in (1.2, 2, 8)
    ]
    assert all(placed.fits for placed in sizes)
    micro = [placed.batching.micro_batch_size for placed in sizes]
    assert micro == sorted(micro)
    assert micro[0] < micro[-1]


def test_shorter_rows_need_less_memory_and_time():
    long, short = (plan_of(a_spec(), [], max_token_count=n).placement for n in (512, 64))
    assert short.memory.high_bytes < long.memory.high_bytes
    assert short.time.expected_s < long.time.expected_s


def test_rows_longer_than_the_maximum_count_as_the_maximum():
    assert plan_of(a_spec(), [], max_token_count=9999) == plan_of(a_spec(), [])


def test_cheaper_of_two_live_devices_is_taken():
    nodes = [
        a_node("node-b", profile="h100-80gb", memory_gib=79, base_model=QWEN),
        a_node("node-a", profile="l4-24gb", memory_gib=22, base_model=QWEN),
    ]
    plan = plan_of(a_spec(base_model=QWEN), nodes)
    assert plan.placement.profile.id == "l4-24gb"
    dear = next(each for each in plan.rejected if each.profile == "h100-80gb")
    assert dear.reason.startswith("It costs more")


def test_no_trainer_is_said_with_the_remedy_and_the_catalogue_still_answers():
    plan = plan_of(a_spec(base_model=LLAMA), [])
    assert plan.missing == (NO_TRAINER,)
    assert plan.placement.fits
    assert plan.placement.profile.id != "cpu"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (a_spec(method=Method.METHOD_DORA), "method DORA; choose LORA"),
        (a_spec(base_model=QWEN), f"ensure {QWEN}`"),
        (a_spec(revision="2" * 64), "at hand in revision 1111"),
    ],
)
def test_what_the_node_lacks_is_said_with_the_remedy(spec, words):
    plan = plan_of(spec, [a_node()])
    assert len(plan.missing) == 1
    assert words in plan.missing[0]
    assert plan.placement.fits


def test_technique_that_no_trainer_runs_is_said():
    node = a_node()
    del node.techniques[:]
    node.techniques.append(Technique.TECHNIQUE_DPO)
    assert "technique SFT; choose DPO" in plan_of(a_spec(), [node]).missing[0]


def test_named_revision_that_is_at_hand_runs():
    assert plan_of(a_spec(revision=REVISION), [a_node()]).missing == ()


def test_too_little_memory_is_said_with_both_figures():
    missing = plan_of(a_spec(), [a_node(memory_gib=0.5)]).missing
    assert len(missing) == 1
    assert "offers 0.5 GiB" in missing[0]
    assert "shorter max_length" in missing[0]


def test_node_that_lacks_least_speaks():
    bare = a_node("node-a", memory_gib=0.5)
    del bare.methods[:]
    bare.methods.append(Method.METHOD_FULL)
    missing = plan_of(a_spec(method=Method.METHOD_DORA), [bare, a_node("node-b")]).missing
    assert len(missing) == 1


def test_model_that_fits_nowhere_says_what_the_roomiest_device_offers():
    plan = plan_of(
        a_spec(
            base_model="Qwen/Qwen2.5-72B", method=Method.METHOD_FULL, batch=1, max_length=500_000
        ),
        [],
    )
    assert not plan.placement.fits
    assert plan.missing[0] == NO_TRAINER
    assert "GiB of memory and" in plan.missing[1]


def test_four_bit_weights_are_not_put_on_a_processor():
    spec = a_spec(method=Method.METHOD_QLORA)
    node = a_node()
    node.methods.append(Method.METHOD_QLORA)
    plan = plan_of(spec, [node])
    assert plan.placement.profile.is_gpu
    assert "choose LORA" in plan.missing[0]


def test_processor_that_would_take_days_is_not_proposed_when_nobody_has_anything():
    spec = a_spec(base_model=QWEN, rows=5000)
    plan = plan_of(spec, [])
    assert plan.placement.profile.id != "cpu"
    own = next(each for each in plan.rejected if each.profile == "cpu")
    assert "takes longer" in own.reason
    assert plan_of(spec, [a_node(base_model=QWEN, memory_gib=16)]).placement.profile.id == "cpu"


def test_deadline_and_cost_cap_are_kept():
    spec = a_spec()
    spec.limits.deadline.seconds = 20
    plan = plan_of(spec, [a_node()])
    assert "the deadline is 20 s" in plan.missing[0]
    assert plan.placement.time.expected_s <= 20
    spec = a_spec(base_model=QWEN)
    spec.limits.cost_cap_micro_usd = 1
    node = a_node(base_model=QWEN, profile="l4-24gb", memory_gib=22)
    assert "the cap is less than $0.01" in plan_of(spec, [node]).missing[0]


def test_every_field_that_an_estimate_cannot_use_is_named():
    spec = a_spec(stages=2, base_model="nobody/knows")
    spec.stages[0].technique = Technique.TECHNIQUE_UNSPECIFIED
    spec.stages[1].technique = Technique.TECHNIQUE_RLVR
    spec.data.train_row_count = 0
    spec.stages[0].hyperparameters.epoch_count = inf - inf
    with pytest.raises(InvalidArgument) as caught:
        plan_of(spec, [], max_token_count=-1)
    assert {violation.field for violation in caught.value.violations} == {
        "base_model.id",
        "stages.0.technique",
        "stages.1.hyperparameters.rl.group_size",
        "stages.1.hyperparameters.rl.max_prompt_length",
        "stages.1.hyperparameters.rl.max_completion_length",
        "data.train_row_count",
        "stages.0.hyperparameters.epoch_count",
        "data_shape.max_token_count",
    }


def test_pairs_take_more_than_twice_the_time_and_more_memory():
    node = a_node(base_model=LLAMA, profile="a100-80gb", memory_gib=40)
    pairs, single = (
        place(
            demands_of(a_spec(base_model=LLAMA, technique=technique), DataShape(), [], CATALOGUE)[
                0
            ],
            CATALOGUE.profiles["a100-80gb"],
            node.devices[0].memory_bytes,
        )
        for technique in (Technique.TECHNIQUE_DPO, Technique.TECHNIQUE_SFT)
    )
    assert pairs.fits
    assert pairs.batching.micro_batch_size <= single.batching.micro_batch_size
    assert pairs.time.step_s > 2 * single.time.step_s


def test_shape_of_a_live_node_comes_before_the_catalogue():
    node = a_node()
    node.base_models[0].parameter_count *= 10
    assert demands_of(a_spec(), DataShape(), [node], CATALOGUE)[0].shape == node.base_models[0]
    assert demands_of(a_spec(), DataShape(), [], CATALOGUE)[0].shape.parameter_count == 1_115_264


def test_limits_do_not_hold_back_what_was_approved():
    spec = a_spec()
    spec.limits.deadline.seconds = 1
    assert place_job(a_job_of(spec), a_node(), CATALOGUE) is not None


def test_job_that_cannot_be_placed_goes_to_no_node():
    assert (
        place_job(a_job_of(a_spec(technique=Technique.TECHNIQUE_DPO)), a_node(), CATALOGUE) is None
    )
    assert place_job(a_job(), a_node(memory_gib=0.5), CATALOGUE) is None


@pytest.mark.parametrize(
    ("spec", "nodes", "words"),
    [
        (a_spec(), [], NO_TRAINER),
        (a_spec(), [a_node()], "A trainer is about to take it"),
        (a_spec(), [a_node(free=0)], "Waits for node-a to finish"),
        (a_spec(base_model=QWEN), [a_node()], "is not at hand"),
        (
            a_spec(technique=Technique.TECHNIQUE_DPO),
            [a_node()],
            "No live trainer runs the technique DPO",
        ),
    ],
)
def test_queued_job_says_what_it_waits_for(spec, nodes, words):
    assert words in wait_reason_of(a_job_of(spec), nodes, CATALOGUE)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(5, "5 s"), (89, "89 s"), (90, "2 min"), (7200, "2 h"), (864_000, "10 days")],
)
def test_times_are_said_as_people_do(seconds, words):
    assert in_words(seconds) == words
