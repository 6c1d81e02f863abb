"""Whole conversations in German and Japanese, as a person reads them.

The files beside this test are the conversations. After a deliberate change of wording, read them
anew and write what the test shows.
"""

from pathlib import Path

import pytest
from attune.spec.v1 import spec_pb2

from services.planner import narration
from services.planner.plan.notices import note
from services.planner.plan.policy import Question
from services.planner.spec.edit import diff
from tests.planner.narration.spoken_plan import (
    EPOCHS,
    RANK,
    RATE,
    TARGET,
    a_plan,
    advised_against,
    set_by_user,
)

FOLDER = Path(__file__).parent
MESSAGES = {
    "de": (
        "Unser Kundendienst bekommt Tickets; das Modell soll Team und Priorität nennen.",
        "85 Prozent",
        "Rang 64 bitte, und höchstens zwei Stunden.",
        "Warum diese Lernrate?",
        "Was würde eine Fachfrau ändern?",
        "Doch lieber zurück zum ersten Plan.",
        "Ja.",
        "Und wenn sich die Lieferzeiten jeden Tag ändern?",
    ),
    "ja": (
        "問い合わせを読んで、担当チームと優先度を答えるモデルが欲しいです。",
        "85%です。",
        "ランクを64にしてください。2時間以内でお願いします。",
        "この学習率にした理由は何ですか。",
        "専門家なら何を変えますか。",
        "やはり最初の計画に戻してください。",
        "はい。",
        "納期の情報が毎日変わる場合はどうですか。",
    ),
}


def conversation(language: str) -> str:
    """Return a talk from the first question to the last plan."""
    said = MESSAGES[language]
    first = a_plan()
    second = a_plan(revision=2)
    second.stages[0].hyperparameters.lora.rank = 64
    second.stages[0].hyperparameters.epoch_count = 2
    second.limits.deadline.FromSeconds(7200)
    second.compute.expected_duration.FromSeconds(6300)
    set_by_user(second, RANK, said[2])
    set_by_user(second, "limits.deadline", said[2])
    for choice in second.choices:
        if choice.field_path == EPOCHS:
            choice.source = spec_pb2.Choice.SOURCE_RULE
            choice.origin = "rule R4: your deadline of 2 hours"
            choice.reason = "More passes would not fit into it; the recipe says 3."
    third = a_plan(revision=3)
    scale = {"rank": 64, "alpha": 32, "before": "2", "after": "0.5"}
    fitted = {"hours": "2", "before": "3", "after": "2"}
    moved = [
        note("deadline_fitted", field_path=EPOCHS, **fitted),
        note("rank_alpha_scale", field_path=RANK, **scale),
    ]
    repeats = [note("duplicates", rows="174", share="12 %")]
    question = Question("success_metric", TARGET, ("0.7", "0.8", "0.9", "planner_decides"))
    replies = (
        narration.ask(question, repeats, language),
        narration.present(first, repeats, language),
        narration.refine(second, diff(first, second), moved, language),
        narration.explain(second, [RATE], language),
        narration.expert_review(second, moved, language),
        narration.restored(third, diff(second, third), language),
        narration.agree(third, language),
        narration.present(advised_against(), [note("volatile_knowledge")], language),
    )
    return (
        "\n\n".join(f"> {ask}\n\n{reply}" for ask, reply in zip(said, replies, strict=True)) + "\n"
    )


@pytest.mark.parametrize("language", sorted(MESSAGES))
def test_the_conversation_reads_as_it_was_edited(language):
    path = FOLDER / f"conversation_{language}.txt"
    assert conversation(language) == path.read_text(encoding="utf-8")
