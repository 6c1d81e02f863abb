"""Supervised fine-tuning with TRL alone: python -m bench.bare_sft SETTINGS.json."""

from trl import SFTConfig, SFTTrainer

from bench import bare_script

if __name__ == "__main__":
    bare_script.train(SFTTrainer, SFTConfig, bare_script.read_settings())
