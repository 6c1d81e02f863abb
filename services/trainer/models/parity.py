"""What an engine must reproduce of a model: prompts, token ids, greedy answers, probabilities."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from services.trainer.data.render import Renderer
from services.trainer.recipes.generation import Generator

PARITY = "parity.jsonl"
SPEAKERS = ("system", "user", "assistant")


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
        messages: The prompt; calls of tools are left out of it, for engines take them in forms of
            their own, and any prompt tells whether two engines compute alike.
        max_tokens: Longest answer.
        check: Called with every token; it may raise to stop.
    """
    asked = _words_only(messages)
    prompt_ids = renderer.prompt(asked)
    # One by one: padding of a batch may turn a near tie the other way.
    (answer_ids,) = generator.answer([prompt_ids], max_tokens, lambda _: check())
    if not answer_ids:
        return None
    return {
        "messages": asked,
        "prompt_token_ids": prompt_ids,
        "answer_token_ids": answer_ids,
        "answer": renderer.text(answer_ids),
        "logprobs": generator.logprobs(prompt_ids, answer_ids),
    }


def _words_only(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return what was said up to the last question, without calls and what they returned."""
    said = [
        {"role": message["role"], "content": message["content"]}
        for message in messages
        if message["role"] in SPEAKERS and message.get("content")
    ]
    while said[1:] and said[-1]["role"] != "user":
        said.pop()
    return said


def write_parity(folder: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Write the parity file of an artefact."""
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / PARITY).write_text(text)
