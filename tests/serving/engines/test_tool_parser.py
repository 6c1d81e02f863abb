import json

import pytest

from services.serving.engines.tool_parser import find_tool_parser

HERMES = "{% if tools %}<tools>{{ tools }}</tools> Answer in <tool_call></tool_call>{% endif %}"
LLAMA = '{% if tools %}Respond in {"name": function name, "parameters": dictionary}{% endif %}'


@pytest.mark.parametrize(
    ("name", "content", "parser"),
    [
        ("chat_template.jinja", HERMES, "hermes"),
        ("chat_template.jinja", "{{ tools }} <tool_call>\n<function=x>", "qwen3_coder"),
        ("tokenizer_config.json", json.dumps({"chat_template": LLAMA}), "llama3_json"),
        ("chat_template.json", json.dumps({"chat_template": "{{ tools }}[TOOL_CALLS]"}), "mistral"),
        ("chat_template.jinja", "{{ messages }} <tool_call>", ""),
        ("chat_template.jinja", "{{ tools }}", ""),
        ("tokenizer_config.json", "{}", ""),
        ("config.json", "{}", ""),
    ],
)
def test_how_a_model_calls_tools_is_told_by_its_template(tmp_path, name, content, parser):
    (tmp_path / name).write_text(content)
    assert find_tool_parser(tmp_path) == parser


def test_a_template_of_its_own_counts_before_the_tokenizers(tmp_path):
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": HERMES}))
    assert find_tool_parser(tmp_path) == ""


def test_one_of_several_templates_may_be_the_one_for_tools(tmp_path):
    templates = [{"name": "default", "template": "x"}, {"name": "tool_use", "template": HERMES}]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": templates}))
    assert find_tool_parser(tmp_path) == "hermes"
