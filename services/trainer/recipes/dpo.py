"""Direct preference optimisation by TRL. Shapes: see the package.

The reference is what the stage began with: the base where its adapter is new, and a frozen copy
of the adapter of the stage before where it goes on training that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import datasets
import torch
from attune.spec.v1.stage_pb2 import Method
from transformers import AutoTokenizer
from transformers.utils import logging as transformers_logging
from trl import DPOConfig, DPOTrainer

from services.trainer.recipes.arguments import shared_arguments
from services.trainer.recipes.bridge import Bridge, execute
from services.trainer.recipes.model import adapter, load_base, load_model
from services.trainer.recipes.order import BLANK_PAIR, keep_order
from services.trainer.recipes.training import Example, Observer, Pair, Prompt, Training

LOSS_TYPE = "sigmoid"
"""When the spec names none: that of Rafailov et al., 2023."""
ROW_MEANS = (
    "rewards/chosen",
    "rewards/rejected",
    "rewards/accuracies",
    "rewards/margins",
    "logps/chosen",
    "logps/rejected",
)
"""Numbers of TRL that are means over pairs; all are 0 for a blank one."""


def train(training: Training, observer: Observer) -> None:
    """Train one stage; checkpoints and numbers go to the observer, whose errors pass through."""
    execute(make_trainer(training, observer), training)


def make_trainer(training: Training, observer: Observer) -> DPOTrainer:
    """Return TRL's trainer of a stage, ready to begin."""
    transformers_logging.set_verbosity_error()
    datasets.disable_progress_bars()
    folder = training.model_folder
    # An adapter can be switched off or copied; whole weights need a second model beside them.
    is_whole = training.method == Method.METHOD_FULL
    shared = training.device_count > 1
    blanks = -len(training.validation) % (training.plan.micro_batch_size * training.device_count)
    trainer = _PairTrainer(
        model=load_model(training),
        ref_model=load_base(folder, torch.float32) if is_whole else None,
        args=config(training),
        train_dataset=_dataset([*training.train, *([BLANK_PAIR] if shared else [])]),
        eval_dataset=_dataset([*training.validation, *([BLANK_PAIR] * blanks if shared else [])]),
        processing_class=AutoTokenizer.from_pretrained(folder, local_files_only=True),
        peft_config=adapter(training),
        callbacks=[Bridge(observer, training)],
    )
    if shared:
        keep_order(trainer, len(training.train))
        trainer.validation_share = len(training.validation) / (len(training.validation) + blanks)
    return trainer


def config(training: Training) -> DPOConfig:
    """Return TRL's settings with every value that matters taken from the spec."""
    values = training.hyperparameters.dpo
    return DPOConfig(
        **shared_arguments(training),
        beta=values.beta,
        label_smoothing=values.label_smoothing,
        loss_type=[values.loss_type or LOSS_TYPE],
        max_length=training.hyperparameters.max_length,
        truncation_mode="keep_start",
        # Dropout is the spec's; TRL would switch it off.
        disable_dropout=False,
    )


def blank_loss(loss_type: str, beta: float, smoothing: float) -> float:
    """Return the loss of a pair without answers: that of two which the model holds for equal.

    Args:
        loss_type: In TRL's words; one that is a mean over pairs.
        beta: Of the spec.
        smoothing: Of the labels, in [0, 1).
    """
    if loss_type == "exo_pair":
        return -math.log(2) - 0.5 * (math.log1p(-smoothing) + math.log(smoothing))
    return {
        "sigmoid": math.log(2),
        "hinge": 1.0,
        "ipo": 0.25 / beta**2,
        "nca_pair": 2 * math.log(2),
        "robust": math.log(2),
        "bco_pair": 2 * math.log(2),
        "sppo_hard": 0.5 / beta**2,
        "discopop": 0.5 * (math.log(2) + 1),
        "apo_zero": 1.0,
        "apo_down": 1.0,
    }[loss_type]


class _PairTrainer(DPOTrainer):  # type: ignore[misc]  # TRL has no types.
    """Takes rows as the tokens that VALIDATE has counted, and each of a step for as much.

    TRL takes the mean of the means of micro-batches. Where these hold different numbers of pairs,
    as at the end of an epoch, that depends on how a step is laid out; here it does not.
    """

    validation_share = 1.0
    """Of the rows that are evaluated, those that are not blank; in (0, 1]."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        """Take TRL's arguments."""
        super().__init__(*arguments, **named)
        self._pairs_of_step = 0
        """Pairs of the present step in all processes, blank ones aside."""
        self._counts: dict[str, list[tuple[int, int]]] = {"train": [], "eval": []}
        """Of each pass since numbers were last told: pairs in all processes, and how many of them
        are not blank."""

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], Any]:
        """Return the micro-batches of a step, having counted its pairs."""
        batches, item_count = super().get_batch_samples(epoch_iterator, num_batches, device)
        self._pairs_of_step = self._total(sum(_pair_count(batch) for batch in batches))
        return batches, item_count

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Tell the numbers, with each pair counting for as much."""
        mode = "train" if self.model.training else "eval"
        counts, found = self._counts[mode], self._metrics[mode]
        learnt = sum(count for _, count in counts)
        for name in ROW_MEANS:
            if found.get(name) and learnt:
                pairs = zip(found[name], counts, strict=True)
                found[name] = [sum(mean * total for mean, (total, _) in pairs) / learnt]
        counts.clear()
        super().log(logs, start_time)

    def _compute_loss(self, model: Any, inputs: Any, return_outputs: bool) -> Any:
        mean = super()._compute_loss(model, inputs, return_outputs)
        processes, args = self.accelerator.num_processes, self.args
        size, count = len(inputs["input_ids"]) // 2, _pair_count(inputs)
        is_training = self.model.training
        self._counts["train" if is_training else "eval"].append(
            (size * processes, self._total(count))
        )
        total = mean * size
        if count < size:
            one = blank_loss(self.loss_types[0], self.beta, args.label_smoothing)
            total = total - one * (size - count)
        if is_training:
            # TRL divides by the micro-batches, and processes take the mean of theirs.
            passes = self.current_gradient_accumulation_steps * processes
            return total * passes / self._pairs_of_step
        return total / size / self.validation_share

    def _total(self, count: int) -> int:
        """Return the sum of a number over all processes."""
        if self.accelerator.num_processes == 1:
            return count
        own = torch.tensor(count, device=self.accelerator.device)
        return int(self.accelerator.reduce(own, reduction="sum"))

    def _prepare_dataset(self, dataset: datasets.Dataset, *_: Any, **__: Any) -> datasets.Dataset:
        return dataset


def _pair_count(batch: Any) -> int:
    """Return the pairs of a micro-batch that have answers."""
    chosen, _ = batch["completion_mask"].chunk(2, dim=0)
    return int(chosen.any(dim=1).sum())


def _dataset(rows: Sequence[Example | Prompt]) -> datasets.Dataset:
    pairs = [row for row in rows if isinstance(row, Pair)]
    return datasets.Dataset.from_dict(
        {
            "prompt_ids": [list(pair.prompt_ids) for pair in pairs],
            "chosen_ids": [list(pair.chosen_ids) for pair in pairs],
            "rejected_ids": [list(pair.rejected_ids) for pair in pairs],
        }
    )
