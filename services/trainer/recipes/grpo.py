"""Reinforcement learning on groups of answers (GRPO) by TRL. Shapes: see the package.

Answers are sampled by transformers on a CPU and by vLLM, inside this process, on a GPU where
`lack_of_vllm` says nothing. A placement's micro-batches count answers: one optimizer step takes a
group of them for each of `effective_batch_size` prompts, all sampled from the weights that the step
then changes.

Several processes share the answers of a step: each samples its own with draws of its own, and
grades them once. An evaluation is the same in each of them and as in one process, and the first
one grades it; so the same numbers choose the checkpoint, however many devices there are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import datasets
import torch
from accelerate.data_loader import prepare_data_loader
from accelerate.utils import is_peft_model, set_seed
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import AutoTokenizer
from transformers.utils import logging as transformers_logging
from trl import import_utils

from services.trainer.recipes.arguments import shared_arguments
from services.trainer.recipes.bridge import Bridge, execute
from services.trainer.recipes.colocated import (
    heard,
    lack_of_vllm,
    load_merged,
    surroundings_kept,
)
from services.trainer.recipes.model import adapter, load_model
from services.trainer.recipes.processor import draws_as_found
from services.trainer.recipes.together import apart, by_first
from services.trainer.recipes.training import (
    VALIDATION_PROMPTS_MAX,
    Example,
    Observer,
    Prompt,
    Reward,
    Training,
)

# Profiling would import MLflow, which runs do without: the supervisor copies their numbers.
os.environ["DISABLE_MLFLOW_INTEGRATION"] = "TRUE"
if not torch.cuda.is_available():
    # Its import takes 6 s, and only on a GPU are answers sampled with it.
    import_utils.is_vllm_available = lambda min_version=None: False

from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import RepeatSampler

VALIDATION_ANSWERS = 4
"""Answers to each of them: with 256 the mean of rewards of 0 or 1 is known to 0.03."""
SIDE_BY_SIDE_MAX = 64
"""Answers that transformers samples at once; more need too much cache. Estimates assume the same.
A multiple of VALIDATION_ANSWERS."""
VLLM_MEMORY_SHARE = 0.3
"""Share of a GPU's memory that vLLM takes beside the training; TRL's own default."""
LOSS_TYPE = "dapo"
"""Loss where the spec names none: the mean over all tokens of a step (DAPO, Yu et al., 2025)."""


def train(training: Training, observer: Observer) -> None:
    """Train one stage; checkpoints and numbers go to the observer, whose errors pass through."""
    transformers_logging.set_verbosity_error()
    datasets.disable_progress_bars()
    if training.reward is None:
        raise ValueError("there is no reward to learn from")
    with ExitStack() as left_behind:
        left_behind.enter_context(surroundings_kept())
        trainer = _trainer(training, training.reward, observer)
        if trainer.use_vllm:
            left_behind.enter_context(
                heard(
                    trainer.vllm_generation.llm,
                    lambda: observer.on_step(trainer.state.global_step),
                )
            )
            # vLLM begins with draws of its own, whatever the seed of the spec is.
            set_seed(trainer.args.seed, device_specific=True)
        execute(trainer, training)


def _trainer(training: Training, reward: Reward, observer: Observer) -> AnswerTrainer:
    trainer = AnswerTrainer(
        observer=observer,
        reward=reward,
        model=load_model(training),
        args=config(training),
        train_dataset=_dataset(training.train),
        eval_dataset=_dataset(training.validation[:VALIDATION_PROMPTS_MAX]),
        processing_class=AutoTokenizer.from_pretrained(
            training.model_folder, local_files_only=True
        ),
        peft_config=adapter(training),
        callbacks=[RewardBridge(observer, training)],
    )
    # Sampling a batch of answers may take minutes, and a run must stop within seconds: every token
    # passes here, however the model is wrapped.
    trainer.model.get_input_embeddings().register_forward_pre_hook(
        lambda *_: observer.on_step(trainer.state.global_step)
    )
    return trainer


def config(training: Training) -> GRPOConfig:
    """Return TRL's settings with every value that matters taken from the spec."""
    rl = training.hyperparameters.rl
    arguments = {
        **shared_arguments(training),
        # An evaluation only samples and grades; nothing of it is kept for a backward pass.
        "per_device_eval_batch_size": SIDE_BY_SIDE_MAX,
        "eval_on_start": training.resume_from is None,
    }
    return GRPOConfig(
        **arguments,
        remove_unused_columns=False,
        shuffle_dataset=True,
        num_generations=rl.group_size,
        num_generations_eval=VALIDATION_ANSWERS,
        steps_per_generation=training.plan.gradient_accumulation_steps,
        num_iterations=1,
        max_completion_length=rl.max_completion_length,
        temperature=rl.temperature,
        top_p=rl.top_p,
        top_k=0,
        repetition_penalty=1.0,
        beta=rl.kl_coefficient,
        epsilon=rl.clip_low,
        epsilon_high=rl.clip_high,
        loss_type=rl.loss_type or LOSS_TYPE,
        scale_rewards="group",
        mask_truncated_completions=False,
        log_completions=False,
        use_vllm=training.use_cuda and not lack_of_vllm(training.method),
        vllm_mode="colocate",
        vllm_gpu_memory_utilization=VLLM_MEMORY_SHARE,
        vllm_max_model_length=rl.max_prompt_length + rl.max_completion_length,
        # With top_p below 1 each ratio is below 1 too, and their product over an answer, which TRL
        # weighs it with by default, soon is nothing: nothing would be learnt, and nobody told.
        vllm_importance_sampling_mode="token_truncate",
    )


