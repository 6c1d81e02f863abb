"""Recipes: proven hyperparameters by size of the base model, each with its source."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

RECIPES = Path(__file__).with_name("recipes.yaml")


@dataclass(frozen=True)
class Setting:
    """One value of a recipe."""

    value: float | int | str | list[str] | bool
    """Absolute, in the unit of its field."""
    source: str
    """Where the number was published or measured."""
    reason: str
    """One sentence why."""


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters for one technique and method on models of one size."""

    id: str
    """Such as `sft-lora/tiny`."""
    parameter_count_max: int | None
    """Largest model it is for; None for no bound."""
    settings: dict[str, Setting]
    """By path inside `hyperparameters`, such as `lora.rank`; `epoch_count` may be missing."""
    epochs_by_rows: tuple[tuple[int | None, Setting], ...]
    """Epochs by number of training rows: first entry whose bound is above it; None for no bound."""

    def setting(self, name: str, train_row_count: int) -> Setting:
        """Return one setting.

        Args:
            name: Path inside `hyperparameters`.
            train_row_count: Rows to train on; only the number of epochs depends on it.
        """
        if name != "epoch_count" or name in self.settings:
            return self.settings[name]
        return next(
            setting
            for bound, setting in self.epochs_by_rows
            if bound is None or train_row_count < bound
        )


def load_recipes(path: Path = RECIPES) -> tuple[Recipe, ...]:
    """Return the recipes of a file, smallest models first.

    Raises:
        KeyError: If an entry lacks a value, a source or a reason.
    """
    body = yaml.safe_load(path.read_text())
    reasons: dict[str, str] = body["reasons"]
    common = {name: _setting(name, entry, reasons) for name, entry in body["common"].items()}
    epochs = tuple(
        (entry.get("rows_below"), _setting("epoch_count", entry, reasons))
        for entry in body["epochs_by_rows"]
    )
    recipes = []
    for entry in body["classes"]:
        own = {name: _setting(name, each, reasons) for name, each in entry["values"].items()}
        recipe = Recipe(entry["id"], entry.get("parameter_count_max"), {**common, **own}, epochs)
        recipes.append(recipe)
    return tuple(recipes)


def recipe_for(recipes: tuple[Recipe, ...], parameter_count: int) -> Recipe:
    """Return the recipe for a model with so many parameters."""
    return next(
        recipe
        for recipe in recipes
        if recipe.parameter_count_max is None or parameter_count <= recipe.parameter_count_max
    )


def _setting(name: str, entry: dict[str, Any], reasons: dict[str, str]) -> Setting:
    return Setting(entry["value"], entry["source"], reasons[name])
