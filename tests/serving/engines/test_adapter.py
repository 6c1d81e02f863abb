import pytest

from services.serving.engines.adapter import objection_to

GOOD = {"peft_type": "LORA", "r": 16, "modules_to_save": None, "use_dora": False, "bias": "none"}


def test_a_plain_lora_of_rank_16_is_held():
    assert objection_to(GOOD) == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"peft_type": "IA3"}, "peft_type is 'IA3'"),
        ({"r": 32}, "rank is 32"),
        ({"r": 0}, "rank is 0"),
        ({"r": None}, "rank is None"),
        ({"rank_pattern": {"q_proj": 64}}, "rank is 64"),
        ({"use_dora": True}, "DoRA"),
        ({"modules_to_save": ["lm_head"]}, "lm_head"),
        ({"bias": "all"}, "biases"),
    ],
)
def test_what_the_engine_cannot_hold_is_named(change, said):
    assert said in objection_to({**GOOD, **change})
