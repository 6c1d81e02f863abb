"""The training stages of a plan: technique, method, hyperparameters, and what was rejected."""

from __future__ import annotations

import math
from dataclasses import dataclass

from attune.spec.v1 import stage_pb2

from services.planner.brief import Brief
from services.planner.dataset.facts import DatasetFacts
from services.planner.plan.catalogue import CatalogueModel
from services.planner.plan.choice import DATA, RECIPE, REINFORCED, RULE, USER, Ledger
from services.planner.plan.decision import Decision
from services.planner.plan.recipe import (
    ADAPTERS,
    Recipe,
    Setting,
    recipe_for,
    scaled_alpha,
    scaled_rate,
)
from services.planner.spec.rules import LENGTH_MIN, LOSSES, context_of
from services.planner.vocabulary import Task

LENGTH_STEP = 64
LENGTH_UNKNOWN = 2048
"""Longest row in tokens while no rows are there to count: that of AWS SageMaker's DPO recipes, and
half of what their SFT recipes take."""
PROMPT_LENGTH_MIN = 512
"""AWS SageMaker recipes 2.0 (verl, GRPO): prompts of 512 tokens."""
COMPLETION_LENGTH = 1024
"""AWS SageMaker recipes 2.0 (verl, GRPO): completions of 1,024 tokens."""
REASONED_COMPLETION_LENGTH = 2048
"""For tasks that are worked out before they are answered."""
REASONED = (Task.MATH_REASONING, Task.CODE)
BASIC = ("learning_rate", "epoch_count", "effective_batch_size", "lora.rank")
BASIC_BY_PART = ("dpo.beta", "rl.group_size")
SCHEDULES = ["SCHEDULE_COSINE", "SCHEDULE_LINEAR", "SCHEDULE_CONSTANT"]
TECHNIQUE_NAMES = {
    "SFT": stage_pb2.TECHNIQUE_SFT,
    "DPO": stage_pb2.TECHNIQUE_DPO,
    "RLVR": stage_pb2.TECHNIQUE_RLVR,
    "RLAIF": stage_pb2.TECHNIQUE_RLAIF,
}
METHOD_NAMES = {
    "lora": stage_pb2.METHOD_LORA,
    "qlora": stage_pb2.METHOD_QLORA,
    "dora": stage_pb2.METHOD_DORA,
    "full": stage_pb2.METHOD_FULL,
}
METHOD_REASONS = {
    stage_pb2.METHOD_LORA: (
        "A small adapter learns as much from so many rows, forgets less and serves cheaply."
    ),
    stage_pb2.METHOD_QLORA: "Four-bit weights let a larger base fit where LoRA would not.",
    stage_pb2.METHOD_DORA: "It learns direction and size of the update apart, for a little time.",
    stage_pb2.METHOD_FULL: "All weights may move, for the price of far more memory.",
}
REJECTED_METHODS = {
    "LoRA": "You asked for another method, and the plan keeps it.",
    "full fine-tuning": "It costs far more memory and forgets more, for no gain at this size.",
    "QLoRA": "Four-bit weights save memory that this base model does not need saved.",
    "DoRA": "It trains more slowly than LoRA and seldom scores higher.",
}
METHOD_TITLES = {
    stage_pb2.METHOD_LORA: "LoRA",
    stage_pb2.METHOD_QLORA: "QLoRA",
    stage_pb2.METHOD_DORA: "DoRA",
    stage_pb2.METHOD_FULL: "full fine-tuning",
}


@dataclass(frozen=True)
class Sources:
    """What a plan is made from besides the brief."""

    dataset: DatasetFacts | None
    """The rows to learn from; None while they are only described."""
    holdout: DatasetFacts | None
    """The rows that are held out; None when a share of the dataset is."""
    models: tuple[CatalogueModel, ...]
    """Models that a plan may name, best default first."""
    narrowed: bool
    """Whether the operator narrowed them."""
    recipes: tuple[Recipe, ...]
    """Hyperparameters by technique, method and size."""
    has_judge: bool | None = None
    """Whether the trainer has a model for graders to ask; None while it does not say."""

    @property
    def answers_are_json(self) -> bool:
        """Whether every answer, held out or not, is a JSON object."""
        known = self._known
        return bool(known) and all(facts.report.json_answer_share == 1 for facts in known)

    def longest(self, figure: str) -> int:
        """Return the larger figure of both reports, such as `max_token_count`; 0 without rows."""
        return max((int(getattr(facts.report, figure)) for facts in self._known), default=0)

    @property
    def _known(self) -> list[DatasetFacts]:
        return [facts for facts in (self.dataset, self.holdout) if facts is not None]


