"""VALIDATE: everything that can be wrong is found before a step is trained."""

from __future__ import annotations

import shutil
from functools import partial
from hashlib import sha256
from typing import Any

from attune.spec.v1.grader_pb2 import Grader
from attune.spec.v1.spec_pb2 import SuccessCriterion
from attune.spec.v1.stage_pb2 import Hyperparameters, Method, Technique

from services.trainer.base_models import read_shape
from services.trainer.crash_points import CrashPoint, reach
from services.trainer.disk import CHECKPOINTS_MAX, bytes_needed, trained_count
from services.trainer.grading.build import build
from services.trainer.memory_probe import probe_memory
from services.trainer.recipes import METHODS, RECIPES, lack_of
from services.trainer.run import DISK_FULL, RunFailed
from services.trainer.run_context import RunContext, refused

USELESS_SHARE_MAX = 0.05
"""Share of rows that may train nothing; more of them stop the run."""


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
    if not split.apart:
        context.attempt.say(
            "So many rows are alike that some which are held out nearly equal some that are taught."
        )
    longest = context.stage.hyperparameters.max_length
    cut = sum(len(example.token_ids) >= longest for example in [*learnt, *measured])
    if cut:
        context.attempt.say(f"{cut} rows reach the maximum length of {longest} tokens and are cut.")
    probed_bytes = probe_memory(context)
    context.report(total, total)
    reach(CrashPoint.VALIDATE_CHECKED)
    return {
        "train_row_count": len(learnt),
        "validation_row_count": len(measured),
        "holdout_row_count": len(split.holdout),
        "useless_row_count": useless,
        "cut_row_count": cut,
        "token_count": sum(len(example.token_ids) for example in learnt),
        "token_count_max": max(len(example.token_ids) for example in learnt),
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
    if context.manifest.stage_index > 0:
        raise RunFailed("UNSUPPORTED_STAGE", "This trainer runs specs of one stage.")
    settings = stage.hyperparameters
    if settings.packing and stage.technique != Technique.TECHNIQUE_SFT:
        raise RunFailed(
            "UNSUPPORTED_PACKING", f"{name} compares whole answers. Turn packing off for it."
        )
    if settings.schedule == Hyperparameters.SCHEDULE_UNSPECIFIED:
        raise RunFailed("NO_SCHEDULE", "hyperparameters.schedule is not set. Choose one.")
    for one in spec.evaluation.graders:
        refused(partial(build, one))
    deciding_grader(context)
    if not (context.model_folder / "MANIFEST.json").exists():
        raise RunFailed(
            "BASE_MODEL_MISSING",
            f"Revision {spec.base_model.revision[:12]} of {spec.base_model.id} is not at hand.",
        )
    _check_batch(context)


def deciding_grader(context: RunContext) -> Grader:
    """Return the grader that the first success criterion names.

    Raises:
        RunFailed: If there is none of that name, or it is to decide by something else than a mean.
    """
    first = context.spec.objective.success_criteria[0]
    metric = first.metric
    if first.aggregate == SuccessCriterion.AGGREGATE_MACRO_F1:
        raise RunFailed(
            "UNSUPPORTED_AGGREGATE",
            "The first success criterion decides by the mean over the rows, not by macro-F1. Name "
            "macro-F1 in a later one.",
        )
    for one in context.spec.evaluation.graders:
        if one.name == metric:
            return one
    raise RunFailed("NO_DECIDING_GRADER", f"No grader of the spec is called '{metric}'.")


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


def _check_batch(context: RunContext) -> None:
    plan = context.plan
    product = plan.micro_batch_size * plan.gradient_accumulation_steps * context.device_count
    wanted = context.stage.hyperparameters.effective_batch_size
    if product != wanted:
        raise RunFailed(
            "BATCH_MISMATCH",
            f"The placement steps over {product} rows, the approved batch has {wanted}.",
        )


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


def _judge_useless(context: RunContext, useless: int, total: int) -> None:
    if not useless:
        return
    longest = context.stage.hyperparameters.max_length
    text = f"{useless} of {total} rows hold no token to learn within {longest} tokens"
    if useless > USELESS_SHARE_MAX * total:
        raise RunFailed(
            "NO_TRAINABLE_TOKENS",
            f"{text}. At most {USELESS_SHARE_MAX:.0%} may. Raise max_length or mend the rows.",
        )
    context.attempt.say(f"{text} and are left out.")
