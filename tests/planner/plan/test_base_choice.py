"""The choice of the base model: named ones are kept, others follow from what is needed."""

from dataclasses import replace

import pytest

from services.planner.brief import Brief
from services.planner.plan.base_choice import choose_base, size_text, step
from services.planner.plan.base_named import find_named, named_size
from services.planner.plan.base_needs import needs_of
from services.planner.plan.catalogue import CatalogueModel, CommercialUse, load_catalogue, narrow
from services.planner.plan.choice import OPERATOR, RULE, USER
from services.planner.vocabulary import Shape, Signal, Task
from tests.planner.plans import a_brief, facts, plan, sources

CATALOGUE = load_catalogue()
BY_ID = {model.id: model for model in CATALOGUE}
STARTER = replace(BY_ID["attune/starter"], revision="ab" * 32)
MODELS = narrow(CATALOGUE, [STARTER], ())


def choice(task="", models=MODELS, narrowed=False, longest=600, **brief):
    brief["signals"] = frozenset(brief.get("signals", ()))
    return choose_base(Brief(**brief), task, models, narrowed=narrowed, longest_row_tokens=longest)


def codes(found):
    return [note.code for note in found.notes]


@pytest.mark.parametrize("task", Task)
def test_every_task_gets_an_instruction_tuned_model_with_a_reason_and_two_alternatives(task):
    found = choice(task)
    assert found.model.instruction_tuned
    assert found.model.is_permissive
    assert (found.source, found.notes) == (RULE, ())
    assert found.origin.startswith("rule B")
    assert f"{size_text(found.model.parameter_count)} parameters" in found.reason
    (smaller, why_smaller), (larger, why_larger) = found.alternatives
    assert BY_ID[smaller].billions < found.model.billions < BY_ID[larger].billions
    for why in (why_smaller, why_larger):
        assert "GB of weights in bfloat16 instead of" in why
        assert "times the compute per token" in why
        assert why.endswith(".")


@pytest.mark.parametrize(
    ("task", "low", "high"),
    [
        (Task.CLASSIFICATION, 0.4, 1),
        (Task.EXTRACTION, 0.9, 2.2),
        (Task.SUMMARIZATION, 3.5, 9),
        (Task.DIALOGUE, 3.5, 9),
        (Task.CODE, 6, 15),
        (Task.MATH_REASONING, 6, 15),
    ],
)
def test_the_smallest_within_reach_of_the_task_is_taken(task, low, high):
    assert low <= choice(task).model.billions <= high


def test_the_task_s_strength_comes_first():
    assert choice(Task.CODE).model.strengths[0] == "code"
    assert "math" in choice(Task.MATH_REASONING).model.strengths
    assert "tool_calling" in choice(Task.TOOL_CALLING).model.strengths


@pytest.mark.parametrize("bound", [0.5, 1, 3, 4, 5, 7, 9, 14, 24, 70])
@pytest.mark.parametrize("task", [Task.CLASSIFICATION, Task.STYLE, Task.CODE])
def test_a_stated_size_is_never_exceeded(task, bound):
    found = choice(task, parameters_max_b=bound)
    assert found.model.billions <= bound
    assert codes(found) == []
    assert all(BY_ID[other].billions <= bound for other, _ in found.alternatives)


def test_a_stated_size_says_what_is_wanted_and_a_large_one_is_a_ceiling():
    assert choice(Task.CLASSIFICATION, parameters_max_b=9).model.billions > 6
    assert choice(Task.CLASSIFICATION, parameters_max_b=70).model.billions < 1
    coder = choice(Task.CODE, parameters_max_b=14, signals={Signal.PERMISSIVE_LICENCE})
    assert "code" in coder.model.strengths


def test_a_small_device_bounds_the_size_and_lowers_what_is_wanted():
    found = choice(Task.DIALOGUE, signals={Signal.DEVICE_SMALL})
    assert found.model.billions <= 4
    assert "rule B2" in found.reason
    bounded = choice(Task.DIALOGUE, signals={Signal.DEVICE_SMALL}, parameters_max_b=0.6)
    assert bounded.model.billions <= 0.6


@pytest.mark.parametrize("task", Task)
def test_licence_wishes_hold(task):
    sold = choice(task, signals={Signal.COMMERCIAL_USE})
    assert sold.model.commercial_use is CommercialUse.YES
    assert choice(task, signals={Signal.PERMISSIVE_LICENCE}).model.is_permissive