class Prompts(RepeatSampler):  # type: ignore[misc]
    """The order of prompts, the same for an epoch whether or not training resumed in between."""

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch."""
        self.generator.manual_seed(self.seed + epoch)


class AnswerTrainer(GRPOTrainer):  # type: ignore[misc]  # TRL has no types.
    """TRL's trainer on prompts that are token ids already, the same as everywhere else."""

    _last_loaded_step: int

    def __init__(self, *, observer: Observer, reward: Reward, **named: Any) -> None:
        """Prepare.

        Args:
            observer: Of the training.
            reward: Of answers.
            named: As TRL takes them.
        """
        self._observer = observer
        self._reward = reward
        super().__init__(reward_funcs=self.rewarded, **named)

    def rewarded(
        self,
        *,
        completion_ids: Sequence[Sequence[int]],
        line: Sequence[int],
        log_metric: Callable[[str, float], None],
        **_: Any,
    ) -> list[float | None]:
        """Return the reward as TRL wants it: None leaves an answer out of its group."""
        if self.model.training:
            with apart(self._observer):
                found = self._reward(line, completion_ids)
        else:
            found = by_first(self._observer, lambda: self._reward(line, completion_ids))
        log_metric("ungraded", sum(one is None for one in found) / len(found))
        return found

    def evaluate(self, *arguments: Any, **named: Any) -> dict[str, float]:
        """Answer the validation prompts with the same draws each time, and grade the answers.

        Training goes on with the draws that it would have had without the evaluation.
        """
        beta: float = self.args.beta
        correction: bool = self.args.vllm_importance_sampling_correction
        # Both cost passes over all answers, and the mean reward needs neither.
        self.beta, self.vllm_importance_sampling_correction = 0.0, False
        try:
            with draws_as_found():
                set_seed(self.args.seed)
                found: dict[str, float] = super().evaluate(*arguments, **named)
        finally:
            self.beta, self.vllm_importance_sampling_correction = beta, correction
        return found

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        """Return the validation prompts: all of them in every process of a gang."""
        if self.args.world_size == 1:
            return super().get_eval_dataloader(eval_dataset)
        loader = DataLoader(
            self.eval_dataset,
            batch_size=self.args.per_device_eval_batch_size,
            sampler=self._get_eval_sampler(self.eval_dataset),
            collate_fn=self.data_collator,
        )
        return prepare_data_loader(loader, num_processes=1, process_index=0)

    def prediction_step(
        self, model: Any, inputs: Any, prediction_loss_only: bool, ignore_keys: Any = None
    ) -> tuple[Tensor, None, None]:
        """Sample and grade answers; the loss of answers that are not learnt says nothing."""
        self._prepare_inputs(inputs)
        return torch.zeros((), device=self.accelerator.device), None, None

    def _get_train_sampler(self, dataset: Any = None) -> Prompts:
        return Prompts(
            data_source=self.train_dataset if dataset is None else dataset,
            mini_repeat_count=self.num_generations,
            batch_size=self.args.generation_batch_size // self.num_generations,
            repeat_count=self.num_iterations * self.args.steps_per_generation,
            shuffle=self.shuffle_dataset,
            seed=self.args.seed,
        )

    def _tokenize_prompts(
        self, prompts: list[list[int]]
    ) -> tuple[list[list[int]], None, dict[str, Any]]:
        return prompts, None, {}

    def _generate_single_turn(
        self, prompt_ids: list[list[int]], *arguments: Any, **named: Any
    ) -> tuple[list[list[int]], list[list[float]] | None]:
        sample = super()._generate_single_turn
        if self.use_vllm:
            if self.state.global_step != self._last_loaded_step and self._is_adapter_whole():
                load_merged(self.vllm_generation.llm, self.model)
                self._last_loaded_step = self.state.global_step
            answers: tuple[list[list[int]], list[list[float]] | None]
            answers = sample(prompt_ids, *arguments, **named)
            return answers
        token_ids: list[list[int]] = []
        with apart(self._observer):
            for start in range(0, len(prompt_ids), SIDE_BY_SIDE_MAX):
                piece = prompt_ids[start : start + SIDE_BY_SIDE_MAX]
                token_ids += sample(piece, *arguments, **named)[0]
        return token_ids, None

    def _is_adapter_whole(self) -> bool:
        """Return whether this process has all weights of an adapter and its base."""
        return is_peft_model(self.model) and not self.is_fsdp_enabled


class RewardBridge(Bridge):
    """Tells of the mean reward on validation prompts as what the best checkpoint has most of."""

    def numbers(self, logs: Mapping[str, Any]) -> dict[str, float]:
        """Return the numbers with `eval_loss` as the mean reward with a minus."""
        found = super().numbers(logs)
        found.pop("eval_loss", None)
        if "eval_reward" in found:
            found["eval_loss"] = -found["eval_reward"]
        return found


def _dataset(prompts: Sequence[Example]) -> datasets.Dataset:
    rows = [
        {"prompt": list(one.token_ids), "line": one.line}
        for one in prompts
        if isinstance(one, Prompt)
    ]
    return datasets.Dataset.from_list(rows)
