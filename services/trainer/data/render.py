"""Tokenizers, chat templates and masks: what a model sees of a row, and what it learns of it.

Imported only where transformers is loaded already: in runs, and in the process that answers
RenderService.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeVar

from jinja2 import TemplateError
from transformers import AutoTokenizer
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from services.common.errors import FailedPrecondition, InvalidArgument, Violation, invalid
from services.trainer.data.row_shape import Counts, Preview, ShapedRow, clean_messages
from services.trainer.recipes.template import training_template

Result = TypeVar("Result")

TOKENIZERS_MAX = 4
"""Tokenizers that are kept loaded."""
VIOLATIONS_MAX = 100
"""Bad rows that one answer names."""


@dataclass(frozen=True)
class Rendered:
    """A row as tokens."""

    token_ids: list[int]
    """Of the whole row, template included, [T]."""
    assistant_mask: list[int]
    """1 where the token is the assistant's and is learnt, else 0, [T]."""

    @property
    def trainable_count(self) -> int:
        """Tokens that training learns."""
        return sum(self.assistant_mask)

    def trains_nothing(self, max_length: int) -> bool:
        """Return whether nothing to learn is left after a cut at so many tokens.

        The first token is foretold by nothing, so that learning it alone would be learning nothing.
        """
        return not any(self.assistant_mask[1:max_length])