def propose_stage(
    ledger: Ledger, index: int, brief: Brief, sources: Sources, decision: Decision
) -> None:
    """Decide technique, method and every hyperparameter of one stage.

    Args:
        ledger: Has the base model, the data and the stages before.
        index: Of the stage.
        brief: Technique and method that were named.
        sources: Recipes, and lengths of the rows.
        decision: Names technique and method.
    """
    stage = ledger.spec.stages.add()
    technique, path = decision.techniques[index], f"stages.{index}."
    named = TECHNIQUE_NAMES.get(brief.technique) == technique
    ledger.decide(
        path + "technique",
        technique,
        source=USER if named else DATA,
        origin=f"You asked for {brief.technique}" if named else decision.technique_origin,
        reason=decision.technique_reason
        if index == 0
        else "It sharpens what the stage before has taught, and starts from its result.",
        basic=True,
        allowed=[f"TECHNIQUE_{name}" for name in TECHNIQUE_NAMES],
    )
    _method(ledger, path, brief, decision)
    rejected = {**REJECTED_METHODS, **decision.rejected}
    own = [title for title, each in TECHNIQUE_NAMES.items() if each in decision.techniques]
    for title in (METHOD_TITLES[decision.method], *own):
        rejected.pop(title, None)
    stage.rejected_alternatives.extend(
        stage_pb2.RejectedAlternative(title=title, reason=reason)
        for title, reason in rejected.items()
    )
    parameter_count = ledger.spec.base_model.parameter_count
    recipe = recipe_for(sources.recipes, parameter_count, technique, decision.method)
    rows = ledger.spec.data.train_row_count
    # Batch and rank come first: rate and alpha follow them.
    first = ["effective_batch_size", "lora.rank"]
    names = [name for name in first if name in recipe.names]
    names += [name for name in recipe.names if name not in first]
    for name in names:
        _hyperparameter(ledger, path, recipe, name, recipe.setting(name, rows))
    if technique in REINFORCED:
        _reinforced_lengths(ledger, path, sources, decision)
    else:
        _length(ledger, path, sources)
    _when_said(ledger, path, decision)


def _when_said(ledger: Ledger, path: str, decision: Decision) -> None:
    """Decide what stands in a plan only when a person says it."""
    bound = path + "hyperparameters.max_step_count"
    if bound in ledger.said:
        ledger.decide(
            bound,
            None,
            source=RULE,
            origin="no bound is recommended",
            reason="The number of epochs says when training ends.",
        )
    stabilized = path + "hyperparameters.lora.rank_stabilized"
    if stabilized in ledger.said and decision.method in ADAPTERS:
        ledger.decide(
            stabilized,
            None,
            source=RULE,
            origin="no recipe uses it",
            reason="The recipes' alpha is meant for a division by the rank.",
        )


def _method(ledger: Ledger, path: str, brief: Brief, decision: Decision) -> None:
    method = decision.method
    named = METHOD_NAMES.get(brief.method.lower()) == method
    ledger.decide(
        path + "method",
        stage_pb2.METHOD_LORA,
        value=method,
        source=USER if named else RULE,
        origin=f"You asked for {brief.method}"
        if named
        else "rules D9 and D10: adapters before all weights",
        reason=METHOD_REASONS[method],
        basic=True,
        allowed=[f"METHOD_{name.upper()}" for name in METHOD_NAMES],
    )
    if method in ADAPTERS:
        ledger.spec.stages[-1].hyperparameters.lora.SetInParent()


