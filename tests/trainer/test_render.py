from pathlib import Path

import pytest

from services.common.errors import FailedPrecondition, InvalidArgument
from services.trainer import render
from services.trainer.render import Renderer
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


def test_tokens_and_masks_equal_those_of_trls_own_trainer(saved_model, renderer, tmp_path):
    import datasets
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    # The longest chat is cut by one token.
    longest = max(len(renderer.row(chat).token_ids) for chat in CHATS) - 1
    chats = [one["messages"] for one in tiny.rows(6)] + CHATS
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(saved_model),
        args=SFTConfig(
            output_dir=str(tmp_path),
            assistant_only_loss=True,
            max_length=longest,
            bf16=False,
            use_cpu=True,
            report_to="none",
        ),
        train_dataset=datasets.Dataset.from_dict({"messages": chats}),
        processing_class=AutoTokenizer.from_pretrained(saved_model),
    )
    theirs = trainer.train_dataset
    assert len(theirs) == len(chats)
    for chat, expected in zip(chats, theirs, strict=True):
        rendered = renderer.row(chat)
        token_ids, mask = rendered.token_ids[:longest], rendered.assistant_mask[:longest]
        labels = [token if own else -100 for token, own in zip(token_ids, mask, strict=True)]
        assert expected["input_ids"] == token_ids
        assert expected["labels"] == labels


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
    (violation,) = render.count_tokens(tmp_path, [(CHATS[0], None), (CHATS[1], None)])
    assert violation.field == "rows.1"


def test_counts_are_those_of_the_rendered_rows(saved_model, renderer):
    counts = render.count_tokens(saved_model, [(chat, None) for chat in CHATS])
    rendered = [renderer.row(chat) for chat in CHATS]
    assert counts == [(len(one.token_ids), one.trainable_count) for one in rendered]
