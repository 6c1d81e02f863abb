import json
import shutil
from pathlib import Path

import pytest

from services.common.errors import FailedPrecondition, InvalidArgument
from services.trainer.data import render
from services.trainer.data.render import Renderer
from services.trainer.data.row_shape import Preview, ShapedRow, shape_row
from tests.trainer import tiny

CHATS = [
    [{"role": "user", "content": "say one"}, {"role": "assistant", "content": "one"}],
    [
        {"role": "system", "content": "Say it again."},
        {"role": "user", "content": "red cat"},
        {"role": "assistant", "content": "red cat"},
        {"role": "user", "content": "ünïcode \U0001f600"},
        {"role": "assistant", "content": ""},
    ],
]


@pytest.fixture(scope="module")
def renderer(saved_model: Path) -> Renderer:
    return Renderer(saved_model)


TOOL_TEMPLATE = (
    "{%- if tools -%}<s>tools\n{{ tools | tojson }}</s>{%- endif -%}"
    "{%- for message in messages -%}<s>{{ message['role'] }}\n"
    "{%- if message['role'] == 'assistant' -%}{% generation %}{{ message['content'] }}"
    "{%- for call in message['tool_calls'] or [] -%}"
    "{{ call['function']['name'] }} {{ call['function']['arguments'] | tojson }}"
    "{%- endfor -%}</s>{% endgeneration %}"
    "{%- else -%}{{ message['content'] }}</s>{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}<s>assistant\n{%- endif -%}"
)


def sft(saved_model: Path, folder: Path, rows: dict[str, list], **settings):
    """Return the rows as TRL's own SFTTrainer prepares them, those left out that train nothing."""
    import datasets
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(saved_model),
        args=SFTConfig(
            output_dir=str(folder), bf16=False, use_cpu=True, report_to="none", **settings
        ),
        train_dataset=datasets.Dataset.from_dict(rows),
        processing_class=AutoTokenizer.from_pretrained(saved_model),
    )
    return list(trainer.train_dataset)


def labels(preview: Preview) -> list[int]:
    pairs = zip(preview.token_ids, preview.trainable, strict=True)
    return [token_id if learnt else -100 for token_id, learnt in pairs]


def test_previews_of_chats_equal_what_trls_own_trainer_learns(saved_model, tmp_path):
    too_long = [{"role": "user", "content": "red " * 80}, {"role": "assistant", "content": "red"}]
    chats = [one["messages"] for one in tiny.rows(6)] + CHATS + [too_long]
    # The longest of the others is cut by one token.
    longest = max(len(Renderer(saved_model).row(chat).token_ids) for chat in chats[:-1]) - 1
    theirs = sft(
        saved_model,
        tmp_path,
        {"messages": chats},
        assistant_only_loss=True,
        max_length=longest,
    )
    ours = render.render_rows(saved_model, [ShapedRow(chat) for chat in chats], longest)
    assert [one.trains_nothing for one in ours] == [False] * 8 + [True]
    assert [one.cut_count > 0 for one in ours] == [False] * 7 + [True, True]
    assert [one["input_ids"] for one in theirs] == [one.token_ids for one in ours[:-1]]
    assert [one["labels"] for one in theirs] == [labels(one) for one in ours[:-1]]
    assert all("".join(one.token_texts) == one.text for one in ours[:7])


def test_previews_of_tool_calls_equal_what_trls_own_trainer_learns(saved_model, tmp_path):
    from transformers import AutoTokenizer

    shutil.copytree(saved_model, tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(saved_model)
    tokenizer.chat_template = TOOL_TEMPLATE
    tokenizer.save_pretrained(tmp_path / "model")
    parameters = {"type": "object", "properties": {"a": {"type": "string"}}}
    tools = [{"type": "function", "function": {"name": "say", "parameters": parameters}}]

    def chat(arguments: object, content: object) -> list[dict[str, object]]:
        call = {"id": "c1", "type": "function", "function": {"name": "say"}}
        call["function"]["arguments"] = arguments
        return [
            {"role": "user", "content": "say red", "tool_calls": None},
            {"role": "assistant", "content": content, "tool_calls": [call]},
            {"role": "tool", "content": "red", "tool_calls": None},
            {"role": "assistant", "content": "red", "tool_calls": None},
        ]

    # TRL takes arguments as objects, files hold them as JSON text: both are one row.
    theirs = sft(
        tmp_path / "model",
        tmp_path / "out",
        {"messages": [chat({"a": "red"}, "")], "tools": [json.dumps(tools)]},
        assistant_only_loss=True,
        max_length=256,
    )
    row = shape_row({"messages": chat('{"a": "red"}', None), "tools": tools})
    (ours,) = render.render_rows(tmp_path / "model", [row], 256)
    assert [theirs[0]["input_ids"], theirs[0]["labels"]] == [ours.token_ids, labels(ours)]
    assert 'say {"a": "red"}</s>' in ours.text


def test_previews_of_texts_equal_what_trls_own_trainer_learns(saved_model, tmp_path):
    texts = ["red cat", "one two three</s>", "blue " * 30]
    theirs = sft(saved_model, tmp_path, {"text": texts}, max_length=20)
    ours = render.render_rows(saved_model, [ShapedRow(text=text) for text in texts], 20)
    assert [one["input_ids"] for one in theirs] == [one.token_ids for one in ours]
    assert [one["labels"] for one in theirs] == [labels(one) for one in ours]


def test_pairs_are_what_trls_own_trainer_compares(saved_model, tmp_path):
    import datasets
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    rows = [
        shape_row({"prompt": f"say {word}", "chosen": word, "rejected": f"no {word}"})
        for word in ("red", "blue cat", "\u00fcn")
    ]
    trainer = DPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(saved_model),
        args=DPOConfig(output_dir=str(tmp_path), bf16=False, use_cpu=True, report_to="none"),
        train_dataset=datasets.Dataset.from_dict(
            {
                "prompt": [row.messages for row in rows],
                "chosen": [row.chosen for row in rows],
                "rejected": [row.rejected for row in rows],
            }
        ),
        processing_class=AutoTokenizer.from_pretrained(saved_model),
    )
    own = Renderer(saved_model)
    for row, theirs in zip(rows, trainer.train_dataset, strict=True):
        prompt, chosen, rejected = own.pair(row)
        assert (theirs["prompt_ids"], theirs["chosen_ids"]) == (prompt, chosen)
        assert theirs["rejected_ids"] == rejected
        counts = own.counts(row)
        assert (counts.prompt, counts.answer) == (len(prompt), len(chosen))
        assert (counts.rejected, counts.total) == (len(rejected), len(prompt) + len(chosen))
        assert own.shaped(row).trainable_count == len(chosen)


