"""Recipes: complete, sourced, chosen by technique, method and size; what scales, scales as said."""

import pytest
from attune.spec.v1 import stage_pb2

from services.planner.plan.recipe import (
    ADAPTERS,
    load_recipes,
    recipe_for,
    recipes_to_proto,
    scaled_alpha,
    scaled_rate,
)
from services.planner.spec.rules import HYPERPARAMETER_RANGES, LOSSES

RECIPES = load_recipes()
ROWS = (10, 499, 500, 4999, 5000, 49_999, 50_000, 1_000_000)
REINFORCED = (stage_pb2.TECHNIQUE_RLVR, stage_pb2.TECHNIQUE_RLAIF)
MEASURED = {
    "learning_rate": 0.004,
    "schedule": "cosine",
    "warmup_ratio": 0.05,
    "weight_decay": 0.0,
    "max_gradient_norm": 1.0,
    "epoch_count": 11,
    "effective_batch_size": 16,
    "seed": 42,
    "evaluations_per_epoch": 1,
    "early_stopping_patience": 3,
    "assistant_only_loss": True,
    "packing": False,
    "lora.rank": 16,
    "lora.alpha": 64,
    "lora.dropout": 0.0,
    "lora.target_modules": ["all-linear"],
}


def by_id(recipe_id: str):
    (found,) = [recipe for recipe in RECIPES if recipe.id == recipe_id]
    return found


def values(recipe_id: str, rows: int = 5000) -> dict:
    recipe = by_id(recipe_id)
    return {name: recipe.setting(name, rows).value for name in recipe.names}


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.id)
def test_every_recipe_is_complete_sourced_and_within_the_ranges(recipe):
    parts = {"lora": recipe.method in ADAPTERS}
    parts |= {"dpo": recipe.technique == stage_pb2.TECHNIQUE_DPO}
    parts |= {"rl": recipe.technique in REINFORCED}
    lengths = ("rl.max_prompt_length", "rl.max_completion_length", "max_step_count")
    needed = [
        name
        for name in HYPERPARAMETER_RANGES
        if parts.get(name.partition(".")[0], True) and name not in lengths
    ]
    needed += ["schedule", *(["lora.target_modules"] if parts["lora"] else [])]
    needed += [name for name in LOSSES if parts[name.partition(".")[0]]]
    needed += ["assistant_only_loss"] if recipe.technique == stage_pb2.TECHNIQUE_SFT else []
    assert set(needed) <= set(recipe.names) <= {*needed, "packing"}
    for name in needed:
        for rows in ROWS:
            setting = recipe.setting(name, rows)
            assert setting.source, name
            assert setting.reason.endswith("."), name
            allowed = HYPERPARAMETER_RANGES.get(name)
            assert allowed is None or allowed.holds(setting.value), name
            assert name not in LOSSES or setting.value in LOSSES[name]


def test_every_technique_has_adapters_and_all_weights_in_seven_sizes():
    ids = [recipe.id for recipe in RECIPES]
    families = {recipe_id.partition("/")[0] for recipe_id in ids}
    assert families == {
        "sft-lora", "sft-qlora", "sft-dora", "sft-full", "dpo-lora", "dpo-full",
        "rlvr-lora", "rlvr-full", "rlaif-lora", "rlaif-full",
    }  # fmt: skip
    assert len(ids) == len(set(ids)) == 7 * len(families)


@pytest.mark.parametrize(
    ("parameter_count", "size"),
    [
        (1_300_000, "tiny"),
        (10_000_000, "tiny"),
        (10_000_001, "2b"),
        (8_000_000_000, "9b"),
        (32_000_000_000, "34b"),
        (400_000_000_000, "70b"),
    ],
)
def test_a_model_gets_the_recipe_of_its_size(parameter_count, size):
    assert recipe_for(RECIPES, parameter_count).id == f"sft-lora/{size}"
    for technique, method, family in (
        (stage_pb2.TECHNIQUE_DPO, stage_pb2.METHOD_FULL, "dpo-full"),
        (stage_pb2.TECHNIQUE_RLAIF, stage_pb2.METHOD_LORA, "rlaif-lora"),
    ):
        assert recipe_for(RECIPES, parameter_count, technique, method).id == f"{family}/{size}"