@pytest.mark.parametrize("task", Task)
@pytest.mark.parametrize("codes_wanted", [("de",), ("ja", "en"), ("pt", "fr"), ("sw",), ("no",)])
def test_the_model_is_declared_good_at_every_language(task, codes_wanted):
    found = choice(task, languages=codes_wanted)
    assert set(codes_wanted) <= set(found.model.languages)
    assert f"its maker declares {', '.join(codes_wanted)}" in found.reason


def test_the_language_of_the_talk_counts_while_none_is_named():
    assert "ko" in choice(Task.CODE, language="ko").model.languages


def test_a_language_that_nobody_declares_is_named():
    found = choice(Task.STYLE, languages=("en", "mi"))
    assert codes(found) == ["language_not_covered"]
    assert found.notes[0].values["language"] == "mi"
    assert "en" in found.model.languages


def test_long_rows_need_a_long_context():
    assert choice(Task.SUMMARIZATION, longest=100_000).model.context_length >= 100_000
    assert choice(Task.MATH_REASONING, longest=3000).model.context_length >= 3000 + 8192


def test_signals_move_the_size_by_one_class():
    plain = choice(Task.STYLE).model.billions
    assert choice(Task.STYLE, signals={Signal.HIGH_VOLUME}).model.billions < plain
    assert choice(Task.STYLE, signals={Signal.CAPABILITY_NEEDS_SIZE}).model.billions > plain
    reinforced = choice(Task.TOOL_CALLING, data_shape=Shape.PROMPTS_WITH_CHECK)
    assert reinforced.model.billions > choice(Task.TOOL_CALLING).model.billions
    assert "rule D8" in reinforced.reason
    other = choice(Task.CLASSIFICATION, languages=("tr",))
    assert other.model.billions > choice(Task.CLASSIFICATION).model.billions


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("mistral-nemo-instruct-2407", "mistralai/Mistral-Nemo-Instruct-2407"),
        ("Qwen/Qwen3-8B", "Qwen/Qwen3-8B"),
        ("qwen 3 8b", "Qwen/Qwen3-8B"),
        ("Qwen3-4B-Instruct", "Qwen/Qwen3-4B-Instruct-2507"),
        ("llama 8b", "meta-llama/Llama-3.1-8B-Instruct"),
        ("Meta Llama 3.1 70B", "meta-llama/Llama-3.1-70B-Instruct"),
        ("phi-4 mini", "microsoft/Phi-4-mini-instruct"),
        ("gpt-oss 20b", "openai/gpt-oss-20b"),
    ],
)
def test_a_named_model_is_found_however_it_is_written(name, found):
    chosen = choice(Task.STYLE, base_model=name, sentences={"base_model.id": f"Use {name}."})
    assert chosen.model.id == found
    assert (chosen.source, chosen.origin) == (USER, f"You said: Use {name}.")
    assert chosen.notes == ()


def test_a_family_leaves_the_size_open():
    assert choice(Task.STYLE, base_model="Qwen").model.id.startswith("Qwen/")
    small = choice(Task.STYLE, base_model="gemma 3", signals={Signal.DEVICE_SMALL}).model
    assert small.id.startswith("google/gemma-3-")
    assert small.billions <= 4


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("Mistral-Small-24B-Instruct-2503", 24_000_000_000),
        ("somebody/Qwen3-8B-tuned", 8_000_000_000),
        ("Foo-8x7B", 56_000_000_000),
        ("nano 350M", 350_000_000),
        ("gpt-4", 0),
        ("v3.5", 0),
    ],
)
def test_an_unknown_name_is_kept_with_no_figure_but_its_own(name, size):
    found = choice(Task.STYLE, base_model=name)
    assert (found.model.id, found.model.parameter_count, found.source) == (name, size, USER)
    assert (found.model.licence, found.model.context_length) == ("", 0)
    assert codes(found) == ["base_model_unknown"]
    assert ("guess" in found.model.source) == bool(size)
    assert named_size(name) == size


def test_a_version_that_was_named_is_not_replaced_by_another():
    assert find_named("Llama-3-8B", CATALOGUE) == ()
    assert find_named("Qwen9", CATALOGUE) == ()
    assert find_named("", CATALOGUE) == ()
    assert find_named("-", CATALOGUE) == ()


def test_a_named_model_is_kept_against_other_wishes_and_the_clash_is_named():
    found = choice(
        Task.STYLE,
        base_model="Qwen2.5-3B-Instruct",
        languages=("sw",),
        parameters_max_b=2,
        signals={Signal.COMMERCIAL_USE},
    )
    assert found.model.id == "Qwen/Qwen2.5-3B-Instruct"
    assert codes(found) == ["licence_unclear", "size_bound_missed", "language_not_covered"]


