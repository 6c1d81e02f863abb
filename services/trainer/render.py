"""Tokenizers, chat templates and masks: what a model sees of a row, and what it learns of it.

Imported only where transformers is loaded already: in runs, and in the process that answers
RenderService.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from transformers import AutoTokenizer
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from services.common.errors import FailedPrecondition, InvalidArgument, Violation, invalid
from services.trainer.recipes.template import training_template

TOKENIZERS_MAX = 4
"""Tokenizers that are kept loaded."""
VIOLATIONS_MAX = 100
"""Bad rows that one answer names."""


@dataclass(frozen=True)
class Rendered:
    """A chat row as tokens."""

    token_ids: list[int]
    """Of the whole row, template included, [T]."""
    assistant_mask: list[int]
    """1 where the token is the assistant's and is learnt, else 0, [T]."""

    @property
    def trainable_count(self) -> int:
        """Tokens that training learns."""
        return sum(self.assistant_mask)


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
        """Return a whole row as tokens with the mask of the assistant's.

        Raises:
            InvalidArgument: If the template refuses the row.
        """
        values = self._apply(
            messages,
            tools,
            chat_template=self.training_template,
            return_assistant_tokens_mask=True,
        )
        return Rendered(list(values["input_ids"]), list(values["assistant_masks"]))

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
                [dict(message) for message in messages],
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


def count_tokens(
    folder: Path, rows: Sequence[tuple[Any, Any]]
) -> list[tuple[int, int]] | list[Violation]:
    """Count all and the trainable tokens of chat rows; runs in the rendering process.

    Args:
        folder: Of the base model's revision.
        rows: Messages and tools of each.

    Returns:
        One pair per row, in order; or, when the template refuses rows, what is wrong with them.
    """
    counts, violations = [], []
    for index, (messages, tools) in enumerate(rows):
        try:
            rendered = renderer(folder).row(messages, tools)
        except InvalidArgument as error:
            violations.append(Violation(f"rows.{index}", error.reason, error.message))
            continue
        counts.append((len(rendered.token_ids), rendered.trainable_count))
    return violations[:VIOLATIONS_MAX] or counts


def refuse_unknown_model(model_type: str) -> None:
    """Refuse a kind of model that the installed transformers has no code of its own for.

    Raises:
        InvalidArgument: If it is unknown.
    """
    if model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        text = f"'{model_type}' is no causal language model that transformers knows. Use another."
        raise invalid([Violation("model_type", "UNKNOWN_MODEL_TYPE", text)])
