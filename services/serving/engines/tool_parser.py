"""How a model writes calls of tools, told from its chat template."""

from __future__ import annotations

import json
from pathlib import Path

MARKS = (
    ("<function=", "qwen3_coder"),
    ("<tool_call>", "hermes"),
    ("[TOOL_CALLS]", "mistral"),
    ('{"name": function name, "parameters"', "llama3_json"),
    ("<|start_of_role|>", "granite"),
    ("<|tool_call|>", "phi4_mini_json"),
    ("<|channel|>commentary", "openai"),
)
"""Texts of chat templates, each with the name of vLLM's parser for what its models write; the first
that occurs decides."""
TEMPLATE = "chat_template.jinja"
TEMPLATE_JSONS = ("chat_template.json", "tokenizer_config.json")
"""Files that hold the template under the key `chat_template` where it has none of its own."""


def find_tool_parser(folder: Path) -> str:
    """Return the name of vLLM's parser of a model's calls; empty if it is not told about tools.

    Args:
        folder: Of the model.
    """
    template = _template(folder)
    if "tools" not in template:
        return ""
    return next((parser for mark, parser in MARKS if mark in template), "")


def _template(folder: Path) -> str:
    """Return a model's chat templates as one text; empty if there is none."""
    path = folder / TEMPLATE
    if path.exists():
        return path.read_text()
    for name in TEMPLATE_JSONS:
        path = folder / name
        held = json.loads(path.read_text()).get("chat_template") if path.exists() else None
        if held:
            return held if isinstance(held, str) else json.dumps(held, ensure_ascii=False)
    return ""
