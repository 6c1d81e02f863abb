"""Recipes and the catalogue: complete, sourced, chosen by size."""

import pytest

from services.planner.plan.catalogue import CatalogueModel, load_catalogue, narrow
from services.planner.plan.recipe import load_recipes, recipe_for
from services.planner.spec.rules import HYPERPARAMETER_RANGES

RECIPES = load_recipes()
CATALOGUE = load_catalogue()
ROWS = (10, 499, 500, 4999, 5000, 49_999, 50_000, 1_000_000)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.id)
def test_every_recipe_is_complete_sourced_and_within_the_ranges(recipe):
    needed = [name for name in HYPERPARAMETER_RANGES if not name.startswith(("dpo.", "rl."))]
    needed += ["schedule", "assistant_only_loss", "packing", "lora.target_modules"]
    for name in needed:
        for rows in ROWS:
            setting = recipe.setting(name, rows)
            assert setting.source, name
            assert setting.reason.endswith("."), name
            allowed = HYPERPARAMETER_RANGES.get(name)
            assert allowed is None or allowed.holds(setting.value), name


@pytest.mark.parametrize(
    ("parameter_count", "recipe_id"),
    [
        (1_300_000, "sft-lora/tiny"),
        (10_000_000, "sft-lora/tiny"),
        (10_000_001, "sft-lora/2b"),
        (8_000_000_000, "sft-lora/9b"),
        (32_000_000_000, "sft-lora/34b"),
        (400_000_000_000, "sft-lora/70b"),
    ],
)
def test_a_model_gets_the_recipe_of_its_size(parameter_count, recipe_id):
    assert recipe_for(RECIPES, parameter_count).id == recipe_id


def test_fewer_rows_need_more_epochs():
    recipe = recipe_for(RECIPES, 8_000_000_000)
    assert [recipe.setting("epoch_count", rows).value for rows in ROWS[::2]] == [4, 3, 2, 1]


def test_every_model_of_the_catalogue_is_complete_and_named_once():
    ids = [model.id for model in CATALOGUE]
    assert len(ids) == len(set(ids)) >= 9
    for model in CATALOGUE:
        assert model.licence
        assert model.source
        assert min(model.context_length, model.parameter_count) > 1000


def local(model_id: str, parameter_count: int) -> CatalogueModel:
    return CatalogueModel(model_id, "", 2048, parameter_count, "at hand", "ab" * 32)


def test_what_is_at_hand_comes_first_largest_foremost_then_the_smallest_of_the_rest():
    models = narrow(CATALOGUE, [local("attune/starter", 10), local("org/own", 20)], ())
    assert [model.id for model in models[:3]] == [
        "org/own",
        "attune/starter",
        "HuggingFaceTB/SmolLM2-135M",
    ]
    assert models[1].licence == "Apache-2.0"  # The trainer did not know it; the catalogue does.


def test_the_operator_narrows_both_what_is_known_and_what_is_at_hand():
    models = narrow(CATALOGUE, [local("org/own", 20)], ("org/own", "Qwen/Qwen3-4B"))
    assert [model.id for model in models] == ["org/own", "Qwen/Qwen3-4B"]
    assert narrow(CATALOGUE, [], ("org/unknown",)) == ()
