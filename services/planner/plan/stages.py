"""The training stage of a plan: technique, method, hyperparameters, and what was rejected."""

from __future__ import annotations

import math
from dataclasses import dataclass

from attune.spec.v1 import stage_pb2

from services.planner.dataset.facts import DatasetFacts
from services.planner.plan.catalogue import CatalogueModel
from services.planner.plan.choice import DATA, RECIPE, RULE, Ledger
from services.planner.plan.recipe import Recipe, Setting
from services.planner.spec.rules import LENGTH_MIN

LENGTH_STEP = 64
REJECTED = {
    "DPO": "The rows hold one right answer each, and no pairs of a better and a worse one.",
    "RLVR": "Reinforcement sharpens what a model can do already; demonstrations teach it.",
    "RLAIF": "A judge's opinion is weaker than the right answers that the rows hold.",
    "full fine-tuning": "It costs far more memory and forgets more, for no gain at this size.",
    "QLoRA": "Four-bit weights save memory that this base model does not need saved.",
    "DoRA": "It trains more slowly than LoRA and seldom scores higher.",
}
"""Techniques and methods that are not proposed, each with the reason."""


@dataclass(frozen=True)
class Sources:
    """What a plan is made from besides the brief."""

    dataset: DatasetFacts
    """The rows to learn from."""
    holdout: DatasetFacts | None
    """The rows that are held out; None when a share of the dataset is."""
    models: tuple[CatalogueModel, ...]
    """Models that a plan may name, best default first."""
    narrowed: bool
    """Whether the operator narrowed them."""
    recipes: tuple[Recipe, ...]
    """Hyperparameters by size."""

    @property
    def answers_are_json(self) -> bool:
        """Whether every answer, held out or not, is a JSON object."""
        held = [self.holdout] if self.holdout else []
        return all(facts.report.json_answer_share == 1 for facts in (self.dataset, *held))

    def longest(self, figure: str) -> int:
        """Return the larger figure of both reports, such as `max_token_count`."""
        held = [self.holdout] if self.holdout else []
        return max(int(getattr(facts.report, figure)) for facts in (self.dataset, *held))


def propose_stage(ledger: Ledger, sources: Sources, recipe: Recipe) -> None:
    """Decide technique, method and every hyperparameter of the one stage.

    Args:
        ledger: Has the base model and the data already.
        sources: Lengths of the rows.
        recipe: For the size of the base model.
    """
    stage = ledger.spec.stages.add()
    ledger.decide(
        "stages.0.technique",
        stage_pb2.TECHNIQUE_SFT,
        source=DATA,
        origin="rule D6: the rows are demonstrations",
        reason="Each row shows one right answer, which is what supervised fine-tuning learns from.",
        basic=True,
        allowed=["TECHNIQUE_SFT"],
    )
    ledger.decide(
        "stages.0.method",
        stage_pb2.METHOD_LORA,
        source=RULE,
        origin="rules D9 and D10: adapters before all weights",
        reason="A small adapter learns as much from so many rows, forgets less and serves cheaply.",
        basic=True,
        allowed=["METHOD_LORA"],
    )
    stage.rejected_alternatives.extend(
        stage_pb2.RejectedAlternative(title=title, reason=reason)
        for title, reason in REJECTED.items()
    )
    rows = ledger.spec.data.train_row_count
    names = list(recipe.settings)
    names += [] if "epoch_count" in names else ["epoch_count"]
    for name in names:
        _hyperparameter(ledger, recipe, name, recipe.setting(name, rows))
    context_length = ledger.spec.base_model.context_length
    longest = sources.longest("max_token_count")
    ledger.decide(
        "stages.0.hyperparameters.max_length",
        min(context_length, max(LENGTH_MIN, math.ceil(longest / LENGTH_STEP) * LENGTH_STEP)),
        source=DATA,
        origin=f"the longest row has {longest:,} tokens",
        reason=f"No answer is cut; rounded up to a multiple of {LENGTH_STEP}.",
    )


def _hyperparameter(ledger: Ledger, recipe: Recipe, name: str, setting: Setting) -> None:
    value = setting.value
    if name == "schedule":
        value = stage_pb2.Hyperparameters.Schedule.Value(f"SCHEDULE_{str(value).upper()}")
    ledger.decide(
        f"stages.0.hyperparameters.{name}",
        value,
        source=RECIPE,
        origin=f"{recipe.id}: {setting.source}",
        reason=setting.reason,
        basic=name in ("learning_rate", "epoch_count", "effective_batch_size", "lora.rank"),
        allowed=["SCHEDULE_COSINE", "SCHEDULE_LINEAR", "SCHEDULE_CONSTANT"]
        if name == "schedule"
        else (),
    )
