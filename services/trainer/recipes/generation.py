"""Answers of a causal language model, and the log-probabilities of given ones.

Shapes: see the package.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from attune.spec.v1.compute_pb2 import ParallelPlan
from peft import PeftModel
from torch import Tensor
from transformers import (
    BitsAndBytesConfig,
    GenerationConfig,
    StoppingCriteria,
    StoppingCriteriaList,
)

from services.trainer.recipes.model import DTYPES, four_bits, load_base

BATCH_TOKENS_MAX = 16_384
"""Tokens of one batch, prompts and answers; bounds the memory of keys and values."""
BATCH_ROWS_MAX = 32
ADAPTER_CONFIG = "adapter_config.json"
"""File that only an adapter's folder has."""


@dataclass(frozen=True)
class Sampling:
    """How answers are drawn."""

    temperature: float
    """Above 0."""
    top_p: float
    """In (0, 1]."""
    seed: int


@dataclass(frozen=True)
class Loading:
    """How a model is loaded to answer."""

    use_cuda: bool
    precision: ParallelPlan.Precision.ValueType = ParallelPlan.PRECISION_UNSPECIFIED
    """Of the weights on a GPU, as they are trained: what fits there fits here too. On a CPU they
    are float32."""
    is_quantised: bool = False
    """Whether the base's matrices have 4 bits, as QLoRA trains beside them."""


