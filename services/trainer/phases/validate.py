"""VALIDATE: everything that can be wrong is found before a step is trained."""

from __future__ import annotations

import shutil
from functools import partial
from hashlib import sha256
from typing import Any

from attune.spec.v1.compute_pb2 import ParallelPlan
from attune.spec.v1.stage_pb2 import Hyperparameters, Method, Stage, Technique

from services.trainer.evaluation.deciding import deciding_grader
from services.trainer.grading.build import build
from services.trainer.models.base_models import read_shape
from services.trainer.phases.chain import check_chain
from services.trainer.phases.disk import CHECKPOINTS_MAX, bytes_needed, trained_count
from services.trainer.phases.grader_check import check_graders
from services.trainer.phases.memory_probe import probe_memory
from services.trainer.phases.reinforcement import check_prompts, check_reward
from services.trainer.recipes import METHODS, RECIPES, REINFORCED, lack_of
from services.trainer.run import DISK_FULL, RunFailed
from services.trainer.runtime.crash_points import CrashPoint, reach
from services.trainer.runtime.run_context import RunContext, refused

USELESS_SHARE_MAX = 0.05
"""Share of rows that may train nothing; more of them stop the run."""
SORTED_LOSSES = ("aot", "aot_unpaired")
"""Of DPO, those that are no mean over pairs."""


def validate(context: RunContext) -> dict[str, Any]:
    """Check the spec, the rows, the template, the masks and the disk.

    Returns:
        Counts of rows and tokens.

    Raises:
        RunFailed: With the first thing that is wrong.
    """
    check_spec(context)
    _check_disk(context)
    split = context.split
    total = len(split.train) + len(split.validation) + len(split.holdout)
    context.report(0, total)
    train = context.train_examples
    context.report(len(train), total)
    validation = context.validation_examples
    context.report(len(train) + len(validation), total)
    for row in split.holdout:
        context.check()
        context.prompt_ids(row)
    learnt = [example for example in train if example is not None]
    measured = [example for example in validation if example is not None]
    useless = len(train) + len(validation) - len(learnt) - len(measured)
    _judge_useless(context, useless, len(train) + len(validation))
    if not learnt or not measured:
        raise RunFailed(
            "TOO_FEW_ROWS",
            f"{len(learnt)} rows to learn and {len(measured)} to validate are left. Add rows.",
        )
    if context.stage.technique in REINFORCED:
        check_prompts(context, len(learnt))
    if not split.apart:
        context.attempt.say(
            "So many rows are alike that some which are held out nearly equal some that are taught."
        )
    longest = _longest(context)
    cut = sum(example.length >= longest for example in [*learnt, *measured])
    if cut and context.stage.technique not in REINFORCED:
        context.attempt.say(f"{cut} rows reach the maximum length of {longest} tokens and are cut.")
    _say_when_prompts_are_learnt(context)
    graders = check_graders(context, deciding_grader(context))
    probed_bytes = probe_memory(context)
    context.report(total, total)
    reach(CrashPoint.VALIDATE_CHECKED)
    return {
        "graders": graders,
        "train_row_count": len(learnt),
        "validation_row_count": len(measured),
        "holdout_row_count": len(split.holdout),
        "useless_row_count": useless,
        "cut_row_count": cut,
        "token_count": sum(len(example.token_ids) for example in learnt),
        "token_count_max": max(example.length for example in learnt),
        "probed_bytes": probed_bytes,
    }


def check_spec(context: RunContext) -> None:
    """Refuse what was not approved, and what this trainer cannot do.

    Raises:
        RunFailed: With the first thing that is wrong.
    """
    spec, stage = context.spec, context.stage
    if sha256(spec.approval.canonical_spec).hexdigest() != spec.hash:
        raise RunFailed(
            "SPEC_CHANGED", "The approved bytes do not hash to the spec's hash. Approve it again."
        )
    name = Technique.Name(stage.technique)
    if stage.technique not in RECIPES:
        raise RunFailed("UNSUPPORTED_TECHNIQUE", f"This trainer has no recipe for {name}.")
    _check_method(context)
    check_chain(context)
    if stage.technique == Technique.TECHNIQUE_DPO:
        _check_preferences(stage)
    settings = stage.hyperparameters
    if settings.packing and stage.technique != Technique.TECHNIQUE_SFT:
        raise RunFailed(
            "UNSUPPORTED_PACKING", f"{name} compares whole answers. Turn packing off for it."
        )
    if settings.schedule == Hyperparameters.SCHEDULE_UNSPECIFIED:
        raise RunFailed("NO_SCHEDULE", "hyperparameters.schedule is not set. Choose one.")
    for one in (*spec.evaluation.graders, *(each.grader for each in stage.reward.graders)):
        refused(partial(build, one))
    deciding_grader(context)
    if stage.technique in REINFORCED:
        check_reward(context)
    if not (context.model_folder / "MANIFEST.json").exists():
        raise RunFailed(
            "BASE_MODEL_MISSING",
            f"Revision {spec.base_model.revision[:12]} of {spec.base_model.id} is not at hand.",
        )
    _check_batch(context)


