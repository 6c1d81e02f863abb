"""What training learns of a row is what the preview shows of it, whatever the row's shape."""

import json
from pathlib import Path

import pytest

from services.trainer.attempt import MESSAGES, Attempt
from services.trainer.data.row_shape import shape_row
from services.trainer.phases.validate import validate
from services.trainer.recipes.training import IGNORED
from services.trainer.runtime.run_context import RunContext
from services.trainer.runtime.stopping import Signals
from tests.trainer import tiny

CALL = {"type": "function", "function": {"name": "paint", "arguments": '{"colour": "red"}'}}
TOOL = {"type": "function", "function": {"name": "paint", "parameters": {"type": "object"}}}
TOOL_TEMPLATE = (
    "{%- if tools -%}<s>system\nnumber of {{ tools | tojson }}</s>{%- endif -%}"
    "{%- for message in messages -%}<s>{{ message['role'] }}\n"
    "{%- if message['role'] == 'assistant' -%}{% generation %}{{ message['content'] }}"
    "{%- for call in message['tool_calls'] or [] -%}"
    "call {{ call['function']['name'] }} {{ call['function']['arguments'] | tojson }}"
    "{%- endfor -%}</s>{% endgeneration %}"
    "{%- else -%}{{ message['content'] }}</s>{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}<s>assistant\n{%- endif -%}"
)
ROWS = {
    "chat": tiny.row("colour", "red"),
    "two answers": {
        "messages": [
            {"role": "system", "content": "number"},
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "two", "weight": 0},
            {"role": "user", "content": "three"},
            {"role": "assistant", "content": "bird"},
        ]
    },
    "prompt and completion": {"prompt": "say the dog", "completion": "dog"},
    "tool call": {
        "messages": [
            {"role": "user", "content": "the colour please"},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "content": "red"},
            {"role": "assistant", "content": "red it is"},
        ],
        "tools": [TOOL],
    },
    "text": {"text": "one dog of three is a red cat"},
}


@pytest.fixture(scope="module")
def tool_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model whose template has room for tools."""
    folder = tmp_path_factory.mktemp("tools")
    tiny.save_model(folder)
    (folder / "chat_template.jinja").write_text(TOOL_TEMPLATE)
    return folder


def run_of(root: Path, artefacts, model: Path, content) -> RunContext:
    revision = tiny.put_model(artefacts, model)
    train = tiny.put_rows(artefacts, content)
    spec = tiny.a_spec(revision, train, tiny.put_rows(artefacts, content[::-1]), max_length=200)
    manifest = tiny.a_manifest(root, spec)
    attempt = Attempt.create(artefacts.attempt(manifest.run_id, 1), manifest)
    return RunContext(attempt, manifest, Signals(), lambda: None)


@pytest.mark.parametrize("name", ROWS)
def test_learnt_is_what_the_preview_marks(name, tmp_path, artefacts, tool_model):
    from services.trainer.data.render import render_rows

    context = run_of(tmp_path, artefacts, tool_model, [ROWS[name], tiny.row("animal", "cat")])
    (row,) = [one for one in [*context.split.train, *context.split.validation] if one.line == 1]
    example = context._example(row)
    (preview,) = render_rows(context.model_folder, [shape_row(ROWS[name])], 200)
    assert list(example.token_ids) == preview.token_ids
    learnt = [label != IGNORED for label in example.labels]
    assert learnt == preview.trainable
    text = "".join(
        piece for piece, one in zip(preview.token_texts, preview.trainable, strict=True) if one
    )
    assert (
        text
        == {
            "chat": "colour red</s>",
            "two answers": "bird</s>",
            "prompt and completion": "dog</s>",
            "tool call": 'call paint {"colour": "red"}</s>red it is</s>',
            "text": "one dog of three is a red cat</s>",
        }[name]
    )


def test_a_held_out_text_is_gone_on_with(tmp_path, artefacts, tool_model):
    content = [ROWS["text"], {"text": "two birds"}, {"text": "x"}]
    context = run_of(tmp_path, artefacts, tool_model, content)
    first = next(row for row in context.split.holdout if row.line == 3)
    assert (first.opening, first.reference) == ("one dog of", "three is a red cat")
    assert context.renderer.text(context.prompt_ids(first)) == "one dog of"
    assert first.sample("a").item["reference"] == "three is a red cat"
    assert json.dumps(ROWS["text"]) == json.dumps(first.item)
    single = next(row for row in context.split.holdout if row.line == 1)
    assert (single.opening, single.reference) == ("x", "")


@pytest.mark.parametrize("answers_alone", [True, False])
def test_a_plan_that_learns_prompts_says_that_previews_mark_less(
    answers_alone, tmp_path, artefacts, saved_model
):
    content = [tiny.row("animal", "cat"), tiny.row("colour", "red"), tiny.row("number", "two")]
    context = run_of(tmp_path, artefacts, saved_model, content)
    context.stage.hyperparameters.assistant_only_loss = answers_alone
    validate(context)
    said = " ".join(line["text"] for line in context.attempt.lines(MESSAGES, 0)[0])
    assert ("Previews mark the answers alone" in said) is not answers_alone
