"""Supervised fine-tuning by TRL. Shapes: see the package."""

from __future__ import annotations

from collections.abc import Sequence

import datasets
from transformers import AutoTokenizer
from transformers.utils import logging as transformers_logging
from trl import SFTConfig, SFTTrainer

from services.trainer.recipes.arguments import shared_arguments
from services.trainer.recipes.bridge import Bridge, execute
from services.trainer.recipes.model import adapter, load_model
from services.trainer.recipes.training import Example, Observer, Training


def train(training: Training, observer: Observer) -> None:
    """Train one stage; checkpoints and numbers go to the observer, whose errors pass through."""
    transformers_logging.set_verbosity_error()
    datasets.disable_progress_bars()
    trainer = SFTTrainer(
        model=load_model(training),
        args=config(training),
        train_dataset=_dataset(training.train),
        eval_dataset=_dataset(training.validation),
        processing_class=AutoTokenizer.from_pretrained(
            training.model_folder, local_files_only=True
        ),
        peft_config=adapter(training),
        callbacks=[Bridge(observer, training)],
    )
    execute(trainer, training)


def config(training: Training) -> SFTConfig:
    """Return TRL's settings with every value that matters taken from the spec."""
    return SFTConfig(
        **shared_arguments(training),
        max_length=training.hyperparameters.max_length,
        packing=False,
        loss_type="nll",
        # The rows come as tokens and labels, made with the mask that VALIDATE has counted; with
        # this set TRL would ask for messages and do the same again.
        assistant_only_loss=False,
        dataset_kwargs={"skip_prepare_dataset": True},
    )


def _dataset(examples: Sequence[Example]) -> datasets.Dataset:
    return datasets.Dataset.from_dict(
        {
            "input_ids": [list(example.token_ids) for example in examples],
            "labels": [list(example.labels) for example in examples],
        }
    )
