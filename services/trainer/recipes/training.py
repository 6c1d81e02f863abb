"""What every recipe is told, and whom it tells; plain data, no library of learning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from attune.spec.v1.compute_pb2 import ParallelPlan
from attune.spec.v1.stage_pb2 import Hyperparameters, Method

IGNORED = -100
"""Label of a token that is not learnt."""


@dataclass(frozen=True)
class Example:
    """One row that is learnt or validated."""

    token_ids: Sequence[int]
    """[T], at most max_length."""
    labels: Sequence[int]
    """[T]; the token itself where it is learnt, -100 elsewhere."""

    @property
    def length(self) -> int:
        """Tokens of its longest sequence."""
        return len(self.token_ids)


@dataclass(frozen=True)
class Pair(Example):
    """One row of preferences: as an example, the prompt and the preferred answer."""

    prompt_ids: Sequence[int]
    """[T], less than max_length."""
    chosen_ids: Sequence[int]
    """[T]; with the prompt at most max_length, as the rejected answer is."""
    rejected_ids: Sequence[int]
    """[T]."""

    @property
    def length(self) -> int:
        """Tokens of its longest sequence."""
        return len(self.prompt_ids) + max(len(self.chosen_ids), len(self.rejected_ids))


@dataclass(frozen=True)
class Prompt(Example):
    """One row whose answers are rewarded: as an example, what is asked; no label is learnt."""

    line: int
    """Of the row in its file; it names the row to the reward."""

    @property
    def length(self) -> int:
        """Tokens of what is asked."""
        return len(self.token_ids)


Reward = Callable[[Sequence[int], Sequence[Sequence[int]]], list[float | None]]
"""Takes the lines of rows and the token ids of one answer to each, in the same order; returns the
reward of each in [0, 1], None for one that could not be graded: it is never taken for 0. May raise
to stop the training."""


@dataclass(frozen=True)
class Training:
    """One stage, resolved to what a trainer library needs."""

    model_folder: Path
    method: Method.ValueType
    """Which weights learn."""
    hyperparameters: Hyperparameters
    plan: ParallelPlan
    train: Sequence[Example]
    """Pairs where preferences are learnt, prompts where answers are rewarded."""
    validation: Sequence[Example]
    output_folder: Path
    """Where the trainer library may write; on the file system of the checkpoints."""
    resume_from: Path | None
    """Folder of a complete checkpoint."""
    use_cuda: bool
    steps_total: int
    """Optimizer steps in all."""
    evaluation_steps: int
    """Optimizer steps between evaluations on the validation rows."""
    logging_steps: int
    """Optimizer steps between two points of the metrics."""
    warmup_steps: int
    """Optimizer steps in which the learning rate rises."""
    base_adapter: Path | None = None
    """Folder of the adapter that is trained on, of the stage before; None for a new one."""
    reward: Reward | None = None
    """Of answers to prompts; None where examples are learnt."""


@dataclass(frozen=True)
class Resolved:
    """What a trainer library was really told, read from it when it begins."""

    micro_batch_size: int
    gradient_accumulation_step_count: int
    device_count: int
    effective_batch_size: int
    """Rows of one optimizer step: the product of these three."""
    step_count: int
    """Optimizer steps in all."""
    warmup_step_count: int
    learning_rate: float
    """At its peak."""
    trainable_parameter_count: int
    precision: str
    """Of the passes: `float32`, `bfloat16` or `float16`."""
    weight_format: str
    """Of the base: as `precision`, or `nf4`."""
    attention: str
    """Name of the kernel."""

    def __str__(self) -> str:
        return (
            f"Learns {self.trainable_parameter_count:,} parameters in {self.step_count:,} steps of "
            f"{self.effective_batch_size} rows ({self.micro_batch_size} at once, "
            f"{self.gradient_accumulation_step_count} times, on {self.device_count} devices); the "
            f"rate rises to {self.learning_rate:g} in {self.warmup_step_count:,} steps; "
            f"{self.precision} over {self.weight_format} weights, attention by {self.attention}."
        )


class Observer(Protocol):
    """Hears what a training does. Any method may raise to stop it within the step."""

    def on_resolved(self, resolved: Resolved) -> None:
        """Take in what the settings have become; told before the first step."""

    def on_start(self, step: int, eval_losses: Mapping[int, float]) -> None:
        """Take in where it begins, and the evaluations before that by step."""

    def on_step(self, step: int) -> None:
        """Take in that so many optimizer steps are done."""

    def on_metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Take in numbers of a step; evaluations have names that begin with `eval_`.

        The best checkpoint has the lowest `eval_loss`; where answers are rewarded, that is the mean
        reward on validation prompts (`eval_reward`) with a minus. There the names of the trainer
        library are `reward` and `reward_std` in [0, 1], `frac_reward_zero_std` (share of groups
        whose answers all earn the same), `completions/clipped_ratio` (share of answers that end at
        the length limit), `completions/mean_length` in tokens, `kl` and `entropy` in nats per
        token, and `ungraded` (share of answers without a reward).
        """

    def on_checkpoint(self, step: int, folder: Path) -> None:
        """Take over a folder that the trainer library has written."""

    def wants_checkpoint(self) -> bool:
        """Return whether to save after this step, whether or not one is due."""

    def is_enough(self) -> bool:
        """Return whether to stop early, after an evaluation and its checkpoint."""


Train = Callable[[Training, Observer], None]
