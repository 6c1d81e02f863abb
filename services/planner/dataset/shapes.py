"""The shapes that rows come in, by their keys, and which of them a file has.

A form is one spelling of a shape: OpenAI's preferences and Hugging Face's are two forms of one.
Sources: OpenAI's fine-tuning guide (messages; input, preferred_output, non_preferred_output;
messages with reference fields), TRL's dataset formats (prompt, completion; prompt, chosen,
rejected; text), verl's data preparation (prompt, reward_model.ground_truth).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

CHAT = "chat"
PAIR = "prompt_completion"
PREFERENCE = "preference"
RATINGS = "ratings"
REFERENCE = "prompts_with_reference"
PROMPTS = "prompts_only"
TOOL_CALLS = "tool_calls"
TEXT = "text"
MIXED = "mixed"
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Form:
    """One spelling of a shape; an empty key says that the shape has no such part."""

    shape: str
    """What the rows are."""
    prompt: str = ""
    """Key of what is asked."""
    answer: str = ""
    """Key of the answer, of the preferred one in pairs."""
    rejected: str = ""
    """Key of the rejected answer."""
    reference: str = ""
    """Key of what an answer is graded with, or of the rating."""
    context: str = ""
    """Key of text that belongs to the prompt and may be absent."""
    is_plain: bool = True
    """Whether a row of this form is known beside rows of others; else only as its file's own."""

    @property
    def keys(self) -> frozenset[str]:
        """The keys that a row needs."""
        parts = (self.prompt, self.answer, self.rejected, self.reference)
        return frozenset(part for part in parts if part)


CHAT_FORM = Form(CHAT, prompt="messages")
MESSAGES_ONLY = Form(PROMPTS, prompt="messages")
OPENAI_PREFERENCE = Form(PREFERENCE, "input", "preferred_output", "non_preferred_output")
HF_PREFERENCE = Form(PREFERENCE, "prompt", "chosen", "rejected")
VERL = Form(REFERENCE, "prompt", reference="reward_model")
PAIR_FORM = Form(PAIR, "prompt", "completion")
TEXT_FORM = Form(TEXT, answer="text")
PAIRS = (
    PAIR_FORM,
    Form(PAIR, "prompt", "response", is_plain=False),
    Form(PAIR, "prompt", "output", is_plain=False),
    Form(PAIR, "prompt", "answer", is_plain=False),
    Form(PAIR, "instruction", "output", context="input", is_plain=False),
    Form(PAIR, "instruction", "response", context="context", is_plain=False),
    Form(PAIR, "input", "output", is_plain=False),
    Form(PAIR, "question", "answer", is_plain=False),
    Form(PAIR, "query", "response", is_plain=False),
)
RATING_KEYS = ("rating", "thumb", "thumbs", "score", "feedback", "liked", "label")
REFERENCE_KEYS = (
    "reference_answer",
    "ground_truth",
    "reference",
    "expected_answer",
    "expected_call",
    "solution",
    "answer",
    "target",
    "label",
)
"""Names of references, likeliest first."""
FORMS: tuple[Form, ...] = (
    OPENAI_PREFERENCE,
    HF_PREFERENCE,
    VERL,
    *(
        Form(RATINGS, pair.prompt, pair.answer, reference=rating, is_plain=False)
        for pair in PAIRS
        for rating in RATING_KEYS
    ),
    *PAIRS,
    *(
        Form(REFERENCE, prompt, reference=reference, is_plain=False)
        for prompt in ("prompt", "question")
        for reference in REFERENCE_KEYS
    ),
    TEXT_FORM,
    *(Form(PROMPTS, prompt, is_plain=False) for prompt in ("prompt", "question", "instruction")),
)
"""Most keys first, so that the first that fits says the most; rows with messages aside."""
CHAT_KEYS = frozenset({"messages", "tools", "parallel_tool_calls", "metadata"})
"""Keys of a chat; `metadata` says where a row is from, and training ignores it."""
BESIDE_KEYS = frozenset({"system", "tools", "parallel_tool_calls", "metadata"})
"""Keys that a row with a prompt may have too."""
NO_REFERENCE_KEYS = CHAT_KEYS | {"id", "data_source", "ability", "extra_info", "name"}
MESSAGE_COLUMNS = frozenset({"prompt", "completion", "chosen", "rejected", "input"})
"""Columns of tables whose cells are text, or messages as JSON."""
JSON_COLUMNS = frozenset(
    {
        "messages",
        "tools",
        "preferred_output",
        "non_preferred_output",
        "reward_model",
        "extra_info",
        "parallel_tool_calls",
    }
)
"""Columns of tables whose cells are JSON."""
COLUMNS = (
    frozenset(key for form in FORMS for key in (*form.keys, form.context) if key)
    | JSON_COLUMNS
    | BESIDE_KEYS
    | {"data_source", "ability"}
)
"""Every column that some shape uses."""


def form_of(body: Mapping[str, Any]) -> Form | None:
    """Return the form of a row that has all its keys, or None; a chat for any with messages."""
    if "messages" in body:
        return CHAT_FORM
    keys = body.keys()
    return next((form for form in FORMS if form.keys <= keys), None)


def choose_form(bodies: Iterable[Any]) -> Form | None:
    """Return the form of a file: that of its first row, completed by what most rows have.

    Args:
        bodies: The first rows, bad ones included.
    """
    objects = [body for body in bodies if isinstance(body, dict)]
    forms = [form for body in objects if (form := form_of(body)) is not None]
    if not forms:
        return None
    first = forms[0]
    if first is CHAT_FORM:
        return _choose_messages([body for body in objects if "messages" in body])
    fuller = Counter(form for form in forms if form.keys >= first.keys)
    return fuller.most_common(1)[0][0]


def fits(form: Form, body: Mapping[str, Any]) -> bool:
    """Tell whether a row is one of the form, perhaps with parts missing."""
    if form.prompt == "messages":
        return "messages" in body
    own = form_of(body)
    if own is None:
        return not form.keys.isdisjoint(body.keys())
    return own.keys <= form.keys or (not own.is_plain and form.keys <= body.keys())


def _choose_messages(bodies: Sequence[Mapping[str, Any]]) -> Form:
    """Tell chats to learn from prompts, which end with the user; most rows decide."""
    ends = [_last_role(body["messages"]) for body in bodies]
    asked = sum(end == "user" for end in ends)
    if asked * 2 <= sum(end != "" for end in ends):
        return CHAT_FORM
    extra = Counter(key for body in bodies for key in body if key not in NO_REFERENCE_KEYS)
    common = [key for key, count in extra.items() if count * 2 > len(bodies)]
    if not common:
        return MESSAGES_ONLY
    known = [key for key in REFERENCE_KEYS if key in common]
    return Form(REFERENCE, "messages", reference=(known or common)[0])


def _last_role(messages: Any) -> str:
    last = messages[-1] if isinstance(messages, list) and messages else None
    role = last.get("role") if isinstance(last, dict) else None
    return role if isinstance(role, str) else ""
