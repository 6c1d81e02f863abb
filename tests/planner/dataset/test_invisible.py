import pytest

from services.planner.dataset import invisible
from tests.planner.dataset.views import views

FLAG = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"


@pytest.mark.parametrize(
    "character",
    ["\u200b", "\u00ad", "\u202e", "\u2060", "\ufeff", "\u200e", "\u200d", "\U000e0041", "\ufe0f"],
)
def test_a_stray_character_is_found_and_named(character):
    (finding,) = invisible.find(views((f"word{character}word", "Fine.")))
    assert (finding.code, finding.field) == ("invisible_character", "messages[0].content")
    assert f"U+{ord(character):04X}" in finding.message


@pytest.mark.parametrize(
    "text",
    [
        "a\u2028b\u2029c\u0085d\u00a0e\u202ff\u3000g",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f3f3\ufe0f\u200d\U0001f308",
        "\u2764\ufe0f 1\ufe0f\u20e3 \u00a9\ufe0f \u2139\ufe0f",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "\u0915\u094d\u200d\u0937",
        "\u05e9\u05dc\u05d5\u05dd\u200f abc",
        "\u845b\U000e0100",
        FLAG,
        "plain",
    ],
)
def test_what_a_text_needs_is_left_alone(text):
    assert invisible.stray_characters(text) == []
