"""Supervised fine-tuning by TRL. Shapes: see the package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datasets
from transformers import AutoTokenizer
from transformers.utils import logging as transformers_logging
from trl import SFTConfig, SFTTrainer

from services.trainer.recipes.arguments import shared_arguments
from services.trainer.recipes.bridge import Bridge, execute
from services.trainer.recipes.model import adapter, load_model
from services.trainer.recipes.packing import Packer, check_boundaries
from services.trainer.recipes.training import Example, Observer, Prompt, Training


def train(training: Training, observer: Observer) -> None:
    """Train one stage; checkpoints and numbers go to the observer, whose errors pass through."""
    transformers_logging.set_verbosity_error()
    datasets.disable_progress_bars()
    tokenizer = AutoTokenizer.from_pretrained(training.model_folder, local_files_only=True)
    model = load_model(training)
    packer = None
    if training.hyperparameters.packing:
        check_boundaries(model)
        packer = Packer(training.hyperparameters.max_length, pad_id_of(tokenizer))
    trainer = SFTTrainer(
        model=model,
        args=config(training),
        train_dataset=_dataset(training.train),
        eval_dataset=_dataset(training.validation),
        processing_class=tokenizer,
        data_collator=packer,
        peft_config=adapter(training),
        callbacks=[Bridge(observer, training.output_folder)],
    )
    execute(trainer, training)


def config(training: Training) -> SFTConfig:
    """Return TRL's settings with every value that matters taken from the spec."""
    return SFTConfig(
        **shared_arguments(training),
        max_length=training.hyperparameters.max_length,
        # TRL's own packing changes how many rows a step takes.
        packing=False,
        loss_type="nll",
        # The rows come as tokens and labels, made with the mask that VALIDATE has counted; with
        # this set TRL would ask for messages and do the same again.
        assistant_only_loss=False,
        dataset_kwargs={"skip_prepare_dataset": True},
    )


def pad_id_of(tokenizer: Any) -> int:
    """Return the token that fills what is shorter."""
    pad_id = tokenizer.pad_token_id
    return int(tokenizer.eos_token_id if pad_id is None else pad_id)


def _dataset(rows: Sequence[Example | Prompt]) -> datasets.Dataset:
    examples = [row for row in rows if isinstance(row, Example)]
    return datasets.Dataset.from_dict(
        {
            "input_ids": [list(example.token_ids) for example in examples],
            "labels": [list(example.labels) for example in examples],
        }
    )
