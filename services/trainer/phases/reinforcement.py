"""What VALIDATE looks at where answers are rewarded: the reward, its references, the lengths."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

from attune.spec.v1.grader_pb2 import Grader
from google.protobuf.message import Message

from services.trainer.models.base_models import read_shape
from services.trainer.phases.reward import weighted
from services.trainer.recipes.colocated import lack_of_vllm
from services.trainer.run import RunFailed
from services.trainer.runtime.run_context import RunContext, refused

ITEM_FIELD = re.compile(r"\{\{\s*item\.(\w+)")
"""Field of a row that a template names."""
OUTPUT_LAYER = "lm_head"
LOSS_TYPES = ("", "dapo", "dr_grpo", "grpo", "bnpo")
"""Losses with the two clips that a spec has; empty for the first of them."""


def check_reward(context: RunContext) -> None:
    """Refuse a reward that cannot be given, and settings that sampling cannot use.

    Raises:
        RunFailed: With the first thing that is wrong.
    """
    stage, rl = context.stage, context.stage.hyperparameters.rl
    if not stage.reward.graders:
        raise RunFailed("NO_REWARD", "The stage has no reward. Name a grader with its weight.")
    if rl.group_size < 2:
        raise RunFailed(
            "NO_GROUP", f"rl.group_size is {rl.group_size}; answers are compared, so at least 2."
        )
    if not rl.temperature > 0:
        raise RunFailed(
            "NO_SAMPLING",
            f"rl.temperature is {rl.temperature:g}: all answers of a group would be the same. "
            "Set it above 0; 1 is usual.",
        )
    if rl.loss_type not in LOSS_TYPES:
        raise RunFailed(
            "UNSUPPORTED_LOSS",
            f"rl.loss_type is '{rl.loss_type[:80]}'. Choose one of {', '.join(LOSS_TYPES[1:])}.",
        )
    if OUTPUT_LAYER in stage.hyperparameters.lora.target_modules:
        raise RunFailed(
            "UNSUPPORTED_MODULE",
            f"lora.target_modules names {OUTPUT_LAYER}, which would learn nothing here. Leave it "
            "out.",
        )
    refused(partial(weighted, stage.reward), "reward")
    if not rl.kl_coefficient:
        context.attempt.say(
            "rl.kl_coefficient is 0: how far the model moves from where it began is not measured, "
            "so no watchdog looks at it. The sample answers and the general questions tell."
        )
    lack = lack_of_vllm(stage.method) if context.use_cuda else ""
    if lack:
        context.attempt.say(
            f"Answers are sampled by transformers, which is slower than vLLM: {lack}."
        )


def check_prompts(context: RunContext, learnt_count: int) -> None:
    """Refuse rows without what the reward compares with, and lengths that leave no room.

    Args:
        context: The run.
        learnt_count: Prompts that are short enough.

    Raises:
        RunFailed: With the first thing that is wrong.
    """
    settings = context.stage.hyperparameters
    if learnt_count < settings.effective_batch_size:
        raise RunFailed(
            "TOO_FEW_ROWS",
            f"{learnt_count} prompts are fewer than the {settings.effective_batch_size} of one "
            "step. Add prompts or lower effective_batch_size.",
        )
    shape, rl = read_shape(context.model_folder), settings.rl
    room = shape.context_length if shape is not None else 0
    if 0 < room < rl.max_prompt_length + rl.max_completion_length:
        raise RunFailed(
            "CONTEXT_TOO_SHORT",
            f"A prompt of {rl.max_prompt_length} tokens and an answer of "
            f"{rl.max_completion_length} do not fit into the model's context of {room}. Lower "
            "rl.max_prompt_length or rl.max_completion_length.",
        )
    for one in context.stage.reward.graders:
        _check_fields(context, one.grader)


def fields_of(grader: Grader) -> set[str]:
    """Return the fields of a row that a grader's templates name."""
    return {name for text in _texts(grader) for name in ITEM_FIELD.findall(text)}


def _check_fields(context: RunContext, grader: Grader) -> None:
    rows = [*context.split.train, *context.split.validation]
    for name in sorted(fields_of(grader)):
        lacking = [row.line for row in rows if row.sample("").item.get(name) in (None, "")]
        if lacking:
            raise RunFailed(
                "NO_REFERENCE",
                f"The reward's grader '{grader.name}' takes {{{{item.{name}}}}}, which "
                f"{len(lacking)} of {len(rows)} rows do not have, first line {lacking[0]}. Add it "
                "to the rows, or reward something else.",
            )


def _texts(message: Message) -> Iterator[str]:
    for field, value in message.ListFields():
        parts: list[Any] = list(value) if field.is_repeated else [value]
        for part in parts:
            if isinstance(part, str):
                yield part
            elif isinstance(part, Message):
                yield from _texts(part)
