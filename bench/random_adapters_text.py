"""What random adapters are asked, and how long they answer."""

from __future__ import annotations

from services.serving.engines.greedy import NEW_TOKENS_MAX

PROMPTS = (
    "My order did not arrive.",
    "How do I change my address?",
    "Cancel my subscription.",
    "Is the blue one in stock?",
)
ANSWER_TOKENS = NEW_TOKENS_MAX
"""A proof of parity lets the engine say as much."""
