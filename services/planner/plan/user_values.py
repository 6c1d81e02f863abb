"""What a person should hear about values that they set: far off, impossible, cutting rows."""

from __future__ import annotations

from collections.abc import Mapping

from attune.spec.v1 import spec_pb2, stage_pb2

from services.common.errors import InvalidArgument
from services.planner.brief import Brief, Value
from services.planner.plan.choice import REINFORCED, USER, place
from services.planner.plan.notices import Note, note
from services.planner.plan.recipe import scaled_alpha
from services.planner.plan.stages import Sources
from services.planner.spec.path import as_text, resolve, text_at
from services.planner.spec.rules import LOSSES, SHARED, range_of

FAR = 8.0
"""Times a recipe's value from which on a value is about ten times it (rule U2)."""
ANY_VALUE = ("seed", "max_length", "max_step_count", "rl.max_prompt_length")
"""Hyperparameters for which no value is far: it depends on the rows, or does not matter."""
USUAL = {"rl.kl_coefficient": "0.001"}
"""What is usual when a recipe recommends zero, where anything is (AWS SageMaker recipes 2.0)."""
MERGED_ONLY = {stage_pb2.METHOD_DORA: "DoRA", stage_pb2.METHOD_FULL: "full fine-tuning"}
"""Methods whose result vLLM cannot load as an adapter, as they are called."""
PATIENCE_OFF = 100
"""Looks without progress from which on early stopping is as good as switched off."""
HYPERPARAMETERS = ".hyperparameters."
WHY = {
    "rl.temperature": "At temperature 0 all answers to a prompt are the same, so none is better "
    "than another and nothing is learnt",
    "rl.group_size": "answers are compared within their group, and one alone has no rival",
    "lora.rank": "an adapter needs at least one dimension",
    "lora.alpha": "the adapter would act with no strength",
    "learning_rate": "a rate of zero learns nothing, a negative one unlearns, and above 0.1 the "
    "weights are torn apart",
    "epoch_count": "the rows would not be seen",
    "effective_batch_size": "a step needs at least one row",
    "rl.max_prompt_length": "prompt and completion together must fit into the context",
    "rl.max_completion_length": "prompt and completion together must fit into the context",
    "packing": "only supervised fine-tuning learns rows that can share a sequence",
    "dpo.beta": "without a pull towards its start the model forgets to write",
}
"""Why a value outside the range cannot work, by hyperparameter."""


def check_user_values(
    spec: spec_pb2.Spec, sources: Sources, brief: Brief | None = None
) -> list[Note]:
    """Return what to say about the values that a person set.

    Args:
        spec: A plan, complete.
        sources: Lengths of the rows.
        brief: What was said; without it no value can be told to have been left out.
    """
    found = [*_far(spec), *_cut(spec, sources), *_merged_only(spec)]
    return found + (_refused(spec, sources, brief) if brief is not None else [])


def notes_on_change(before: spec_pb2.Spec, after: spec_pb2.Spec) -> list[Note]:
    """Return what to say about a new revision: the step that changed because the rank did.

    Args:
        before: The revision before.
        after: The new one.
    """
    found = []
    for index, (old, new) in enumerate(zip(before.stages, after.stages, strict=False)):
        was, now = old.hyperparameters.lora, new.hyperparameters.lora
        if not (was.rank and now.rank) or old.technique != new.technique:
            continue
        if now.rank_stabilized:
            continue  # Its steps hardly depend on the rank.
        moved = (was.rank != now.rank, was.alpha != now.alpha)
        scale, scale_now = was.alpha / was.rank, now.alpha / now.rank
        if any(moved) and scale != scale_now:
            field = "lora.rank" if moved[0] else "lora.alpha"
            found.append(
                note(
                    "rank_alpha_scale",
                    field_path=f"stages.{index}{HYPERPARAMETERS}{field}",
                    rule="U2",
                    rank=now.rank,
                    alpha=now.alpha,
                    alpha_same=scaled_alpha(was.alpha, now.rank, was.rank),
                    before=as_text(scale),
                    after=as_text(scale_now),
                )
            )
    return found


def _far(spec: spec_pb2.Spec) -> list[Note]:
    found = []
    for choice in spec.choices:
        path = choice.field_path
        _, inside, name = path.partition(HYPERPARAMETERS)
        if choice.source != USER or not inside or name in ANY_VALUE:
            continue
        value = text_at(spec, path)
        usual = USUAL.get(name, "") if choice.recommended == "0" else choice.recommended
        if _is_far(value, usual) or _switches_off(spec, path, name):
            found.append(
                note(
                    "user_value_warned",
                    field_path=path,
                    rule="U2",
                    field=path,
                    value=value,
                    recommended=choice.recommended,
                )
            )
    return found


