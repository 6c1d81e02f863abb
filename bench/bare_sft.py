"""The same training as a person would write it with TRL alone: the other side of two benches.

Usage: python -P bench/bare_sft.py SETTINGS.json   (see `bench.training.bare_settings`)
Prints one JSON line: when the first optimizer step ended, and the seconds inside train().
"""

import json
import sys
import time
from pathlib import Path

import datasets
import torch
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer


class FirstStep(TrainerCallback):
    """Notes when the first optimizer step ended."""

    def __init__(self) -> None:
        self.time = 0.0

    def on_step_end(self, args, state, control, **_):
        """Keep the time of the first step only."""
        self.time = self.time or time.time()


def main(path: str) -> None:
    """Train as the settings say."""
    settings = json.loads(Path(path).read_text())
    torch.set_num_threads(settings["threads"])
    rows = {part: datasets.Dataset.from_list(settings[part]) for part in ("train", "validation")}
    first = FirstStep()
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(settings["model"], dtype=torch.float32),
        args=SFTConfig(**settings["config"]),
        train_dataset=rows["train"],
        eval_dataset=rows["validation"],
        processing_class=AutoTokenizer.from_pretrained(settings["model"]),
        peft_config=LoraConfig(**settings["lora"]),
        callbacks=[first],
    )
    begin = time.monotonic()
    trainer.train()
    print(json.dumps({"first_step_time": first.time, "train_s": time.monotonic() - begin}))


if __name__ == "__main__":
    main(sys.argv[1])
