import json

import pytest
from attune.trainer.v1 import render_pb2

from services.planner.dataset import preview
from tests.planner.dataset.views import view, views


def test_up_to_three_rows_are_shown_from_all_over_the_file():
    rows = views(*((f"q{number}", f"a{number}") for number in range(9)))
    shown = [json.loads(row) for row in preview.sample_rows(rows)]
    assert [row["prompt"] for row in shown] == ["q0", "q4", "q8"]
    assert preview.sample_rows([]) == []
    assert len(preview.sample_rows(rows[:1] * 5)) == 1


def test_secrets_and_personal_data_are_masked_and_long_texts_cut():
    (text,) = preview.sample_rows([view(1, "x" * 3000, "a@example.com", system="S")])
    row = json.loads(text)
    assert row == {"system": "S", "prompt": "x" * 2000 + "\u2026", "answer": "[e-mail address]"}


def test_the_trainers_answer_gets_its_lines():
    rendered = render_pb2.RenderRowsResponse(
        rows=[
            render_pb2.RenderedRow(
                text="ab",
                token_ids=[1, 2],
                token_texts=["a", "b"],
                trainable=[False, True],
                cut_token_count=3,
                trains_nothing=True,
            )
        ]
    )
    (row,) = preview.response([7], rendered, "m/x").rows
    assert (row.line, row.text, list(row.token_ids), list(row.token_texts)) == (
        7,
        "ab",
        [1, 2],
        ["a", "b"],
    )
    assert (list(row.trainable), row.cut_token_count) == ([False, True], 3)
    assert row.trains_nothing
    with pytest.raises(ValueError, match="zip"):
        preview.response([7, 8], rendered, "m/x")