def _is_far(value: str, recommended: str) -> bool:
    try:
        said, wanted = float(value), float(recommended)
    except ValueError:
        return False  # No number stands on one of the sides.
    if said <= 0 or wanted <= 0:
        return False
    return max(said / wanted, wanted / said) >= FAR


def _switches_off(spec: spec_pb2.Spec, path: str, name: str) -> bool:
    """Return whether a value takes a safeguard of its stage away."""
    stage = spec.stages[int(path.split(".")[1])]
    tuned = stage.hyperparameters
    off: Mapping[str, bool] = {
        "rl.kl_coefficient": stage.technique == stage_pb2.TECHNIQUE_RLAIF
        and tuned.rl.kl_coefficient == 0,
        "early_stopping_patience": tuned.early_stopping_patience >= PATIENCE_OFF,
        "assistant_only_loss": not tuned.assistant_only_loss,
        "warmup_ratio": tuned.warmup_ratio == 0 and stage.technique not in REINFORCED,
    }
    return off.get(name, False)


def _merged_only(spec: spec_pb2.Spec) -> list[Note]:
    """Return a note for the first stage whose result is no adapter that an engine can load."""
    for index, stage in enumerate(spec.stages):
        if stage.method in MERGED_ONLY:
            path, method = f"stages.{index}.method", MERGED_ONLY[stage.method]
            unfit = SHARED if spec.serving.target == SHARED else None
            return [note("merged_only", field_path=path, method=method, target=unfit)]
    return []


def _cut(spec: spec_pb2.Spec, sources: Sources) -> list[Note]:
    """Return a note for every stage whose dictated length cuts rows."""
    found = []
    for choice in spec.choices:
        path = choice.field_path
        if choice.source != USER or not path.endswith(".max_length") or sources.dataset is None:
            continue
        limit = int(resolve(spec, path).value)
        report = sources.dataset.report
        mean = report.mean_prompt_token_count + report.mean_answer_token_count
        over = [each.percentile for each in report.token_percentiles if each.count > limit]
        longest = max(report.max_token_count, round(mean))
        if longest <= limit:
            continue
        share = f"{100 - min(over)} %" if over and min(over) < 100 else None
        found.append(
            note(
                "truncation_risk",
                field_path=path,
                rule="U2",
                limit=limit,
                mean=round(mean) or report.median_token_count,
                longest=longest,
                share=share,
            )
        )
    return found


def _refused(spec: spec_pb2.Spec, sources: Sources, brief: Brief) -> list[Note]:
    """Return a note for everything that was said and does not stand in the plan."""
    techniques = [stage.technique for stage in spec.stages]
    taken = {choice.field_path for choice in spec.choices if choice.source == USER}
    found = []
    for said, value in brief.said.items():
        path = place(said, techniques)
        if path in taken or path == "base_model.id":
            continue
        if path.startswith("stages.") and not spec.stages:
            continue
        why = _why(spec, sources, path, value)
        if why:
            found.append(
                note(
                    "user_value_rejected",
                    field_path=path,
                    rule="U4",
                    field=path,
                    value=as_text(value),
                    why=why,
                )
            )
    return found


def _why(spec: spec_pb2.Spec, sources: Sources, path: str, value: Value) -> str:
    """Return why a value does not stand in the plan; empty when there is nothing to say."""
    if path == "data.holdout_rows":
        if sources.holdout is not None:
            return f"{sources.holdout.display_name} is held out as it is"
        rows = spec.data.train_row_count + spec.data.holdout_row_count
        return f"there are only {rows:,} rows, and some must be left to learn from"
    if path in ("objective.problem", "objective.users"):
        return ""  # Kept, and cut where it is too long.
    name = path.partition(HYPERPARAMETERS)[2]
    try:
        kept = text_at(spec, path)
    except InvalidArgument:
        return "this plan has no such field"
    part = name.partition(".")[0]
    if part in ("lora", "dpo", "rl") and not resolve(spec, path.rpartition(".")[0]).is_set:
        return "the plan's technique or method does not use it"
    if name in LOSSES:
        return f"it is none of the losses here: {', '.join(LOSSES[name])}"
    allowed = range_of(spec, path)
    bound = f"; allowed is {allowed}, and the plan keeps {kept or 'none'}" if allowed else ""
    return WHY.get(name, "it cannot stand in this field") + bound