class Renderer:
    """Renders rows with one tokenizer exactly as TRL's SFTTrainer does."""

    def __init__(self, folder: Path) -> None:
        """Load the tokenizer of a base model.

        Args:
            folder: Holds it; a folder of our own, which has been imported.

        Raises:
            FailedPrecondition: If the tokenizer has no chat template, or none that can be masked.
        """
        self.tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        if not self.tokenizer.chat_template:
            raise FailedPrecondition(
                "The base model has no chat template. Choose one that has.",
                reason="NO_CHAT_TEMPLATE",
            )
        # None means that the model's own template marks what the assistant says.
        try:
            self.training_template = training_template(self.tokenizer)
        except ValueError:
            raise FailedPrecondition(
                "The base model's chat template does not mark what the assistant says, and "
                "there is no marked twin of it. Choose a base model with a known template.",
                reason="TEMPLATE_NOT_MASKABLE",
            ) from None

    def row(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> Rendered:
        """Return a whole row as tokens with the mask of the assistant's, those of weight 0 not.

        Raises:
            InvalidArgument: If the template refuses the row.
        """
        values = self._apply(
            messages,
            tools,
            chat_template=self.training_template,
            return_assistant_tokens_mask=True,
        )
        mask = list(values["assistant_masks"])
        return Rendered(list(values["input_ids"]), _weighted(mask, messages))

    def pair(self, row: ShapedRow) -> tuple[list[int], list[int], list[int]]:
        """Return prompt, preferred and rejected answer of a pair as TRL's DPOTrainer has them, [T].

        An answer begins where prompt and answer together differ from the prompt alone.

        Raises:
            InvalidArgument: If the template refuses the row.
        """
        prompt = self.prompt(row.messages, row.tools)
        chosen, rejected = (
            list(self._apply([*row.messages, *answer], row.tools)["input_ids"])
            for answer in (row.chosen, row.rejected)
        )
        start = min(_common(prompt, chosen), _common(prompt, rejected))
        return prompt[:start], chosen[start:], rejected[start:]

    def plain(self, text: str) -> list[int]:
        """Return text without a template, and with the token that ends it, [T]."""
        end = self.tokenizer.eos_token or ""
        whole = text if text.endswith(end) else text + end
        return list(self.tokenizer(whole)["input_ids"])

    def opening(self, text: str) -> list[int]:
        """Return the beginning of a text without a template, which goes on, [T]."""
        return list(self.tokenizer(text)["input_ids"])

    def learnt(self, row: ShapedRow) -> Rendered:
        """Return a row that supervised fine-tuning learns: a talk, or text.

        Raises:
            InvalidArgument: If the template refuses the row.
        """
        if row.text:
            token_ids = self.plain(row.text)
            return Rendered(token_ids, [1] * len(token_ids))
        return self.row(row.messages, row.tools)

    def shaped(self, row: ShapedRow) -> Rendered:
        """Return a row of any shape as training sees it.

        Of a pair that is the preferred answer after its prompt. A prompt that waits for answers
        learns nothing of its own.

        Raises:
            InvalidArgument: If the template refuses the row.
        """
        if row.chosen:
            prompt, chosen, _ = self.pair(row)
            return Rendered(prompt + chosen, [0] * len(prompt) + [1] * len(chosen))
        if row.text or row.is_learnt:
            return self.learnt(row)
        token_ids = self.prompt(row.messages, row.tools)
        return Rendered(token_ids, [0] * len(token_ids))

    def counts(self, row: ShapedRow) -> Counts:
        """Return the tokens of a row of any shape.

        Raises:
            InvalidArgument: If the template refuses the row.
        """
        if row.chosen:
            prompt, chosen, rejected = self.pair(row)
            sizes = len(prompt), len(chosen), len(rejected)
            return Counts(sizes[0] + sizes[1], sizes[1], *sizes)
        rendered = self.shaped(row)
        total, learnt = len(rendered.token_ids), rendered.trainable_count
        if row.text:
            return Counts(total, learnt, 0, total, 0)
        if not row.is_learnt:
            reference = len(self.tokenizer(row.reference)["input_ids"]) if row.reference else 0
            return Counts(total, 0, total, reference, 0)
        before = len(self.prompt(row.messages[:-1], row.tools)) if row.messages[:-1] else 0
        return Counts(total, learnt, min(before, total), max(0, total - before), 0)

    def pieces(self, token_ids: Sequence[int]) -> list[str]:
        """Return the text of each token, special ones included, one by one."""
        return [str(self.tokenizer.decode([token_id])) for token_id in token_ids]

    def prompt(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> list[int]:
        """Return the tokens of a prompt, up to where the assistant begins to speak, [T].

        Raises:
            InvalidArgument: If the template refuses the messages.
        """
        values = self._apply(messages, tools, add_generation_prompt=True)
        return list(values["input_ids"])

    def text(self, token_ids: Sequence[int]) -> str:
        """Return what tokens say, special ones left out."""
        return str(self.tokenizer.decode(token_ids, skip_special_tokens=True))

    def _apply(self, messages: Any, tools: Any, **settings: Any) -> Any:
        try:
            return self.tokenizer.apply_chat_template(
                clean_messages(messages),
                tools=tools,
                tokenize=True,
                return_dict=True,
                **settings,
            )
        except (TemplateError, TypeError, KeyError, ValueError) as error:
            raise InvalidArgument(
                f"The chat template refuses the row: {error}. Correct its messages.",
                reason="TEMPLATE_REFUSED",
            ) from None


@lru_cache(maxsize=TOKENIZERS_MAX)
def renderer(folder: Path) -> Renderer:
    """Return the renderer of a base model's folder, loaded once."""
    return Renderer(folder)


def count_tokens(folder: Path, rows: Sequence[ShapedRow]) -> list[Counts] | list[Violation]:
    """Count the tokens of rows; runs in the rendering process.

    Args:
        folder: Of the base model's revision.
        rows: At least one.

    Returns:
        Counts of each, in order; or, when the template refuses rows, what is wrong with them.
    """
    return _each(rows, renderer(folder).counts)


def render_rows(
    folder: Path, rows: Sequence[ShapedRow], max_length: int
) -> list[Preview] | list[Violation]:
    """Render rows as training sees them; runs in the rendering process.

    Args:
        folder: Of the base model's revision.
        rows: At least one.
        max_length: Tokens at which they are cut.

    Returns:
        Each, in order; or, when the template refuses rows, what is wrong with them.
    """
    own = renderer(folder)

    def preview(row: ShapedRow) -> Preview:
        rendered = own.shaped(row)
        kept = rendered.token_ids[:max_length]
        learns = bool(row.text or row.chosen or row.is_learnt)
        cut = len(rendered.token_ids) - len(kept)
        return Preview(
            text=str(own.tokenizer.decode(rendered.token_ids)),
            token_ids=kept,
            token_texts=own.pieces(kept),
            trainable=[bool(one) for one in rendered.assistant_mask[:max_length]],
            cut_count=cut,
            # Where the answer is sampled, a prompt that fills the length leaves no room for it.
            trains_nothing=rendered.trains_nothing(max_length) if learns else cut > 0,
        )

    return _each(rows, preview)


def refuse_unknown_model(model_type: str) -> None:
    """Refuse a kind of model that the installed transformers has no code of its own for.

    Raises:
        InvalidArgument: If it is unknown.
    """
    if model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        text = f"'{model_type}' is no causal language model that transformers knows. Use another."
        raise invalid([Violation("model_type", "UNKNOWN_MODEL_TYPE", text)])


def _each(
    rows: Sequence[ShapedRow], act: Callable[[ShapedRow], Result]
) -> list[Result] | list[Violation]:
    results: list[Result] = []
    violations: list[Violation] = []
    for index, row in enumerate(rows):
        try:
            results.append(act(row))
        except InvalidArgument as error:
            violations.append(Violation(f"rows.{index}", error.reason, error.message))
    return violations[:VIOLATIONS_MAX] or results


def _weighted(mask: list[int], messages: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return a mask without the answers of weight 0.

    Raises:
        InvalidArgument: If the answers cannot be told apart in it.
    """
    weights = [each.get("weight", 1) for each in messages if each["role"] == "assistant"]
    if 0 not in weights:
        return mask
    starts = {at for at, one in enumerate(mask) if one and (at == 0 or not mask[at - 1])}
    if len(starts) != len(weights):
        raise InvalidArgument(
            "The chat template does not keep answers apart, so none can be left out. Remove the "
            "weights, or split the row.",
            reason="WEIGHT_NOT_TAKEN",
        )
    # Each run of ones is an answer, in order.
    answers = accumulate(int(at in starts) for at in range(len(mask)))
    return [
        int(bool(one and weights[answer - 1])) for one, answer in zip(mask, answers, strict=True)
    ]


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many tokens two sequences have in common at their beginning."""
    pairs = zip(one, other, strict=False)
    shorter = min(len(one), len(other))
    return next((at for at, (left, right) in enumerate(pairs) if left != right), shorter)
