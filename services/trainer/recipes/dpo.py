"""Direct preference optimisation by TRL. Shapes: see the package.

The reference is what the stage began with: the base where its adapter is new, and a frozen copy
of the adapter of the stage before where it goes on training that.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from services.trainer.recipes.training import Example, Observer, Pair, Prompt, Training

LOSS_TYPE = "sigmoid"
"""When the spec names none: that of Rafailov et al., 2023."""


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
    return _PairTrainer(
        model=load_model(training),
        ref_model=load_base(folder, torch.float32) if is_whole else None,
        args=config(training),
        train_dataset=_dataset(training.train),
        eval_dataset=_dataset(training.validation),
        processing_class=AutoTokenizer.from_pretrained(folder, local_files_only=True),
        peft_config=adapter(training),
        callbacks=[Bridge(observer, training.output_folder)],
    )


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


class _PairTrainer(DPOTrainer):  # type: ignore[misc]  # TRL has no types.
    """Takes rows as the tokens that VALIDATE has counted."""

    def _prepare_dataset(self, dataset: datasets.Dataset, *_: Any, **__: Any) -> datasets.Dataset:
        return dataset


def _dataset(rows: Sequence[Example | Prompt]) -> datasets.Dataset:
    pairs = [row for row in rows if isinstance(row, Pair)]
    return datasets.Dataset.from_dict(
        {
            "prompt_ids": [list(pair.prompt_ids) for pair in pairs],
            "chosen_ids": [list(pair.chosen_ids) for pair in pairs],
            "rejected_ids": [list(pair.rejected_ids) for pair in pairs],
        }
    )
