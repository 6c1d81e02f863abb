"""Recipes: proven hyperparameters by technique, method and size of the base model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from attune.planner.v1 import catalogue_pb2
from attune.spec.v1 import stage_pb2

RECIPES = Path(__file__).with_name("recipes.yaml")
ADAPTERS = (stage_pb2.METHOD_LORA, stage_pb2.METHOD_QLORA, stage_pb2.METHOD_DORA)
"""Methods that train adapters beside frozen weights."""

Plain = float | int | str | list[str] | bool


@dataclass(frozen=True)
class Setting:
    """One value of a recipe."""

    value: Plain
    """Absolute, in the unit of its field."""
    source: str
    """Where the number was published or measured."""
    reason: str
    """One sentence why."""


ByRows = tuple[tuple[int | None, Setting], ...]
"""Settings by number of training rows: first entry whose bound is above it; None for no bound."""


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters for one technique and method on models of one size."""

    id: str
    """Such as `sft-lora/tiny`."""
    technique: stage_pb2.Technique.ValueType
    method: stage_pb2.Method.ValueType
    parameter_count_max: int | None
    """Largest model it is for; None for no bound."""
    settings: dict[str, Setting]
    """By path inside `hyperparameters`, such as `lora.rank`; those win over `by_rows`."""
    by_rows: dict[str, ByRows]
    """What depends on the number of rows, by path."""

    @property
    def names(self) -> list[str]:
        """Paths of everything it sets."""
        return list(dict.fromkeys((*self.settings, *self.by_rows)))

    def setting(self, name: str, train_row_count: int) -> Setting:
        """Return one setting.

        Args:
            name: Path inside `hyperparameters`.
            train_row_count: Rows, or prompts, to train on.
        """
        if name in self.settings:
            return self.settings[name]
        return next(
            setting
            for bound, setting in self.by_rows[name]
            if bound is None or train_row_count < bound
        )


def load_recipes(path: Path = RECIPES) -> tuple[Recipe, ...]:
    """Return the recipes of a file: family after family, smallest models first.

    Raises:
        KeyError: If an entry lacks a value, a source or a reason, or names an unknown family.
    """
    body = yaml.safe_load(path.read_text())
    families: dict[str, dict[str, Any]] = {}
    recipes: list[Recipe] = []
    for entry in body["families"]:
        family = _inherit(entry, families.get(entry["like"]) if "like" in entry else None)
        families[entry["id"]] = family
        reasons = body["reasons"] | family["reasons"]
        recipes += [_recipe(family, size, bound, reasons) for size, bound in body["sizes"].items()]
    return tuple(recipes)


def recipe_for(
    recipes: tuple[Recipe, ...],
    parameter_count: int,
    technique: stage_pb2.Technique.ValueType = stage_pb2.TECHNIQUE_SFT,
    method: stage_pb2.Method.ValueType = stage_pb2.METHOD_LORA,
) -> Recipe:
    """Return the recipe for a model with so many parameters.

    A kind of adapter without a recipe of its own for the technique takes that of LoRA: what is
    published for it differs from LoRA in memory and not in rates.
    """
    known = {(recipe.technique, recipe.method) for recipe in recipes}
    wanted = (technique, method)
    if wanted not in known and method in ADAPTERS:
        wanted = (technique, stage_pb2.METHOD_LORA)
    return next(
        recipe
        for recipe in recipes
        if (recipe.technique, recipe.method) == wanted
        and (recipe.parameter_count_max is None or parameter_count <= recipe.parameter_count_max)
    )


def scaled_rate(learning_rate: float, batch: int, reference_batch: int) -> float:
    """Return the learning rate for another batch, to three significant digits.

    The rate grows with the square root of the batch, as the multi-node recipes of AWS SageMaker
    recipes 2.0 scale theirs (1e-4 at 8 rows, 4e-4 at 128).

    Args:
        learning_rate: At the reference batch, above 0.
        batch: Rows or prompts per step, at least 1.
        reference_batch: Those of the recipe, at least 1.
    """
    scaled = learning_rate * math.sqrt(batch / reference_batch)
    return float(f"{scaled:.3g}")


