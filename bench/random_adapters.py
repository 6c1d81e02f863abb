"""Makes random adapters of a base model whose answers differ, with what transformers answers.

Run as a process of its own, for it imports torch: `python -m bench.random_adapters ARTEFACT_ROOT
MODEL_ID COUNT [SEED]`. Prints the hashes as JSON. Every parity file has the same prompts, and every
token of its answers is clearly the likeliest: what another order of additions may turn the other
way tells no adapters apart.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers.utils.logging import disable_progress_bar

from bench.random_adapters_text import ANSWER_TOKENS, PROMPTS
from services.common.artefacts import Artefacts, write_manifest
from services.serving.engines.base_model import find_base_model
from services.trainer.data.render import Renderer
from services.trainer.models.parity import parity_line, write_parity
from services.trainer.recipes.generation import generator_of
from services.trainer.recipes.model import load_base

MARGIN_MIN = 0.005
"""Least distance of the likeliest token from the next, in nats; engines differ by a tenth of it."""
TOKENS_MIN = 3
"""Of an answer: shorter ones of two adapters are too often alike."""
RANK = 8
SPREAD = 0.4
"""Standard deviation of the random weights: enough for answers of their own."""
TRIES_MAX = 20
"""Draws for one adapter that is clear."""


def make(artefacts: Artefacts, tuned: Any, renderer: Renderer, seed: int) -> str | None:
    """Return the hash of one adapter; None where an answer of it is short or unclear.

    Args:
        artefacts: Where it goes.
        tuned: The base model with an adapter, whose weights are drawn anew.
        renderer: Of the base model.
        seed: Tells it from others.
    """
    torch.manual_seed(seed)
    for name, parameter in tuned.named_parameters():
        if "lora_A" in name:
            torch.nn.init.kaiming_uniform_(parameter, a=5**0.5)  # As PEFT draws it.
        if "lora_B" in name:  # Zero by default, which would leave the base as it is.
            torch.nn.init.normal_(parameter, std=SPREAD)
    generator = generator_of(tuned, renderer.tokenizer)
    lines = []
    for prompt in PROMPTS:
        messages = [{"role": "user", "content": prompt}]
        line = parity_line(generator, renderer, messages, ANSWER_TOKENS, lambda: None)
        is_short = line is None or len(line["answer_token_ids"]) < TOKENS_MIN
        if is_short or margin(tuned, line) < MARGIN_MIN:
            return None
        lines.append(line)
    staged = artefacts.adapter(f"random-{seed}")
    tuned.save_pretrained(staged)
    write_parity(staged, lines)
    adapter_sha256 = write_manifest(staged, {"run": f"random-{seed}"})
    staged.rename(artefacts.adapter(adapter_sha256))
    return adapter_sha256


def margin(model: Any, line: dict[str, Any]) -> float:
    """Return the least distance, in nats, of an answer's token from its rival."""
    ids = [*line["prompt_token_ids"], *line["answer_token_ids"]]
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids])).logits[0]
    said = torch.log_softmax(logits[len(line["prompt_token_ids"]) - 1 : -1], -1)
    first, second = said.topk(2).values.unbind(-1)
    return float((first - second).min())


def main(root: str, model_id: str, count: str, seed: str = "0") -> None:
    """Make as many as are asked for."""
    disable_progress_bar()
    artefacts = Artefacts(Path(root))
    model = find_base_model(artefacts, model_id)
    assert model is not None, f"{model_id} is not at hand under {root}"
    renderer = Renderer(model.folder)
    config = LoraConfig(
        r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    tuned = get_peft_model(load_base(model.folder, torch.float32), config)
    made: list[str] = []
    draw = int(seed)
    for _ in range(int(count) * TRIES_MAX):
        draw += 1
        if (adapter := make(artefacts, tuned, renderer, draw)) is not None:
            made.append(adapter)
        if len(made) == int(count):
            break
    print(json.dumps(made))


if __name__ == "__main__":
    main(*sys.argv[1:])
