"""How each technique trains: one file per technique, and what they share.

Shapes in these files: B batch, T tokens, V vocabulary, R LoRA rank, G
completions per prompt. A recipe's module has one
function, `train(training, observer) -> None`. Only the process of a run imports them: they import
torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec

from attune.spec.v1.stage_pb2 import Method, Technique

RECIPES: Mapping[int, str] = {
    Technique.TECHNIQUE_SFT: "services.trainer.recipes.sft",
    Technique.TECHNIQUE_DPO: "services.trainer.recipes.dpo",
    Technique.TECHNIQUE_RLVR: "services.trainer.recipes.grpo",
    Technique.TECHNIQUE_RLAIF: "services.trainer.recipes.grpo",
}
"""Technique to the module that trains it."""
REINFORCED = (Technique.TECHNIQUE_RLVR, Technique.TECHNIQUE_RLAIF)
"""Techniques that learn from the rewards of answers."""


@dataclass(frozen=True)
class MethodNeeds:
    """What a method makes, and what it takes to run it."""

    is_adapter: bool = True
    """Whether an adapter learns beside a frozen base; else all weights do."""
    needs_cuda: bool = False
    merged_only: bool = False
    """Whether vLLM cannot load its adapter, so that it is served only merged into its base."""
    library: str = ""
    """Import name of a package that not every machine has; empty when none is needed."""


METHODS: Mapping[int, MethodNeeds] = {
    Method.METHOD_LORA: MethodNeeds(),
    Method.METHOD_QLORA: MethodNeeds(needs_cuda=True, library="bitsandbytes"),
    Method.METHOD_DORA: MethodNeeds(merged_only=True),
    Method.METHOD_FULL: MethodNeeds(is_adapter=False),
}
"""Which weights the recipes can change."""


def lack_of(method: int, *, has_cuda: bool) -> str:
    """Return what a machine lacks for a method, or an empty text where it can run it.

    Args:
        method: Of `METHODS`.
        has_cuda: Whether runs compute on a GPU there.
    """
    needs = METHODS[method]
    if needs.needs_cuda and not has_cuda:
        return "a CUDA GPU"
    if needs.library and find_spec(needs.library) is None:
        return f"the package {needs.library}"
    return ""


def methods_here(*, has_cuda: bool) -> list[int]:
    """Return the methods that a machine can run."""
    return [method for method in METHODS if not lack_of(method, has_cuda=has_cuda)]
