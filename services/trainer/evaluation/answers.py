"""Greedy answers of a model to many prompts; what an attempt has answered the next one keeps."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from services.common.artefacts import MANIFEST, file_sha256
from services.trainer.attempt import list_attempts
from services.trainer.data.rows import Row, choose_examples, few_shot_prompt
from services.trainer.recipes.generation import Generator, Loading, load_generator
from services.trainer.runtime.run_context import RunContext

PIECE_ROWS = 64
"""Prompts that are answered, and kept, at once: all that a crash can cost."""
KEPT_BYTES_MAX = 256 * 1024 * 1024
"""Of one attempt's kept answers that are read."""
ANSWERS = "answers.jsonl"
"""Token ids of answers, by the hash of what was asked of whom."""


class Answers:
    """Answers of one model, kept in the attempt's folder as they come."""

    def __init__(self, context: RunContext, adapter: Path | None) -> None:
        """Load the model.

        Args:
            context: The run.
            adapter: Folder of the checkpoint that is to be active; None for the base alone.
        """
        self._context = context
        self.generator: Generator = open_generator(context, adapter)
        weights = "" if adapter is None else file_sha256(adapter / MANIFEST)
        self._model = f"{context.spec.base_model.revision} {weights}"
        self._kept = _kept(context)

    def of(self, prompts: Sequence[Sequence[int]], before: int, total: int) -> list[str]:
        """Return the text of the answer to each prompt, in their order.

        Args:
            prompts: Token ids of each.
            before: Rows of the phase that were done before.
            total: Rows of the phase.
        """
        context = self._context
        limit = context.spec.evaluation.max_answer_tokens
        # Longest first, as they are batched: the same prompts always meet in a batch, so an answer
        # does not depend on what was kept.
        order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]), reverse=True)
        texts = [""] * len(prompts)
        for start in range(0, len(order), PIECE_ROWS):
            piece = order[start : start + PIECE_ROWS]
            key = self._key([prompts[index] for index in piece], limit)
            answers = self._kept.get(key)
            if answers is None:
                done = before + start
                answers = self.generator.answer(
                    [prompts[index] for index in piece],
                    limit,
                    lambda count, done=done: context.report(done + count, total),  # type: ignore[misc]
                )
                context.attempt.append(ANSWERS, {"key": key, "token_ids": answers})
            context.report(before + start + len(piece), total)
            for index, token_ids in zip(piece, answers, strict=True):
                texts[index] = context.renderer.text(token_ids)
        return texts

    def _key(self, prompts: list[Sequence[int]], limit: int) -> str:
        asked = f"{self._model} {limit} {[list(prompt) for prompt in prompts]}"
        return sha256(asked.encode()).hexdigest()


def open_generator(context: RunContext, adapter: Path | None) -> Generator:
    """Load the base model as it is trained, with an adapter or without."""
    return load_generator(
        context.model_folder, adapter, context.renderer.tokenizer, context.loading
    )


def open_served(context: RunContext, tuned: Path) -> Generator:
    """Load what was trained as an engine will hold it: beside a base that is not quantised.

    Where the base was, the GPU may have no room for it whole; then the processor answers.
    """
    loading = context.loading
    if loading.is_quantised:
        loading = Loading(use_cuda=False)
    return load_generator(context.model_folder, tuned, context.renderer.tokenizer, loading)


def plain_prompts(context: RunContext, rows: Sequence[Row]) -> list[list[int]]:
    """Return the token ids of what rows ask."""
    return [context.prompt_ids(row) for row in rows]


def few_shot_prompts(
    context: RunContext, rows: Sequence[Row], context_length: int
) -> tuple[list[list[int]], int]:
    """Return prompts with as many examples as the context has room for, and how many those are."""
    settings = context.spec.evaluation
    if any(row.text for row in rows):
        return [], 0  # There are no turns that examples could be.
    room = context_length - settings.max_answer_tokens
    for count in range(settings.few_shot_example_count, 0, -1):
        context.check()
        examples = choose_examples(context.split.train, count, settings.seed)
        found = [context.renderer.prompt(few_shot_prompt(row, examples), row.tools) for row in rows]
        if max(len(prompt) for prompt in found) <= room:
            return found, len(examples)
        context.attempt.say(f"{count} examples do not fit into the context; trying fewer.")
    return [], 0


def _kept(context: RunContext) -> dict[str, list[list[int]]]:
    """Return what earlier attempts at the run have answered, by the hash of what was asked."""
    found: dict[str, list[list[int]]] = {}
    manifest = context.manifest
    for attempt in list_attempts(context.artefacts.run(manifest.run_id), manifest.fence):
        offset, end = 0, -1
        while end != offset < KEPT_BYTES_MAX:
            end = offset
            lines, offset = attempt.lines(ANSWERS, offset)
            found.update((line["key"], line["token_ids"]) for line in lines)
    return found
