"""Preference optimisation with TRL alone: python -m bench.bare_dpo SETTINGS.json."""

from trl import DPOConfig, DPOTrainer

from bench import bare_script

if __name__ == "__main__":
    bare_script.train(DPOTrainer, DPOConfig, bare_script.read_settings())
