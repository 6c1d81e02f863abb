import json

import pytest
from attune.spec.v1.spec_pb2 import Data
from attune.spec.v1.stage_pb2 import Technique

from services.trainer.data.rows import (
    Row,
    choose_examples,
    few_shot_prompt,
    most_frequent_answer,
    read_split,
    spread,
)
from services.trainer.run import RunFailed
from tests.trainer import tiny

SFT, DPO, RLVR = Technique.TECHNIQUE_SFT, Technique.TECHNIQUE_DPO, Technique.TECHNIQUE_RLVR


def given(artefacts, train: int = 20, holdout: int = 5) -> Data:
    return Data(
        dataset_sha256=tiny.put_rows(artefacts, tiny.rows(train)),
        holdout_sha256=tiny.put_rows(artefacts, tiny.rows(holdout)),
        split_method=Data.SPLIT_METHOD_GIVEN,
        validation_fraction=0.2,
        split_seed=1,
    )


def test_a_given_holdout_is_taken_whole_and_validation_comes_from_training(artefacts):
    split = read_split(artefacts, given(artefacts), SFT)
    assert [len(split.train), len(split.validation), len(split.holdout)] == [16, 4, 5]
    lines = [row.line for row in [*split.train, *split.validation]]
    assert sorted(lines) == list(range(1, 21))


def test_a_random_holdout_has_the_approved_size_and_shares_no_row(artefacts):
    data = given(artefacts)
    rows = [tiny.row(kind, value) for kind in ("colour", "animal") for value in "abcdefghij"]
    data.dataset_sha256 = tiny.put_rows(artefacts, rows)
    data.split_method = Data.SPLIT_METHOD_RANDOM
    data.holdout_row_count = 7
    split = read_split(artefacts, data, SFT)
    parts = [{row.line for row in part} for part in (split.train, split.validation, split.holdout)]
    assert len(parts[2]) == 7
    assert len(set.union(*parts)) == sum(map(len, parts)) == 20


def test_rows_that_ask_the_same_stay_on_one_side(artefacts):
    data = given(artefacts, train=60)
    data.split_method = Data.SPLIT_METHOD_RANDOM
    data.holdout_row_count = 12
    split = read_split(artefacts, data, SFT)
    parts = [{row.question for row in part} for part in (split.train, split.holdout)]
    assert split.apart
    assert not parts[0] & parts[1]
    assert 10 <= len(split.holdout) <= 12


def test_calls_without_words_are_a_reference(artefacts):
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    row = Row(1, [message("user", "one"), {"role": "assistant", "tool_calls": [call]}])
    assert json.loads(row.reference) == [{"name": "add", "arguments": {"a": 1}}]


def test_equal_seeds_split_equally_and_others_do_not(artefacts):
    data = given(artefacts)
    first = read_split(artefacts, data, SFT)
    assert read_split(artefacts, data, SFT) == first
    data.split_seed = 2
    assert read_split(artefacts, data, SFT) != first


def test_changed_bytes_are_refused(artefacts):
    data = given(artefacts)
    path = artefacts.dataset(data.dataset_sha256)
    path.write_bytes(path.read_bytes().replace(b"red", b"rot"))
    with pytest.raises(RunFailed) as caught:
        read_split(artefacts, data, SFT)
    assert caught.value.reason == "DATASET_CHANGED"


def test_missing_bytes_are_refused(artefacts):
    data = given(artefacts)
    data.holdout_sha256 = "0" * 64
    with pytest.raises(RunFailed) as caught:
        read_split(artefacts, data, SFT)
    assert caught.value.reason == "DATASET_MISSING"


@pytest.mark.parametrize(
    "bad",
    [
        {"messages": [{"role": "user", "content": "x"}]},
        {"messages": [{"role": "assistant"}]},
        {"text": ""},
        {"prompt": "x"},
        {"messages": 3},
        [],
    ],
)
def test_a_row_that_is_no_chat_is_named_by_its_line(artefacts, bad):
    data = given(artefacts)
    data.dataset_sha256 = tiny.put_rows(artefacts, [*tiny.rows(3), bad])
    with pytest.raises(RunFailed, match="Line 4") as caught:
        read_split(artefacts, data, SFT)
    assert caught.value.reason == "NOT_A_CHAT"


