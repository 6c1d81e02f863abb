"""Every plan finds its hardware: it fits, keeps its batch, and no other layout beats it."""

from dataclasses import replace
from itertools import product

import pytest
from attune.scheduler.v1.scheduler_pb2 import DataShape
from attune.spec.v1.stage_pb2 import Method, Technique
from hypothesis import given
from hypothesis import strategies as st

from services.planner.plan.recipe import load_recipes, recipe_for
from services.planner.spec.path import write
from services.scheduler.layout import COUNTS, cost_and_time, counts_of, place, placements
from services.scheduler.placement import find_obstacle, make_plan
from services.scheduler.waiting import demands_of
from tests.scheduler.factories import CATALOGUE, a_node, a_spec

LLAMA = "meta-llama/Llama-3.1-8B"
LARGE = "meta-llama/Llama-3.1-70B"
METHODS = (Method.METHOD_FULL, Method.METHOD_LORA, Method.METHOD_QLORA, Method.METHOD_DORA)
TECHNIQUES = (
    Technique.TECHNIQUE_SFT,
    Technique.TECHNIQUE_DPO,
    Technique.TECHNIQUE_RLVR,
    Technique.TECHNIQUE_RLAIF,
)
PROFILES = CATALOGUE.profiles


def a_stage_spec(model, technique, method, batch=16, max_length=1024):
    spec = a_spec(
        base_model=model, technique=technique, method=method, batch=batch, max_length=max_length
    )
    tuned = spec.stages[0].hyperparameters
    tuned.rl.group_size, tuned.rl.temperature, tuned.rl.top_p = 8, 1.0, 1.0
    tuned.rl.max_prompt_length, tuned.rl.max_completion_length = 512, 512
    return spec


def demand_of(spec, **data_shape):
    return demands_of(spec, DataShape(**data_shape), [], CATALOGUE)[0]


def planned(spec, profiles=PROFILES):
    demands = demands_of(spec, DataShape(), [], CATALOGUE)
    return make_plan(spec, demands, [], profiles)


def check_plan(spec):
    """Assert that the spec's plan fits, keeps the batch, and is beaten by no other layout."""
    demand = demand_of(spec)
    (stage,) = planned(spec).stages
    placed = stage.placement
    split = placed.batching
    rows = split.micro_batch_size * split.gradient_accumulation_steps * split.device_count
    assert rows == demand.row_count
    others = [
        other
        for profile in PROFILES.values()
        for other in placements(demand, profile, profile.memory_bytes, counts_of(profile))
        if not find_obstacle(other, demand)
    ]
    if find_obstacle(placed, demand):
        assert not others
        assert stage.missing
        return
    assert placed.fits
    assert not any(
        other.cost_micro_usd < placed.cost_micro_usd
        and other.time.expected_s < placed.time.expected_s
        for other in others
    )


@pytest.mark.parametrize(("technique", "method"), list(product(TECHNIQUES, METHODS)))
def test_every_recipe_of_every_model_is_mapped(technique, method):
    recipes = load_recipes()
    for model, shape in CATALOGUE.shapes.items():
        spec = a_stage_spec(model, technique, method)
        recipe = recipe_for(recipes, shape.parameter_count, technique, method)
        for path in (*recipe.settings, *recipe.by_rows):
            value = recipe.setting(path, spec.data.train_row_count).value
            if not isinstance(value, str):
                write(spec, f"stages.0.hyperparameters.{path}", value)
        check_plan(spec)


@given(
    model=st.sampled_from(sorted(CATALOGUE.shapes)),
    technique=st.sampled_from(TECHNIQUES),
    method=st.sampled_from(METHODS),
    batch=st.sampled_from((1, 7, 16, 32, 128)),
    max_length=st.sampled_from((512, 2048, 8192)),
)
def test_every_batch_and_length_is_mapped(model, technique, method, batch, max_length):
    check_plan(a_stage_spec(model, technique, method, batch, max_length))


@pytest.mark.parametrize(("technique", "method"), list(product(TECHNIQUES, METHODS)))
def test_every_technique_and_method_of_a_usual_model_finds_a_device(technique, method):
    (stage,) = planned(a_stage_spec(LLAMA, technique, method)).stages
    assert stage.placement.fits
    assert not find_obstacle(stage.placement, demand_of(a_stage_spec(LLAMA, technique, method)))


def test_what_does_not_fit_one_device_is_split_over_several():
    (stage,) = planned(a_stage_spec(LARGE, TECHNIQUES[0], Method.METHOD_FULL)).stages
    assert stage.placement.device_count in COUNTS[1:]
    assert stage.placement.batching.sharded
    assert f"{stage.placement.device_count} x NVIDIA" in stage.reason


