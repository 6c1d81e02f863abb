"""Texts that speak to the model which reads the rows, and tokens of chat templates in them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from services.planner.dataset.findings import Finding, found
from services.planner.dataset.lexicon import injection_patterns
from services.planner.dataset.rows import RowView

_PATTERNS = tuple(
    (needs, re.compile(pattern, re.IGNORECASE)) for needs, pattern in injection_patterns()
)
_TOKEN = re.compile(
    r"<\|[a-z][a-z0-9_ ]{0,40}\|>|<\uff5c[^\uff5c\n]{1,40}\uff5c>|\[/?INST\]|<</?SYS>>"
    r"|\[(?:TOOL_CALLS|/?AVAILABLE_TOOLS|/?TOOL_RESULTS|/?SYSTEM_PROMPT)\]"
    r"|<(?:start|end)_of_turn>|</?s>|<(?:bos|eos|pad|unk|sep|cls|eot|eod)>"
    r"|<(?:/?\|)?(?:begin|end)_of_(?:text|sentence)(?:\|)?>|\[(?:gMASK|CLS|SEP|BOS|EOS)\]"
)
_MARKUP = re.compile(r"</?(?:p|div|b|i|u|em|strong|span|a|li|ul|br|td|tr|del|html|body)\b", re.I)
_STRUCK = re.compile(r"<s>[^<]*</s>")


def find(rows: Sequence[RowView]) -> list[Finding]:
    """Return a finding for each text that addresses the model, or that holds a template's token."""
    findings = []
    for row in rows:
        for field, text in row.texts:
            if addresses_model(text):
                message = "Speaks to the model that reads it rather than to a person."
                findings.append(found("prompt_injection_text", row.line, message, field))
            tokens = special_tokens(text)
            if tokens:
                message = f"Holds {', '.join(tokens[:3])}."
                findings.append(found("special_token_in_text", row.line, message, field))
    return findings


def addresses_model(text: str) -> bool:
    """Return whether a text tells the model that reads it what to do with itself or its data."""
    lowered = text.lower()
    return any(
        any(need in lowered for need in needs) and pattern.search(text) is not None
        for needs, pattern in _PATTERNS
    )


def special_tokens(text: str) -> list[str]:
    """Return the tokens of chat templates in a text, each once.

    `<s>` counts but where it strikes words out in a text with other tags of HTML.
    """
    if "<" not in text and "[" not in text:
        return []
    if _MARKUP.search(text):
        text = _STRUCK.sub("", text)
    return list(dict.fromkeys(_TOKEN.findall(text)))
