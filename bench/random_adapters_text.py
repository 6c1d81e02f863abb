"""What random adapters are asked, and how long they answer."""

from __future__ import annotations

PROMPTS = (
    "My order did not arrive.",
    "How do I change my address?",
    "Cancel my subscription.",
    "Is the blue one in stock?",
)
ANSWER_TOKENS = 48
"""As long as the trainer's own answers in a proof of parity."""