def test_adapters_without_a_recipe_of_their_own_take_that_of_lora():
    dpo = recipe_for(RECIPES, 10**9, stage_pb2.TECHNIQUE_DPO, stage_pb2.METHOD_QLORA)
    assert dpo.id == "dpo-lora/2b"


def test_the_class_of_the_bundled_model_is_what_was_measured():
    assert values("sft-lora/tiny") == MEASURED


@pytest.mark.parametrize(
    ("recipe_id", "expected"),
    [
        ("sft-lora/9b", {"learning_rate": 2e-4, "lora.rank": 16, "lora.alpha": 32}),
        ("sft-qlora/9b", {"learning_rate": 2e-4, "lora.rank": 32, "lora.alpha": 32}),
        ("sft-qlora/70b", {"learning_rate": 1e-4, "lora.rank": 64, "lora.alpha": 64}),
        ("sft-full/9b", {"learning_rate": 1e-5, "effective_batch_size": 32, "weight_decay": 0.1}),
        ("dpo-lora/9b", {"learning_rate": 1e-5, "dpo.beta": 0.1, "epoch_count": 1}),
        ("rlvr-lora/9b", {"learning_rate": 1e-5, "rl.kl_coefficient": 0.0, "rl.group_size": 8}),
        ("rlvr-full/4b", {"learning_rate": 1e-6, "rl.clip_high": 0.28, "schedule": "constant"}),
        ("rlaif-lora/4b", {"learning_rate": 1e-5, "rl.kl_coefficient": 0.001}),
    ],
)
def test_recipes_hold_the_published_values(recipe_id, expected):
    found = values(recipe_id)
    assert {name: found[name] for name in expected} == expected


def test_fewer_rows_need_more_epochs_and_smaller_steps_of_reinforcement():
    recipe = recipe_for(RECIPES, 8_000_000_000)
    assert [recipe.setting("epoch_count", rows).value for rows in ROWS[::2]] == [4, 3, 2, 1]
    reinforced = by_id("rlvr-lora/9b")
    steps = [
        reinforced.setting("epoch_count", rows).value
        * rows
        / reinforced.setting("effective_batch_size", rows).value
        for rows in (400, 900, 2500, 4000)
    ]
    assert all(100 <= count <= 300 for count in steps)
    assert [reinforced.setting("effective_batch_size", rows).value for rows in (499, 500)] == [
        16,
        32,
    ]


@pytest.mark.parametrize(
    ("batch", "reference", "rate"), [(16, 16, 1e-4), (128, 8, 4e-4), (8, 32, 5e-5), (1, 16, 2.5e-5)]
)
def test_the_rate_grows_with_the_root_of_the_batch(batch, reference, rate):
    assert scaled_rate(1e-4, batch, reference) == rate


@pytest.mark.parametrize(
    ("alpha", "rank", "reference", "scaled"),
    [(32, 16, 16, 32), (32, 64, 16, 128), (32, 8, 16, 16), (16, 1, 64, 1), (64, 512, 16, 1024)],
)
def test_alpha_keeps_the_recipes_ratio_to_the_rank(alpha, rank, reference, scaled):
    assert scaled_alpha(alpha, rank, reference) == scaled


def test_recipes_are_told_with_every_value_source_and_reason():
    told = {each.id: each for each in recipes_to_proto(RECIPES)}
    assert len(told) == len(RECIPES)
    tiny = told["sft-lora/tiny"]
    assert (tiny.technique, tiny.method, tiny.parameter_count_max) == (1, 1, 10_000_000)
    assert {each.field_path: each.value for each in tiny.values}["learning_rate"] == "0.004"
    epochs = [each.value for each in told["sft-lora/9b"].values if each.field_path == "epoch_count"]
    assert epochs == ["4 (below 500 rows)", "3 (below 5,000 rows)", "2 (below 50,000 rows)", "1"]
    assert all(each.source and each.reason for one in told.values() for each in one.values)
