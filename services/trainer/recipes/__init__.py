"""How each technique trains: one file per technique, and what they share.

Shapes in these files: B batch, T tokens, V vocabulary, R LoRA rank. A recipe's module has one
function, `train(training, observer) -> None`. Only the process of a run imports them: they import
torch.
"""

from __future__ import annotations

from collections.abc import Mapping

from attune.spec.v1.stage_pb2 import Method, Technique

RECIPES: Mapping[int, str] = {
    Technique.TECHNIQUE_SFT: "services.trainer.recipes.sft",
}
"""Technique to the module that trains it."""
METHODS: tuple[int, ...] = (Method.METHOD_LORA,)
"""Which weights the recipes can change."""
