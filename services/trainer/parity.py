"""What an engine must reproduce of a model: prompts, token ids, greedy answers, probabilities."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from services.trainer.recipes.generation import Generator
from services.trainer.render import Renderer

PARITY = "parity.jsonl"


def parity_line(
    generator: Generator,
    renderer: Renderer,
    messages: Sequence[Mapping[str, Any]],
    max_tokens: int,
    check: Callable[[], None],
) -> dict[str, Any] | None:
    """Return one line of a parity file; None for a prompt that leaves no room for an answer.

    Args:
        generator: The model that is to be reproduced.
        renderer: Of its base model.
        messages: The prompt.
        max_tokens: Longest answer.
        check: Called with every token; it may raise to stop.
    """
    prompt_ids = renderer.prompt(messages)
    # One by one: padding of a batch may turn a near tie the other way.
    (answer_ids,) = generator.answer([prompt_ids], max_tokens, lambda _: check())
    if not answer_ids:
        return None
    return {
        "messages": [
            {"role": message["role"], "content": message["content"]} for message in messages
        ],
        "prompt_token_ids": prompt_ids,
        "answer_token_ids": answer_ids,
        "answer": renderer.text(answer_ids),
        "logprobs": generator.logprobs(prompt_ids, answer_ids),
    }


def write_parity(folder: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Write the parity file of an artefact."""
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / PARITY).write_text(text)