def test_pairs_and_prompts_are_rows_where_a_technique_learns_from_them(artefacts):
    pairs = [{"prompt": f"q{n}", "chosen": "y", "rejected": "z"} for n in range(6)]
    prompts = [{"prompt": f"q{n}", "answer": "3", "level": n} for n in range(6)]
    data = given(artefacts)
    data.dataset_sha256 = data.holdout_sha256 = tiny.put_rows(artefacts, pairs)
    row = read_split(artefacts, data, DPO).holdout[0]
    assert (row.reference, row.rejected[0]["content"]) == ("y", "z")
    assert read_split(artefacts, data, SFT).holdout[0].reference == "y"
    data.dataset_sha256 = data.holdout_sha256 = tiny.put_rows(artefacts, prompts)
    row = read_split(artefacts, data, RLVR).holdout[1]
    assert row.prompt == [{"role": "user", "content": "q1"}]
    assert row.sample("2").item == {**prompts[1], "reference": "3"}
    with pytest.raises(RunFailed, match="Line 1 is not a pair"):
        read_split(artefacts, data, DPO)
    chat = [{**row, "source": "web"} for row in tiny.rows(6)]
    data.dataset_sha256 = data.holdout_sha256 = tiny.put_rows(artefacts, chat)
    row = read_split(artefacts, data, SFT).holdout[0]
    assert row.reference == chat[0]["messages"][-1]["content"]


def test_one_row_is_too_few(artefacts):
    data = given(artefacts)
    data.dataset_sha256 = tiny.put_rows(artefacts, tiny.rows(1))
    with pytest.raises(RunFailed) as caught:
        read_split(artefacts, data, SFT)
    assert caught.value.reason == "TOO_FEW_ROWS"


def message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


CHAT = Row(
    1,
    [
        message("system", "s"),
        message("user", "u1"),
        message("assistant", "a1"),
        message("user", "u2"),
        message("assistant", "a2"),
    ],
)


def test_the_reference_is_the_last_answer_and_the_prompt_what_stands_before():
    assert CHAT.reference == "a2"
    assert CHAT.question == "u2"
    assert [one["content"] for one in CHAT.prompt] == ["s", "u1", "a1", "u2"]


def test_few_shot_examples_stand_between_the_system_message_and_the_question():
    row = Row(2, [message("system", "own"), message("user", "q"), message("assistant", "r")])
    contents = [one["content"] for one in few_shot_prompt(row, [CHAT])]
    assert contents == ["own", "u1", "a1", "u2", "a2", "q"]


def test_a_prompt_is_an_example_with_its_reference_as_the_answer():
    row = Row(2, [message("user", "q")], given_reference="r")
    example = Row(1, [message("user", "u")], given_reference="a")
    turns = [(one["role"], one["content"]) for one in few_shot_prompt(row, [example])]
    assert turns == [("user", "u"), ("assistant", "a"), ("user", "q")]
    assert choose_examples([Row(1, [message("user", "u")])], 1, 1) == []


def test_examples_are_chosen_by_seed_and_never_more_than_there_are():
    rows = [Row(number, [], given_reference="a") for number in range(30)]
    assert choose_examples(rows, 4, 1) == choose_examples(rows, 4, 1)
    assert choose_examples(rows, 4, 1) != choose_examples(rows, 4, 2)
    assert len(choose_examples(rows[:2], 4, 1)) == 2


def test_a_prompt_with_its_completion_is_a_chat(artefacts):
    data = given(artefacts)
    rows = [{"prompt": f"q{n}", "completion": f"a{n}", "system": "Be brief."} for n in range(4)]
    data.dataset_sha256 = tiny.put_rows(artefacts, [*rows, *tiny.rows(4)])
    split = read_split(artefacts, data, SFT)
    found = {row.line: row for row in [*split.train, *split.validation]}
    assert len(found) == 8
    assert (found[1].question, found[1].reference) == ("q0", "a0")
    assert [message["role"] for message in found[1].messages] == ["system", "user", "assistant"]


def test_repeated_rows_are_left_out_when_the_plan_says_so(artefacts):
    data = given(artefacts)
    rows = [tiny.row("colour", value) for value in "abcabcdefg"]
    data.dataset_sha256 = tiny.put_rows(artefacts, rows)
    whole = read_split(artefacts, data, SFT)
    data.drop_repeated_rows = True
    split = read_split(artefacts, data, SFT)
    assert len(whole.train) + len(whole.validation) == 10
    lines = sorted(row.line for row in [*split.train, *split.validation])
    assert lines == [1, 2, 3, 7, 8, 9, 10]


def test_the_most_frequent_answer_wins():
    rows = [Row(1, [message("assistant", text)]) for text in "abbcb"]
    assert most_frequent_answer(rows) == "b"


def test_spread_positions_are_even_and_distinct():
    assert spread([CHAT] * 10, 5) == [0, 2, 4, 6, 8]
    assert spread([CHAT] * 3, 5) == [0, 1, 2]


def test_blank_lines_are_passed_over_and_keep_the_numbers_right(artefacts):
    from hashlib import sha256

    text = "\n".join(["", json.dumps(tiny.row("colour", "red")), "", "{"]).encode()
    digest = sha256(text).hexdigest()
    path = artefacts.dataset(digest)
    path.parent.mkdir(parents=True)
    path.write_bytes(text)
    data = given(artefacts)
    data.dataset_sha256 = digest
    with pytest.raises(RunFailed, match="Line 4"):
        read_split(artefacts, data, SFT)
