"""The chat template that training uses, with marks around what the assistant says."""

from __future__ import annotations

from typing import Any

from trl.chat_template_utils import get_training_chat_template, has_generation_markers


def training_template(tokenizer: Any) -> str | None:
    """Return TRL's marked twin of the tokenizer's template, or None if that is marked itself.

    Raises:
        ValueError: If the template is not marked and TRL knows no twin of it.
    """
    if has_generation_markers(tokenizer.chat_template):
        return None
    template: str | None = get_training_chat_template(tokenizer)
    return template