def _check_method(context: RunContext) -> None:
    """Refuse a method that this machine cannot run; another one is never taken instead."""
    method = context.stage.method
    if method not in METHODS:
        raise RunFailed("UNSUPPORTED_METHOD", f"There is no {Method.Name(method)} here.")
    lack = lack_of(method, has_cuda=context.use_cuda)
    if lack:
        raise RunFailed(
            "UNSUPPORTED_METHOD",
            f"{Method.Name(method)} needs {lack}, which this machine does not have. Run it on one "
            "that has, or choose METHOD_LORA in a new plan.",
        )


def _check_preferences(stage: Stage) -> None:
    """Refuse settings that the recipe would stop at, or learn nothing with."""
    values = stage.hyperparameters
    if values.dpo.loss_type == "exo_pair" and not values.dpo.label_smoothing:
        raise RunFailed(
            "NO_LABEL_SMOOTHING",
            "The loss exo_pair needs hyperparameters.dpo.label_smoothing above 0. Set 0.001.",
        )
    if "lm_head" in values.lora.target_modules:
        raise RunFailed(
            "UNSUPPORTED_TARGET",
            "DPO cannot train an adapter of lm_head. Leave it out of lora.target_modules.",
        )


def _check_batch(context: RunContext) -> None:
    plan = context.plan
    size = 1 if context.gang is None else context.gang.size
    if size != context.device_count:
        raise RunFailed(
            "GANG_MISMATCH",
            f"The placement has {context.device_count} devices and {size} processes were started. "
            "Let an engine run it that takes several devices, such as ray.",
        )
    if size > 1:
        check_gang(context.stage, plan, use_cuda=context.use_cuda)
    product = plan.micro_batch_size * plan.gradient_accumulation_steps * context.device_count
    settings = context.stage.hyperparameters
    wanted, what = settings.effective_batch_size, "rows"
    if context.stage.technique in REINFORCED:
        wanted, what = wanted * settings.rl.group_size, "answers"
    if product != wanted:
        raise RunFailed(
            "BATCH_MISMATCH",
            f"The placement steps over {product} {what}, the approved batch has {wanted}.",
        )


def check_gang(stage: Stage, plan: ParallelPlan, *, use_cuda: bool) -> None:
    """Refuse what several devices cannot train together, or would train as something else.

    Raises:
        RunFailed: With the field, its value, the rule and the remedy.
    """
    loss = stage.hyperparameters.dpo.loss_type
    if stage.technique == Technique.TECHNIQUE_DPO and loss in SORTED_LOSSES:
        raise RunFailed(
            "UNSUPPORTED_LOSS",
            f"hyperparameters.dpo.loss_type is {loss}, which compares the sorted pairs of a whole "
            "micro-batch: split over several devices it would be another loss. Choose sigmoid, or "
            "run it on one device.",
        )
    if plan.sharding != ParallelPlan.SHARDING_FSDP:
        return
    rule = ""
    if stage.technique in REINFORCED:
        rule = (
            f"{Technique.Name(stage.technique)} samples answers, for which each device needs all "
            "weights. Choose a smaller base model or METHOD_QLORA, so that one device holds it."
        )
    elif stage.method == Method.METHOD_QLORA:
        rule = "METHOD_QLORA holds weights of 4 bits, which are not sharded. Choose METHOD_LORA."
    elif not use_cuda:
        rule = "Weights are sharded over GPUs only. Use GPUs."
    if rule:
        raise RunFailed("UNSUPPORTED_SHARDING", f"parallel_plan.sharding is SHARDING_FSDP. {rule}")


def _check_disk(context: RunContext) -> None:
    shape = read_shape(context.model_folder)
    if shape is None:
        raise RunFailed("BASE_MODEL_BROKEN", "The base model's config.json cannot be read.")
    needed = bytes_needed(shape, context.stage)
    free = shutil.disk_usage(context.attempt.folder).free
    if free < needed:
        raise RunFailed(
            DISK_FULL,
            f"{free / 2**20:,.0f} MiB are free under {context.artefacts.root}, and "
            f"{needed / 2**20:,.0f} MiB are needed for {CHECKPOINTS_MAX} checkpoints of "
            f"{trained_count(shape, context.stage):,} trained values. Make room.",
        )


def _say_when_prompts_are_learnt(context: RunContext) -> None:
    """Say that a preview, which knows the row and not the plan, marks less than is learnt."""
    if context.stage.technique != Technique.TECHNIQUE_SFT:
        return
    if context.stage.hyperparameters.assistant_only_loss:
        return
    if any(row.messages for row in context.split.train):
        context.attempt.say(
            "hyperparameters.assistant_only_loss is false: every token of a row is learnt, prompts "
            "and answers of weight 0 too. Previews mark the answers alone."
        )


def _longest(context: RunContext) -> int:
    settings = context.stage.hyperparameters
    if context.stage.technique in REINFORCED:
        return settings.rl.max_prompt_length
    return settings.max_length


def _judge_useless(context: RunContext, useless: int, total: int) -> None:
    if not useless:
        return
    text = f"{useless} of {total} rows hold no token to learn within {_longest(context)} tokens"
    remedy = "Raise max_length or mend the rows."
    if context.stage.technique in REINFORCED:
        text = f"{useless} of {total} prompts are longer than {_longest(context)} tokens"
        remedy = "Raise rl.max_prompt_length or shorten the prompts."
    if useless > USELESS_SHARE_MAX * total:
        raise RunFailed(
            "NO_TRAINABLE_TOKENS",
            f"{text}. At most {USELESS_SHARE_MAX:.0%} may. {remedy}",
        )
    context.attempt.say(f"{text} and are left out.")