def _hyperparameter(ledger: Ledger, path: str, recipe: Recipe, name: str, setting: Setting) -> None:
    if name.startswith("lora.") and len(ledger.spec.stages) > 1:
        _as_before(ledger, path, name)
        return
    value: object = setting.value
    origin, source = f"{recipe.id}: {setting.source}", RECIPE
    if name == "schedule":
        value = stage_pb2.Hyperparameters.Schedule.Value(f"SCHEDULE_{str(value).upper()}")
    rows = ledger.spec.data.train_row_count
    tuned = ledger.spec.stages[-1].hyperparameters
    if name == "learning_rate":
        reference = int(str(recipe.setting("effective_batch_size", rows).value))
        batch = tuned.effective_batch_size
        if batch != reference:
            value = scaled_rate(float(str(value)), batch, reference)
            origin = f"{origin}; times the root of {batch}/{reference} for the batch"
            source = RULE
    if name == "lora.alpha":
        reference = int(str(recipe.setting("lora.rank", rows).value))
        if tuned.lora.rank != reference:
            value = scaled_alpha(int(str(value)), tuned.lora.rank, reference)
            origin = f"{origin}; in the same ratio to the rank"
            source = RULE
    ledger.decide(
        f"{path}hyperparameters.{name}",
        value,
        source=source,
        origin=origin,
        reason=setting.reason,
        basic=name in (*BASIC, *BASIC_BY_PART),
        allowed=SCHEDULES if name == "schedule" else LOSSES.get(name, ()),
    )


def _as_before(ledger: Ledger, path: str, name: str) -> None:
    """Decide a setting of the adapter that this stage goes on training: that of the first one."""
    first = getattr(ledger.spec.stages[0].hyperparameters.lora, name.removeprefix("lora."))
    ledger.said.pop(f"{path}hyperparameters.{name}", None)
    ledger.decide(
        f"{path}hyperparameters.{name}",
        list(first) if name == "lora.target_modules" else first,
        source=RULE,
        origin="the adapter of the first stage",
        reason="All stages train one adapter, so that it keeps its shape.",
    )


def _length(ledger: Ledger, path: str, sources: Sources) -> None:
    context_length = context_of(ledger.spec)
    longest = sources.longest("max_token_count")
    ledger.decide(
        path + "hyperparameters.max_length",
        min(context_length, _rounded(longest) if longest else LENGTH_UNKNOWN),
        source=DATA if longest else RULE,
        origin=f"the longest row has {longest:,} tokens" if longest else "no rows are known yet",
        reason=f"No answer is cut; rounded up to a multiple of {LENGTH_STEP}."
        if longest
        else "Room for a few pages; the rows will say how much is needed.",
    )


def _reinforced_lengths(ledger: Ledger, path: str, sources: Sources, decision: Decision) -> None:
    """Decide how long prompts and answers may be; together they fit into the context."""
    context_length = context_of(ledger.spec)
    longest = sources.longest("max_token_count")
    answer = sources.longest("max_answer_token_count")
    reasoned = decision.task in REASONED
    least = REASONED_COMPLETION_LENGTH if reasoned else COMPLETION_LENGTH
    completion = min(max(least, _rounded(2 * answer)), max(1, context_length // 2))
    prompt = max(PROMPT_LENGTH_MIN, _rounded(longest))
    inside = path + "hyperparameters."
    _leave_out_above(ledger, inside + "rl.max_completion_length", context_length - LENGTH_MIN)
    ledger.decide(
        inside + "rl.max_completion_length",
        completion,
        source=RULE,
        origin="AWS SageMaker recipes 2.0 (verl, GRPO): 1,024 tokens, twice that for reasoning",
        reason="Answers that end too early score nothing, and long ones cost the most time.",
    )
    completion = ledger.spec.stages[-1].hyperparameters.rl.max_completion_length
    room = max(1, context_length - completion)
    _leave_out_above(ledger, inside + "rl.max_prompt_length", room)
    ledger.decide(
        inside + "rl.max_prompt_length",
        min(prompt, room),
        source=DATA if longest else RULE,
        origin=f"the longest row has {longest:,} tokens" if longest else "no rows are known yet",
        reason="Every prompt fits, and with its answer into the context.",
    )
    prompt = ledger.spec.stages[-1].hyperparameters.rl.max_prompt_length
    ledger.decide(
        inside + "max_length",
        max(LENGTH_MIN, min(context_length, prompt + completion)),
        source=RULE,
        origin="longest prompt and longest answer together",
        reason="A sequence holds one prompt and one answer.",
    )


def _leave_out_above(ledger: Ledger, path: str, bound: int) -> None:
    """Take back what was said about a length when the context has no room for it."""
    if ledger.said_fits(path) and float(ledger.said[path]) > bound:
        del ledger.said[path]


def _rounded(tokens: int) -> int:
    """Return the next multiple of LENGTH_STEP, at least LENGTH_MIN."""
    return max(LENGTH_MIN, math.ceil(tokens / LENGTH_STEP) * LENGTH_STEP)
