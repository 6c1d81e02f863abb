"""What the bare scripts have in common; each trains as a person would write it with TRL alone.

They are told everything by one file of JSON (`bench.bare.settings_of`) and print one line of it:
when the first optimizer step ended, and the seconds inside train().
"""

import json
import sys
import time
from pathlib import Path

import datasets
import torch
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback


class FirstStep(TrainerCallback):
    """Notes when the first optimizer step ended."""

    def __init__(self):
        self.time = 0.0

    def on_step_end(self, args, state, control, **_):
        """Keep the time of the first step only."""
        self.time = self.time or time.time()


def read_settings():
    """Return the settings that the command line names."""
    settings = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(settings["threads"])
    return settings


def train(trainer_class, config_class, settings, **more):
    """Train as the settings say, and print the times."""
    first = FirstStep()
    trainer = trainer_class(
        model=AutoModelForCausalLM.from_pretrained(settings["model"], dtype=torch.float32),
        args=config_class(**settings["config"]),
        train_dataset=datasets.Dataset.from_list(settings["train"]),
        eval_dataset=datasets.Dataset.from_list(settings["validation"]),
        processing_class=AutoTokenizer.from_pretrained(settings["model"]),
        peft_config=LoraConfig(**settings["lora"]),
        callbacks=[first],
        **more,
    )
    begin = time.monotonic()
    trainer.train()
    seconds = time.monotonic() - begin
    steps = trainer.state.global_step
    print(json.dumps({"first_step_time": first.time, "train_s": seconds, "step_count": steps}))
