"""The card of a version: the Hub's header, and what a reader must know."""

import json
import re

import pytest

from services.trainer.evaluation.page_markdown import plain
from services.trainer.phases.model_card import card
from tests.trainer.evaluation.reports import a_lineage, a_plan, a_report


def header(text: str) -> dict[str, object]:
    """Return the header; each of its lines is a name and JSON, which YAML reads alike."""
    found = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    pairs = (line.split(": ", 1) for line in found[1].splitlines())
    return {name: json.loads(value) for name, value in pairs}


def test_the_header_is_what_the_hub_reads():
    assert header(card(a_plan(), a_report(), a_lineage())) == {
        "base_model": "org/small",
        "base_model_relation": "adapter",
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "license": "apache-2.0",
        "language": ["en", "de"],
        "tags": ["attune", "sft", "lora"],
        "metrics": ["exact", "tone"],
    }


def test_full_weights_are_no_adapter():
    found = header(card(a_plan(), a_report(), a_lineage(method="FULL")))
    assert (found["base_model_relation"], found["library_name"]) == ("finetune", "transformers")


@pytest.mark.parametrize(
    ("licence", "fields"),
    [
        ("Our own licence", {"license": "other", "license_name": "Our own licence"}),
        ("", {"license": "other"}),
    ],
)
def test_a_licence_that_the_hub_does_not_know_keeps_its_name(licence, fields):
    plan = a_plan()
    plan.base_model.licence = licence
    found = header(card(plan, a_report(), a_lineage()))
    assert {name: found[name] for name in found if name.startswith("license")} == fields


def test_the_card_says_use_data_results_and_limits():
    text = card(a_plan(), a_report(), a_lineage()).replace("\\", "")
    for words in (
        "Tell what a customer asks about a card.", "Users: The support desk", "Advice on loans",
        "800 rows were taught", "d" * 64, "150 held-out rows", "| tuned, exact | 0.830 | 0.770 to",
        "| tuned less base | +0.520 | +0.430 to +0.610 |", "Of 40 general questions",
        "licence of the base model: Apache-2.0", "training 5, split 3, evaluation 0",
    ):  # fmt: skip
        assert words in text, words


def test_what_a_person_wrote_does_not_become_part_of_the_card_s_form():
    plan = a_plan()
    plan.display_name = 'x"\nlicense: mit\n# big'
    plan.objective.problem = "# not a heading\n---\n| <b>bold</b>"
    text = card(plan, a_report(), a_lineage())
    assert header(text)["license"] == "apache-2.0"
    assert [line for line in text.splitlines() if line.startswith("# ")] == [
        f"# {plain(plan.display_name)}"
    ]
    assert "<b>" not in re.sub(r"\\<", "", text)
