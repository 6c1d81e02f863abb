import json
import math
from dataclasses import replace

import pytest

from services.serving.registry.parity import (
    LINES_MAX,
    Answer,
    BadParityFile,
    compare,
    read_lines,
)
from tests.serving.parts import a_line

TRAINER = Answer((3, 9, 1, 4), (7, 8, 1), "good day", (-0.1, -0.2, -0.3))


@pytest.mark.parametrize(
    ("change", "tokens", "texts", "difference", "holds"),
    [
        ({}, 0, 0, 0.0, True),
        ({"logprobs": (-0.1, -0.2, -0.305)}, 0, 0, 0.005, True),
        ({"logprobs": (-0.1, -0.2, -0.35)}, 0, 0, 0.05, False),
        ({"logprobs": (-0.1, -0.2, math.nan)}, 0, 0, math.inf, False),
        ({"logprobs": (-0.1, -0.2)}, 0, 0, math.inf, False),
        ({"prompt_token_ids": (3, 9, 9, 1, 4)}, 1, 0, 0.0, False),
        ({"text": "good night"}, 0, 1, 0.0, False),
        # Token ids decide even where the text is the same.
        ({"answer_token_ids": (7, 9, 1)}, 0, 1, 0.0, False),
        # Only what was chosen in the same context is compared.
        ({"answer_token_ids": (9, 8, 1), "logprobs": (-9, -9, -9)}, 0, 1, 0.0, False),
        ({"answer_token_ids": (7, 8), "logprobs": (-0.1, -0.2)}, 0, 1, 0.0, False),
    ],
)
def test_one_prompt(change, tokens, texts, difference, holds):
    report = compare([(TRAINER, replace(TRAINER, **change))], tolerance=0.01)
    assert (report.prompt_count, report.token_mismatch_count) == (1, tokens)
    assert report.text_mismatch_count == texts
    assert report.max_logprob_difference == pytest.approx(difference)
    assert report.holds is holds
    assert ("holds" in report.describe()) is holds


def test_a_character_cut_off_at_the_end_is_no_other_answer():
    cut = replace(TRAINER, text="good day\ufffd\ufffd")
    assert compare([(cut, TRAINER)], 0.01).holds
    assert not compare([(replace(TRAINER, text="good \ufffdday"), TRAINER)], 0.01).holds


def test_one_bad_prompt_among_many_is_counted_and_named():
    pairs = [(TRAINER, TRAINER)] * 3 + [(TRAINER, replace(TRAINER, text="no"))]
    report = compare(pairs, 0.01)
    assert (report.prompt_count, report.text_mismatch_count, report.holds) == (4, 1, False)
    assert "1 have another greedy answer" in report.describe()


def test_nothing_compared_proves_nothing():
    assert not compare([], 0.01).holds


def test_lines_are_read():
    (line,) = read_lines(json.dumps(a_line()) + "\n\n")
    assert line.messages == ({"role": "user", "content": "hello"},)
    assert line.expected == TRAINER


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not json",
        "[]",
        json.dumps({**a_line(), "logprobs": [-0.1]}),
        json.dumps({**a_line(), "answer_token_ids": []}),
        json.dumps({**a_line(), "prompt_token_ids": "3 9"}),
        json.dumps({**a_line(), "messages": []}),
        json.dumps({**a_line(), "answer": None}),
        json.dumps({key: value for key, value in a_line().items() if key != "answer"}),
        "\n".join([json.dumps(a_line())] * (LINES_MAX + 1)),
    ],
)
def test_a_file_that_proves_nothing_is_refused(text):
    with pytest.raises(BadParityFile):
        read_lines(text)