def test_weights_that_answers_are_sampled_from_are_not_split():
    demand = demand_of(a_stage_spec(LARGE, Technique.TECHNIQUE_RLVR, Method.METHOD_LORA))
    for profile in PROFILES.values():
        found = list(placements(demand, profile, profile.memory_bytes, counts_of(profile)))
        assert found
        assert not any(one.batching.sharded for one in found)


def test_a_deadline_takes_more_devices_and_no_more_than_it_must():
    spec = a_stage_spec(LLAMA, TECHNIQUES[0], Method.METHOD_LORA)
    spec.data.train_row_count = 20_000
    slow = planned(spec).stages[0].placement
    spec.limits.deadline.seconds = round(slow.time.expected_s / 4)
    (stage,) = planned(spec).stages
    assert stage.placement.time.expected_s <= slow.time.expected_s / 4
    assert stage.placement.cost_micro_usd >= slow.cost_micro_usd
    assert stage.missing == ("No trainer is connected; start one with `attune up`.",)


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_a_technique_is_refused_until_a_node_offers_it(technique):
    spec = a_stage_spec("attune/starter", technique, Method.METHOD_LORA)
    node = a_node(memory_gib=16)
    node.techniques[:] = [other for other in TECHNIQUES if other != technique]
    demands = demands_of(spec, DataShape(), [node], CATALOGUE)
    assert make_plan(spec, demands, [node], PROFILES).missing
    node.techniques.append(technique)
    assert not make_plan(spec, demands, [node], PROFILES).missing


def test_what_fits_nowhere_names_the_smallest_change_that_would():
    spec = a_stage_spec(LARGE, TECHNIQUES[0], Method.METHOD_LORA, batch=1, max_length=262_144)
    (stage,) = planned(spec).stages
    assert not stage.placement.fits
    assert "set hyperparameters.max_length to" in stage.reason
    only = {"l4-24gb": replace(PROFILES["l4-24gb"], device_count_per_node=1)}
    full = a_stage_spec(LLAMA, TECHNIQUES[0], Method.METHOD_FULL)
    assert "choose the method LORA" in planned(full, only).stages[0].missing[-1]
    larger = planned(a_stage_spec(LARGE, TECHNIQUES[0], Method.METHOD_FULL), only).stages[0]
    assert "choose a smaller base model" in larger.missing[-1]


def test_a_limit_is_that_of_all_stages_together():
    spec = a_spec(stages=2, base_model=LLAMA)
    spec.data.train_row_count = 20_000
    whole = planned(spec)
    assert len(whole.stages) == 2
    assert whole.expected_s == pytest.approx(2 * whole.stages[0].placement.time.expected_s)
    spec.limits.deadline.seconds = round(whole.expected_s / 2)
    faster = planned(spec)
    assert faster.expected_s <= whole.expected_s / 2
    assert faster.cost_micro_usd >= whole.cost_micro_usd


def test_only_an_engine_for_gangs_uses_several_devices_of_a_node():
    spec = a_stage_spec(LLAMA, TECHNIQUES[0], Method.METHOD_FULL)
    node = a_node(base_model=LLAMA, profile="a100-80gb", memory_gib=79)
    node.methods.append(Method.METHOD_FULL)
    for _ in range(7):
        node.devices.append(node.devices[0])
    demands = demands_of(spec, DataShape(), [node], CATALOGUE)
    (alone,) = make_plan(spec, demands, [node], PROFILES).stages
    assert any("It needs up to" in text for text in alone.missing)
    node.engines.append("ray")
    (together,) = make_plan(spec, demands, [node], PROFILES).stages
    assert (together.missing, together.placement.profile.id) == ((), "a100-80gb")
    assert together.placement.device_count > 1


def test_more_steps_than_the_bound_are_not_reckoned():
    spec = a_stage_spec(LLAMA, TECHNIQUES[0], Method.METHOD_LORA)
    spec.stages[0].hyperparameters.max_step_count = 5
    assert planned(spec).stages[0].placement.time.step_count == 5


def test_answers_that_a_model_writes_take_time_and_memory():
    reinforced, imitated = (
        place(
            demand_of(a_stage_spec(LLAMA, technique, Method.METHOD_LORA), max_token_count=512),
            PROFILES["h100-80gb"],
            PROFILES["h100-80gb"].memory_bytes,
        )
        for technique in (Technique.TECHNIQUE_RLVR, Technique.TECHNIQUE_SFT)
    )
    assert reinforced.time.step_s > imitated.time.step_s
    assert cost_and_time(reinforced) > cost_and_time(imitated)