def test_prompts_that_wait_for_answers_learn_nothing_of_their_own(saved_model, renderer):
    row = shape_row({"messages": CHATS[0][:1], "reference_answer": "one two"})
    counts = renderer.counts(row)
    assert counts.total == counts.prompt == len(renderer.prompt(CHATS[0][:1]))
    assert (counts.trainable, counts.rejected) == (0, 0)
    assert counts.answer == len(renderer.tokenizer("one two")["input_ids"])
    (whole,) = render.render_rows(saved_model, [row], 64)
    assert not any(whole.trainable)
    assert not whole.trains_nothing
    (cut,) = render.render_rows(saved_model, [row], counts.total - 1)
    assert cut.trains_nothing


def test_answers_of_weight_0_are_not_learnt(renderer):
    chat = [*CHATS[0], {"role": "user", "content": "say two"}]
    chat.append({"role": "assistant", "content": "two"})
    both = renderer.row(chat)
    chat[1] = {**chat[1], "weight": 0}
    rendered = renderer.row(chat)
    assert rendered.token_ids == both.token_ids
    learnt = [
        token for token, own in zip(rendered.token_ids, rendered.assistant_mask, strict=True) if own
    ]
    assert renderer.tokenizer.decode(learnt) == "two</s>"


def test_a_prompt_is_the_beginning_of_the_whole_row(renderer):
    for chat in CHATS:
        prompt = renderer.prompt(chat[:-1])
        assert renderer.row(chat).token_ids[: len(prompt)] == prompt


def test_the_mask_covers_the_answer_and_its_end(renderer):
    rendered = renderer.row(CHATS[0])
    learnt = [
        token for token, own in zip(rendered.token_ids, rendered.assistant_mask, strict=True) if own
    ]
    assert renderer.tokenizer.decode(learnt) == "one</s>"
    assert rendered.trainable_count == len(learnt)
    assert renderer.text(learnt) == "one"


def test_a_template_without_marks_and_without_a_known_twin_is_refused(saved_model, tmp_path):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(saved_model)
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(FailedPrecondition) as caught:
        Renderer(tmp_path)
    assert caught.value.reason == "TEMPLATE_NOT_MASKABLE"


def test_a_tokenizer_without_a_template_is_refused(saved_model, tmp_path):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(saved_model)
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(FailedPrecondition) as caught:
        Renderer(tmp_path)
    assert caught.value.reason == "NO_CHAT_TEMPLATE"


def test_a_row_that_the_template_refuses_is_refused_with_its_words(saved_model, tmp_path):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(saved_model)
    refusal = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    )
    tokenizer.chat_template = refusal + tiny.TEMPLATE
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(InvalidArgument, match="no system") as caught:
        Renderer(tmp_path).row(CHATS[1])
    assert caught.value.reason == "TEMPLATE_REFUSED"
    (violation,) = render.count_tokens(tmp_path, [ShapedRow(chat) for chat in CHATS])
    assert violation.field == "rows.1"


def test_counts_are_those_of_the_rendered_rows(saved_model, renderer):
    counts = render.count_tokens(saved_model, [ShapedRow(chat) for chat in CHATS])
    for chat, count in zip(CHATS, counts, strict=True):
        rendered = renderer.row(chat)
        assert (count.total, count.trainable) == (
            len(rendered.token_ids),
            rendered.trainable_count,
        )
        assert count.prompt == len(renderer.prompt(chat[:-1]))
        assert count.prompt + count.answer == count.total
