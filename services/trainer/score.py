"""BASELINE and EVALUATE: the hold-out answered, graded and compared."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attune.spec.v1.evaluation_pb2 import EvaluationReport
from attune.spec.v1.stage_pb2 import Technique
from google.protobuf.json_format import MessageToDict

from services.trainer import bootstrap
from services.trainer.attempt import SAMPLES
from services.trainer.chain import VERDICTS, compare_with_before
from services.trainer.crash_points import CrashPoint, reach
from services.trainer.criteria import criterion_scores
from services.trainer.grading.build import build, scores
from services.trainer.preferences import preference_after, preference_before
from services.trainer.recipes.generation import Generator, load_generator
from services.trainer.rows import (
    Row,
    choose_examples,
    few_shot_prompt,
    most_frequent_answer,
    spread,
)
from services.trainer.run import Phase
from services.trainer.run_context import RunContext
from services.trainer.text_loss import say_text_loss, text_loss
from services.trainer.validate import deciding_grader

EXAMPLES_MAX = 20
"""Scored rows in a report."""


def baseline(context: RunContext) -> dict[str, Any]:
    """Score the base on the hold-out: as it is, with examples, and the most frequent answer.

    Returns:
        Answers and scores of each, in the order of the rows, and the seconds of one pass.
    """
    holdout, training = context.split.holdout, context.split.train
    generator = open_generator(context, None)
    passes = 2 if context.base_adapter is None else 3
    total = passes * len(holdout)
    begin_s = time.monotonic()
    prompts = [context.prompt_ids(row) for row in holdout]
    base = _answers(context, generator, prompts, 0, total)
    pass_s = time.monotonic() - begin_s
    few_shot_prompts, example_count = _few_shot(context, generator, prompts)
    few_shot = base
    if example_count:
        few_shot = _answers(context, generator, few_shot_prompts, len(holdout), total)
    before = _before(context, prompts, 2 * len(holdout), total)
    reach(CrashPoint.BASELINE_ANSWERED)
    majority = most_frequent_answer(training)
    context.estimate.expect(Phase.EVALUATE, pass_s)
    context.report(total, total)
    result: dict[str, Any] = {
        "base_answers": base,
        "few_shot_answers": few_shot,
        "few_shot_example_count": example_count,
        "majority_answer": majority,
        "base_scores": _graded(context, holdout, base),
        "few_shot_scores": _graded(context, holdout, few_shot),
        "majority_scores": _graded(context, holdout, [majority] * len(holdout)),
        "pass_s": pass_s,
        **_general_ability(context, generator),
        **before,
        **text_loss(context, generator),
    }
    if context.base_adapter is None and context.stage.technique == Technique.TECHNIQUE_DPO:
        result["preference"] = preference_before(context, generator)
    return result


def evaluate(context: RunContext, adapter: Path, base: dict[str, Any]) -> dict[str, Any]:
    """Score the tuned model on the hold-out and compare it with its base.

    Args:
        context: The run.
        adapter: Folder of the chosen checkpoint.
        base: What `baseline` returned.

    Returns:
        The report as proto JSON.
    """
    holdout = context.split.holdout
    generator = open_generator(context, adapter)
    prompts = [context.prompt_ids(row) for row in holdout]
    answers = _answers(context, generator, prompts, 0, len(holdout))
    reach(CrashPoint.EVALUATE_ANSWERED)
    tuned_scores = _graded(context, holdout, answers)
    settings = context.spec.evaluation
    outcome = bootstrap.compare(
        base["base_scores"],
        tuned_scores,
        resample_count=settings.bootstrap_resample_count,
        confidence=settings.confidence,
        seed=settings.seed,
    )
    report = EvaluationReport(
        grader=deciding_grader(context).name,
        holdout_row_count=len(holdout),
        base_score=_mean(base["base_scores"]),
        few_shot_score=_mean(base["few_shot_scores"]),
        majority_score=_mean(base["majority_scores"]),
        tuned_score=_mean(tuned_scores),
        difference=outcome.difference,
        interval_low=outcome.interval_low,
        interval_high=outcome.interval_high,
        verdict=VERDICTS[outcome.judgement],
    )
    if "previous_scores" in base:
        previous = compare_with_before(context, base["previous_scores"], tuned_scores)
        report.previous_stage.CopyFrom(previous)
    report.criteria.extend(criterion_scores(context.spec, holdout, base["base_answers"], answers))
    _write_samples(context, base, answers, tuned_scores)
    for index in spread(holdout, EXAMPLES_MAX):
        report.examples.add(
            prompt=holdout[index].question,
            reference=holdout[index].reference,
            base_answer=base["base_answers"][index],
            tuned_answer=answers[index],
            base_score=base["base_scores"][index],
            tuned_score=tuned_scores[index],
        )
    _compare_general_ability(context, generator, base)
    say_text_loss(context, base, text_loss(context, generator))
    # A score of zero must be seen in the file, not taken for one that is missing.
    values = MessageToDict(
        report, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    result: dict[str, Any] = {"report": values}
    if base.get("preference"):
        result["preference"] = preference_after(context, generator, base["preference"])
    return result


def open_generator(context: RunContext, adapter: Path | None) -> Generator:
    """Load the base model, with an adapter or without."""
    return load_generator(
        context.model_folder, adapter, context.renderer.tokenizer, use_cuda=context.use_cuda
    )


def _before(context: RunContext, prompts: list[list[int]], done: int, total: int) -> dict[str, Any]:
    """Return answers and scores of the adapter of the stage before; nothing in the first stage."""
    if context.base_adapter is None:
        return {}
    generator = open_generator(context, context.base_adapter)
    answers = _answers(context, generator, prompts, done, total)
    found: dict[str, Any] = {
        "previous_answers": answers,
        "previous_scores": _graded(context, context.split.holdout, answers),
    }
    if context.stage.technique == Technique.TECHNIQUE_DPO:
        found["preference"] = preference_before(context, generator)
    return found


def _few_shot(
    context: RunContext, generator: Generator, prompts: list[list[int]]
) -> tuple[list[list[int]], int]:
    """Return prompts with as many examples as the context has room for, and how many those are."""
    settings, holdout = context.spec.evaluation, context.split.holdout
    if any(row.text for row in holdout):
        return prompts, 0  # There are no turns that examples could be.
    room = generator.context_length - settings.max_answer_tokens
    for count in range(settings.few_shot_example_count, 0, -1):
        context.check()
        examples = choose_examples(context.split.train, count, settings.seed)
        found = [
            context.renderer.prompt(few_shot_prompt(row, examples), row.tools) for row in holdout
        ]
        if max(len(prompt) for prompt in found) <= room:
            return found, len(examples)
        context.attempt.say(f"{count} examples do not fit into the context; trying fewer.")
    return prompts, 0


def _answers(
    context: RunContext, generator: Generator, prompts: list[list[int]], before: int, total: int
) -> list[str]:
    answers = generator.answer(
        prompts,
        context.spec.evaluation.max_answer_tokens,
        lambda done: context.report(before + done, total),
    )
    return [context.renderer.text(token_ids) for token_ids in answers]


def _graded(context: RunContext, rows: Sequence[Row], answers: Sequence[str]) -> list[float]:
    samples = [row.sample(answer) for row, answer in zip(rows, answers, strict=True)]
    return scores(build(deciding_grader(context)), samples)


def _write_samples(
    context: RunContext, base: dict[str, Any], answers: list[str], scores: list[float]
) -> None:
    for index, row in enumerate(context.split.holdout):
        sample = {
            "prompt": row.question,
            "reference": row.reference,
            "base_answer": base["base_answers"][index],
            "few_shot_answer": base["few_shot_answers"][index],
            "tuned_answer": answers[index],
            "base_score": base["base_scores"][index],
            "few_shot_score": base["few_shot_scores"][index],
            "tuned_score": scores[index],
        }
        context.attempt.append(SAMPLES, sample)


def _general_ability(context: RunContext, generator: Generator) -> dict[str, float]:
    """Return the loss on the spec's text sample in nats per token; nothing without a sample."""
    text = context.spec.evaluation.general_ability_check
    token_ids = context.renderer.tokenizer(text)["input_ids"][: generator.context_length]
    if len(token_ids) < 2:
        return {}
    logprobs = generator.logprobs(token_ids[:1], token_ids[1:])
    return {"general_ability_loss": -_mean(logprobs)}


def _compare_general_ability(
    context: RunContext, generator: Generator, base: dict[str, Any]
) -> None:
    after = _general_ability(context, generator).get("general_ability_loss")
    before = base.get("general_ability_loss")
    if before is not None and after is not None:
        context.attempt.say(
            f"Loss on the general text: {before:.3f} before, {after:.3f} after, in nats per token."
        )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