def scaled_alpha(alpha: int, rank: int, reference_rank: int) -> int:
    """Return the alpha that keeps a recipe's ratio of alpha to rank, in [1, 1024].

    Args:
        alpha: Of the recipe.
        rank: That is wanted, at least 1.
        reference_rank: Of the recipe, at least 1.
    """
    return max(1, min(1024, round(alpha * rank / reference_rank)))


def recipes_to_proto(recipes: tuple[Recipe, ...]) -> list[catalogue_pb2.Recipe]:
    """Return the recipes as ListRecipes gives them; what depends on rows has an entry for each."""
    return [
        catalogue_pb2.Recipe(
            id=recipe.id,
            technique=recipe.technique,
            method=recipe.method,
            parameter_count_max=recipe.parameter_count_max or 0,
            values=_values_to_proto(recipe),
        )
        for recipe in recipes
    ]


def plain_text(value: Plain) -> str:
    """Return a value as people write it: `0.0003`, `true`, `a, b`."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.10g}"
    return ", ".join(value) if isinstance(value, list) else str(value)


def _values_to_proto(recipe: Recipe) -> list[catalogue_pb2.RecipeValue]:
    found = []
    for name in recipe.names:
        steps: ByRows = recipe.by_rows.get(name, ())
        if name in recipe.settings:
            steps = ((None, recipe.settings[name]),)
        for bound, setting in steps:
            reach = f" (below {bound:,} rows)" if bound is not None else ""
            value = catalogue_pb2.RecipeValue(
                field_path=name,
                value=plain_text(setting.value) + reach,
                source=setting.source,
                reason=setting.reason,
            )
            found.append(value)
    return found


def _inherit(entry: dict[str, Any], parent: dict[str, Any] | None) -> dict[str, Any]:
    """Return a family with what it takes over from the family it is like."""
    parts = ("reasons", "values", "by_rows", "by_size")
    family = {part: dict(entry.get(part, {})) for part in parts}
    if parent is None:
        return {**entry, **family}
    dropped = entry.get("without", "-") + "."
    # A value that is new here wins over what the parent says by size or rows about the same name.
    anew = set(family["values"])
    by_size = {}
    for size in parent["by_size"] | family["by_size"]:
        taken = {k: v for k, v in parent["by_size"].get(size, {}).items() if k not in anew}
        by_size[size] = taken | family["by_size"].get(size, {})
    merged = {
        "reasons": parent["reasons"] | family["reasons"],
        "values": parent["values"] | family["values"],
        "by_rows": {k: v for k, v in parent["by_rows"].items() if k not in anew}
        | family["by_rows"],
        "by_size": by_size,
    }
    merged["values"] = {k: v for k, v in merged["values"].items() if not k.startswith(dropped)}
    for size, values in by_size.items():
        by_size[size] = {k: v for k, v in values.items() if not k.startswith(dropped)}
    return {**parent, **entry, **merged}


def _recipe(
    family: dict[str, Any], size: str, bound: int | None, reasons: dict[str, str]
) -> Recipe:
    values = family["values"] | family["by_size"].get(size, {})
    return Recipe(
        id=f"{family['id']}/{size}",
        technique=stage_pb2.Technique.Value(f"TECHNIQUE_{family['technique']}"),
        method=stage_pb2.Method.Value(f"METHOD_{family['method']}"),
        parameter_count_max=bound,
        settings={name: _setting(name, entry, reasons) for name, entry in values.items()},
        by_rows={
            name: tuple((each.get("rows_below"), _setting(name, each, reasons)) for each in steps)
            for name, steps in family["by_rows"].items()
        },
    )


def _setting(name: str, entry: dict[str, Any], reasons: dict[str, str]) -> Setting:
    return Setting(entry["value"], entry["source"], reasons[name])
