"""Whether there is anything to reinforce: what a few answers to some prompts earn before training.

A group whose answers all earn the same moves nothing. When most groups are like that, training
would burn its hours at a reward that stays where it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from services.trainer.grading.sample import Graded
from services.trainer.phases.answer_form import has_form
from services.trainer.phases.reward import check_failures, samples_of, weighted
from services.trainer.recipes import REINFORCED
from services.trainer.recipes.generation import Sampling, load_generator
from services.trainer.recipes.training import Prompt
from services.trainer.run import Question
from services.trainer.runtime.asking import ask
from services.trainer.runtime.run_context import RunContext, refused

PROMPTS_MAX = 64
"""Training prompts that are answered, the first ones of a random split."""
ANSWERS_MAX = 8
"""Answers to each of them, and no more than a group has."""
MIXED_SHARE_MIN = 0.2
"""Share of groups that must hold different rewards. The reverse of what stops a training later:
more than 0.8 of the groups without spread (AWS guidance for reinforcement fine-tuning)."""
SAME = 1e-6
"""Rewards that are no further apart than this are the same."""
NO_SPREAD = "NO_SPREAD"
"""Reason of the pause when there is nothing to learn from."""
KEY = "learnability"
"""Under which the figures stand in the result of BASELINE."""


@dataclass(frozen=True)
class Learnability:
    """What the answers of the base to some training prompts have earned."""

    prompt_count: int
    answer_count: int
    """Answers to each prompt."""
    mixed_share: float
    """Share of prompts whose answers do not all earn the same."""
    form_share: float
    """Share of answers that every grader of the reward can read."""
    clipped_share: float
    """Share of answers that end at the length limit."""
    ungraded_share: float
    """Share of answers without a reward."""
    mean_reward: float
    """In [0, 1], of the answers that have one."""

    def figures(self) -> dict[str, float]:
        """Return the numbers by name."""
        return {name: float(value) for name, value in vars(self).items()}


def probe(context: RunContext) -> dict[str, Any]:
    """Answer some training prompts as the training will, and say what that earns.

    Returns:
        The figures under `learnability`; nothing for a stage that learns from examples.

    Raises:
        RunPaused: If too many answers cannot be graded.
    """
    if context.stage.technique not in REINFORCED:
        return {}
    rl = context.stage.hyperparameters.rl
    prompts = [one for one in context.train_examples if isinstance(one, Prompt)][:PROMPTS_MAX]
    count = min(rl.group_size, ANSWERS_MAX)
    asked = [prompt for prompt in prompts for _ in range(count)]
    generator = load_generator(
        context.model_folder,
        context.base_adapter,
        context.renderer.tokenizer,
        context.loading,
    )
    answers = generator.answer(
        [one.token_ids for one in asked],
        rl.max_completion_length,
        lambda done: context.report(done, len(asked)),
        Sampling(rl.temperature, rl.top_p, context.stage.hyperparameters.seed),
    )
    rows = {row.line: row for row in context.split.train}
    samples = samples_of(context, rows, [one.line for one in asked], answers)
    graders = [one.grader for one in context.stage.reward.graders]
    graded = refused(lambda: weighted(context.stage.reward))(samples)
    check_failures(graded)
    found = summarised(
        graded,
        count,
        form_share=fmean(
            all(has_form(grader, sample.output_text) for grader in graders) for sample in samples
        ),
        clipped_share=fmean(len(answer) >= rl.max_completion_length for answer in answers),
    )
    context.attempt.say(_sentence(found))
    return {KEY: vars(found)}


def ask_whether_it_can_learn(context: RunContext, base: Mapping[str, Any]) -> None:
    """Pause when the answers of the base leave nothing to reinforce.

    Args:
        context: The run.
        base: What BASELINE found.

    Raises:
        RunPaused: If so, and nobody has waived it.
    """
    if KEY in base:
        ask(context, no_spread(Learnability(**base[KEY])))


def summarised(
    graded: Sequence[Graded], answer_count: int, *, form_share: float, clipped_share: float
) -> Learnability:
    """Return the figures of graded answers.

    Args:
        graded: `answer_count` of each prompt, one prompt after the other; at least one.
        answer_count: At least 1.
        form_share: Share of answers that can be read.
        clipped_share: Share of answers that were cut.
    """
    scores = [one.score for one in graded]
    groups = [scores[start : start + answer_count] for start in range(0, len(scores), answer_count)]
    known = [score for score in scores if score is not None]
    return Learnability(
        prompt_count=len(groups),
        answer_count=answer_count,
        mixed_share=fmean(_is_mixed(group) for group in groups),
        form_share=form_share,
        clipped_share=clipped_share,
        ungraded_share=1 - len(known) / len(scores),
        mean_reward=fmean(known) if known else 0.0,
    )


def no_spread(found: Learnability) -> Question | None:
    """Return the question whether to train without spread; None where there is enough."""
    if found.mixed_share >= MIXED_SHARE_MIN:
        return None
    return Question(NO_SPREAD, f"{_sentence(found)} {_advice(found)}", found.figures())


def _is_mixed(group: Sequence[float | None]) -> bool:
    known = [score for score in group if score is not None]
    return bool(known) and max(known) - min(known) > SAME


def _sentence(found: Learnability) -> str:
    return (
        f"{found.answer_count} answers to each of {found.prompt_count} prompts: in "
        f"{found.mixed_share:.0%} of these groups the rewards differ, {found.form_share:.0%} of "
        f"the answers have the form that can be graded, and the mean reward is "
        f"{found.mean_reward:.3f}."
    )


def _advice(found: Learnability) -> str:
    need = (
        f"At least {MIXED_SHARE_MIN:.0%} of the groups should differ, or almost nothing is learnt."
    )
    if found.clipped_share > 0.5:
        then = "Most answers are cut: raise rl.max_completion_length."
    elif found.form_share < 0.5:
        then = "Teach the form first: put a stage of SFT on examples before this one."
    elif found.mean_reward > 0.5:
        then = "The prompts are too easy: take harder ones, or a stricter reward."
    else:
        then = (
            "Put a stage of SFT before this one, soften the reward so that a part of the way "
            "counts, or take easier prompts."
        )
    return f"{need} {then} Stop for that, or continue all the same."