class Generator:
    """A model that answers prompts, with or without an adapter."""

    def __init__(self, model: Any, stop_ids: Sequence[int], pad_id: int) -> None:
        """Keep the model, ready for inference.

        Args:
            model: On the device that it is to use.
            stop_ids: Tokens that end an answer.
            pad_id: Fills the left of shorter prompts.
        """
        self._model = model.eval()
        self._stop_ids = sorted(stop_ids)
        self._pad_id = pad_id
        self.context_length: int = model.config.max_position_embeddings

    def answer(
        self,
        prompts: Sequence[Sequence[int]],
        max_new_tokens: int,
        check: Callable[[int], None],
        sampling: Sampling | None = None,
    ) -> list[list[int]]:
        """Answer prompts.

        Args:
            prompts: Token ids of each.
            max_new_tokens: Longest answer, the token that ends it included.
            check: Called with the number of finished prompts, after every batch, and with every
                token; it may raise to stop.
            sampling: How answers are drawn; None for the likeliest token each time.

        Returns:
            Token ids of each answer in the order of the prompts, the token that ended it
            included. Empty for a prompt that leaves no room in the context.
        """
        if sampling is not None:
            torch.manual_seed(sampling.seed)
        answers: list[list[int]] = [[] for _ in prompts]
        done = 0
        for batch in self._batches(prompts, max_new_tokens):
            room = self.context_length - max(len(prompts[index]) for index in batch)
            if room > 0:
                new = self._generate(
                    [prompts[index] for index in batch],
                    min(max_new_tokens, room),
                    lambda finished=done: check(finished),  # type: ignore[misc]
                    sampling,
                )
                for index, token_ids in zip(batch, new, strict=True):
                    answers[index] = token_ids
            done += len(batch)
            check(done)
        return answers

    def logprobs(self, prompt_ids: Sequence[int], answer_ids: Sequence[int]) -> list[float]:
        """Return the log-probability of each token of an answer, in nats."""
        token_ids = torch.tensor([[*prompt_ids, *answer_ids]], device=self._model.device)
        with torch.inference_mode():
            logits = self._model(input_ids=token_ids).logits[0].float()  # [T, V]
        # Position t foretells token t + 1.
        scores = torch.log_softmax(logits[len(prompt_ids) - 1 : -1], dim=-1)
        chosen = token_ids[0, len(prompt_ids) :, None]
        return [float(value) for value in scores.gather(1, chosen)[:, 0]]

    def _batches(self, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> list[list[int]]:
        """Return positions of prompts in batches of similar length, longest first."""
        order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]), reverse=True)
        batches: list[list[int]] = []
        rows_max = 0
        for index in order:
            if not batches or len(batches[-1]) >= rows_max:
                tokens = len(prompts[index]) + max_new_tokens
                rows_max = max(1, min(BATCH_ROWS_MAX, BATCH_TOKENS_MAX // tokens))
                batches.append([])
            batches[-1].append(index)
        return batches

    def _generate(
        self,
        prompts: list[Sequence[int]],
        max_new_tokens: int,
        check: Callable[[], None],
        sampling: Sampling | None,
    ) -> list[list[int]]:
        width = max(len(prompt) for prompt in prompts)
        rows = [[self._pad_id] * (width - len(prompt)) + list(prompt) for prompt in prompts]
        mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        device = self._model.device
        with torch.inference_mode():
            tokens = self._model.generate(
                input_ids=torch.tensor(rows, device=device),
                attention_mask=torch.tensor(mask, device=device),
                generation_config=GenerationConfig(
                    **_drawn(sampling),
                    num_beams=1,
                    max_new_tokens=max_new_tokens,
                    eos_token_id=self._stop_ids,
                    pad_token_id=self._pad_id,
                    use_cache=True,
                ),
                stopping_criteria=StoppingCriteriaList([_Check(check)]),
            )
        return [self._cut(row) for row in tokens[:, width:].tolist()]

    def _cut(self, token_ids: list[int]) -> list[int]:
        """Return an answer up to and with the first token that ends it."""
        for index, token_id in enumerate(token_ids):
            if token_id in self._stop_ids:
                return token_ids[: index + 1]
        return token_ids


def _drawn(sampling: Sampling | None) -> dict[str, Any]:
    if sampling is None:
        return {"do_sample": False}
    return {
        "do_sample": True,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": 0,
    }


class _Check(StoppingCriteria):  # type: ignore[misc]  # transformers has no types.
    """Stops nothing, but lets a run be stopped between two tokens."""

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check

    def __call__(self, input_ids: Tensor, scores: Tensor, **_: Any) -> Tensor:
        """Return that no row of the batch is to stop, [B]."""
        self._check()
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)


def load_generator(folder: Path, tuned: Path | None, tokenizer: Any, loading: Loading) -> Generator:
    """Return a generator.

    Args:
        folder: Of the base model.
        tuned: Folder of an adapter that is to be active, or of a whole model that stands for the
            base; None for the base alone.
        tokenizer: Of the base model.
        loading: How to load it.
    """
    is_adapter = tuned is not None and (tuned / ADAPTER_CONFIG).exists()
    whole = folder if tuned is None or is_adapter else tuned
    model = load_base(whole, *form_of(loading))
    if is_adapter:
        model = PeftModel.from_pretrained(model, str(tuned), is_trainable=False)
    if loading.use_cuda and not loading.is_quantised:  # What is quantised is on the GPU already.
        model = model.to("cuda")
    return generator_of(model, tokenizer)


def form_of(loading: Loading) -> tuple[torch.dtype, BitsAndBytesConfig | None]:
    """Return the number format of a model's weights, and how its matrices are quantised."""
    if not loading.use_cuda:
        return torch.float32, None
    dtype = DTYPES.get(loading.precision, torch.float32)
    return dtype, four_bits(dtype) if loading.is_quantised else None


def generator_of(model: Any, tokenizer: Any) -> Generator:
    """Return a generator of a model that is loaded already; it is in evaluation mode then."""
    stop_ids = _as_list(model.generation_config.eos_token_id)
    stops = {*stop_ids, *_as_list(tokenizer.eos_token_id)}
    pad_id = tokenizer.pad_token_id
    return Generator(model, sorted(stops), tokenizer.eos_token_id if pad_id is None else pad_id)


def _as_list(value: int | list[int] | None) -> list[int]:
    if value is None:
        return []
    return [value] if isinstance(value, int) else list(value)