def test_a_licence_for_research_is_only_taken_when_named():
    for bound in (3.1, 3.2, 4):
        found = choice(Task.STYLE, languages=("vi",), parameters_max_b=bound)
        assert found.model.commercial_use is not CommercialUse.NO


def test_the_operator_s_narrowing_wins():
    allowed = narrow(CATALOGUE, [STARTER], ("attune/starter", "Qwen/Qwen3-4B"))
    found = choice(Task.STYLE, models=allowed, narrowed=True)
    assert (found.model.id, found.source) == ("attune/starter", OPERATOR)
    assert found.origin == "ATTUNE_PLANNER_BASE_MODELS"
    assert found.notes == ()
    assert [other for other, _ in found.alternatives] == ["Qwen/Qwen3-4B"]
    named = choice(Task.STYLE, models=allowed, narrowed=True, base_model="qwen3 4b")
    assert (named.model.id, named.source) == ("Qwen/Qwen3-4B", USER)
    refused = choice(Task.STYLE, models=allowed, narrowed=True, base_model="Qwen3-32B")
    assert refused.model.id == "attune/starter"
    assert codes(refused) == ["conflict_named"]
    assert "Qwen3-32B" in refused.notes[0].values["conflict"]


def test_a_merged_version_that_is_at_hand_is_taken_when_it_is_named():
    mine = replace(STARTER, id="merged/1a2b3c4d5e6f", revision="cd" * 32)
    used = sources(facts(), local=(STARTER, mine), allowed=())
    base = plan(a_brief(base_model=mine.id), used).base_model
    assert (base.id, base.revision) == (mine.id, mine.revision)


def test_without_narrowing_the_starter_is_not_proposed_and_what_is_at_hand_is_preferred():
    assert not any(choice(task).model.id == "attune/starter" for task in Task)
    local = replace(BY_ID["Qwen/Qwen3-4B"], revision="cd" * 32)
    found = choice(Task.STYLE, models=narrow(CATALOGUE, [STARTER, local], ()))
    assert found.model.id == "Qwen/Qwen3-4B"


def test_one_model_is_enough():
    own = CatalogueModel("org/own", "", 512, 10_000_000, "at hand", "ab" * 32)
    found = choice(
        Task.CODE,
        models=(own,),
        longest=1000,
        languages=("de",),
        parameters_max_b=0.001,
        signals={Signal.PERMISSIVE_LICENCE},
    )
    assert found.model is own
    assert codes(found) == ["licence_unclear", "size_bound_missed", "language_not_covered"]
    assert found.alternatives == ()


def test_steps_go_down_and_up_within_the_wishes():
    needs = needs_of(Brief(languages=("de",)), Task.STYLE, 600)
    here, sizes = BY_ID["Qwen/Qwen3-8B"], []
    while here is not None:
        sizes.append(here.billions)
        assert "de" in here.languages
        here = step(here, MODELS, "smaller", needs)
    assert len(sizes) >= 4
    assert sizes == sorted(sizes, reverse=True)
    assert step(BY_ID["openai/gpt-oss-120b"], MODELS, "larger", needs) is None
    bounded = replace(needs, parameters_max_b=5.0)
    assert step(BY_ID["Qwen/Qwen3-4B"], MODELS, "larger", bounded) is None
    unknown = CatalogueModel("org/secret", "", 0, 0, "named")
    assert step(unknown, MODELS, "smaller", needs) is None


def test_a_step_stays_in_the_family_where_it_can():
    needs = needs_of(Brief(), Task.STYLE, 600)
    smaller = step(BY_ID["Qwen/Qwen3-4B"], MODELS, "smaller", needs)
    larger = step(BY_ID["google/gemma-3-4b-it"], MODELS, "larger", needs)
    assert smaller is not None
    assert smaller.id == "Qwen/Qwen3-1.7B"
    assert larger is not None
    assert larger.id == "google/gemma-3-12b-it"


def test_the_same_brief_gives_the_same_choice():
    assert choice(Task.STYLE) == choice(Task.STYLE, models=tuple(reversed(MODELS)))


@pytest.mark.parametrize(
    ("count", "text"),
    [(134_515_008, "135M"), (999_885_952, "1.0B"), (4_022_468_096, "4.0B"), (116_829e6, "117B")],
)
def test_sizes_are_written_as_people_write_them(count, text):
    assert size_text(count) == text
