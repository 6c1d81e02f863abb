"""What random adapters are asked, and how long they answer."""

PROMPTS = (
    "My order did not arrive.",
    "How do I change my address?",
    "Cancel my subscription.",
    "Is the blue one in stock?",
)
ANSWER_TOKENS = 24
