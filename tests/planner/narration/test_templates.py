"""Every text exists in every language, with the same gaps, for everything that can be said."""

import re
import string

import pytest
from attune.spec.v1 import spec_pb2, stage_pb2

from services.planner.narration.notices import notice_text
from services.planner.narration.phrasebook import said_in
from services.planner.narration.questions import question_text
from services.planner.narration.templates import (
    CHOICE,
    LANGUAGES,
    PLACEHOLDER,
    duration,
    fill,
    has,
    load_templates,
    size,
)
from services.planner.narration.terms import field_name, value_words
from services.planner.plan.notices import NOTICES, Note, note
from services.planner.plan.policy import DATA_OPTIONS, TARGET_OPTIONS, TOPICS, Question
from services.planner.plan.verdict import VERDICT_RULES
from services.planner.spec.rules import FIELD_RANGES, HYPERPARAMETER_RANGES

TEXTS = load_templates()
FLAGS = [
    "volatile_knowledge",
    "facts_not_behaviour",
    "data_too_small",
    "holdout_too_small",
    "holdout_required",
    "duplicates",
    "imbalance",
    "mixed_format",
    "data_invalid",
    "data_mismatch",
    "label_noise",
    "thumbs_unpaired",
    "length_bias",
    "suspicious_rows",
    "truncation_risk",
    "pii",
    "consent",
    "copyright",
    "provider_terms",
    "data_stays_local",
    "conflict_named",
    "infrastructure_not_needed",
    "injection_ignored",
    "approval_needed",
    "unsafe_grader",
    "user_value_warned",
    "user_value_rejected",
    "rank_alpha_scale",
    "reason_given",
    "sft_before_rl",
    "reward_hacking",
    "judge_calibration",
    "base_already_sufficient",
    "harmful_declined",
    "out_of_scope",
    "capability_explained",
]
PROMISES = re.compile(r"guarantee|garanti|will certainly|sicherlich|保証", re.I)


def test_every_text_has_all_six_languages_and_no_other():
    odd = {key: list(entry) for key, entry in TEXTS.items() if tuple(entry) != LANGUAGES}
    assert odd == {}


def test_every_language_has_the_same_gaps():
    def gaps(text: str) -> set[str]:
        return {name for name, _ in PLACEHOLDER.findall(text)}

    odd = {
        (key, language)
        for key, entry in TEXTS.items()
        for language, text in entry.items()
        if gaps(text) != gaps(entry["en"])
    }
    assert odd == set()


def test_brackets_pair_up_and_nothing_else_uses_them():
    odd = [
        (key, language)
        for key, entry in TEXTS.items()
        for language, text in entry.items()
        if set("[]{}") & set(PLACEHOLDER.sub("", CHOICE.sub(lambda each: each[1], text)))
        or text != text.strip()
    ]
    assert odd == []


def test_only_the_last_part_of_a_choice_is_without_a_gap():
    odd = [
        (key, language)
        for key, entry in TEXTS.items()
        for language, text in entry.items()
        for parts in CHOICE.findall(text)
        if not PLACEHOLDER.search(parts.split("|")[0]) or not all(parts.split("|")[:-1])
    ]
    assert odd == []


def test_every_worded_notice_has_its_code():
    worded = {key.removeprefix("notices.") for key in TEXTS if key.startswith("notices.")}
    assert worded - set(NOTICES) == set()


def test_no_text_promises_a_result():
    odd = [key for key, entry in TEXTS.items() for text in entry.values() if PROMISES.search(text)]
    assert odd == []


@pytest.mark.parametrize("code", sorted({*NOTICES, *FLAGS}))
def test_every_notice_is_worded_with_and_without_its_figures(code):
    assert has(f"notices.{code}")
    values = dict.fromkeys(NOTICES[code].values if code in NOTICES else (), "7")
    for language in LANGUAGES:
        bare = notice_text(Note(code, NOTICES[code].severity), language)
        full = notice_text(note(code, **values), language)
        for text in (bare, full):
            assert len(text) > 20
            assert not set("[]") & set(text.replace('{"messages": [', "").replace("}]}", ""))
            assert "{" not in text.replace('{"', "").replace("}", "")
            assert text[-1] in ".。", text


@pytest.mark.parametrize("code", FLAGS)
def test_the_flags_of_the_product_are_all_notices(code):
    assert code in NOTICES


@pytest.mark.parametrize("topic", TOPICS)
def test_every_topic_has_a_question_with_its_reason(topic):
    for language in LANGUAGES:
        text, reason, _ = question_text(Question(topic, "", ()), language)
        assert text[-1] in "?.。"
        assert reason


def test_options_are_worded():
    options = (*TARGET_OPTIONS, *DATA_OPTIONS)
    for language in LANGUAGES:
        _, _, words = question_text(Question("data", "", options), language)
        assert len(set(words)) == len(options)
        assert not set(words) & set(options)


def test_every_number_of_a_plan_has_a_name():
    paths = [*FIELD_RANGES]
    paths += [f"stages.0.hyperparameters.{name}" for name in HYPERPARAMETER_RANGES]
    assert [path for path in paths if field_name(path, "de") == path] == []


@pytest.mark.parametrize(
    "enum",
    [
        stage_pb2.Technique,
        stage_pb2.Method,
        stage_pb2.Hyperparameters.Schedule,
        spec_pb2.Choice.Source,
        spec_pb2.Verdict.Recommendation,
        spec_pb2.SuccessCriterion.Aggregate,
        spec_pb2.Data.SplitMethod,
    ],
)
def test_every_value_of_an_enumeration_has_words(enum):
    names = [name for name, number in enum.items() if number]
    assert [name for name in names if not has(f"values.{name}")] == []


@pytest.mark.parametrize("rule", [rule.id for rule in VERDICT_RULES if rule.id != "V1"])
def test_every_verdict_rule_has_a_reason_in_words(rule):
    assert has(f"verdicts.{rule}")


def test_a_missing_figure_leaves_no_hole():
    assert "None" not in notice_text(note("data_too_small"), "en")
    said = notice_text(note("data_too_small", rows=8, least=50), "en")
    assert "8 usable examples" in said
    assert "at least 50" in said


def test_french_marks_stay_with_their_words():
    said = fill("replies.change", "fr", {"field": "a ?", "before": "1", "after": "2"})
    assert said == "a ?\u00a0: 1 → 2"


def test_a_value_is_never_read_as_a_template():
    said = notice_text(note("conflict_named", conflict="{rows:count} [a|b]"), "en")
    assert "{rows:count} [a|b]" in said


def test_an_unknown_text_is_an_error_and_an_unknown_language_english():
    with pytest.raises(KeyError):
        fill("replies.nothing", "en")
    assert fill("replies.wait", "sv") == fill("replies.wait", "en")


@pytest.mark.parametrize(
    ("language", "seconds", "words"),
    [
        ("en", 0.2, "a second"),
        ("en", 40, "40 seconds"),
        ("en", 200, "3 minutes"),
        ("en", 9000, "2.5 hours"),
        ("en", 7200, "2 hours"),
        ("de", 9000, "2,5 Stunden"),
        ("fr", 9000, "2,5 heures"),
        ("ja", 9000, "2.5時間"),
        ("pt", 3 * 86400, "3 dias"),
    ],
)
def test_durations_are_said_as_people_say_them(language, seconds, words):
    assert duration(seconds, language) == words


@pytest.mark.parametrize(
    ("language", "parameters", "words"),
    [
        ("en", 8_200_000_000, "8.2 billion parameters"),
        ("en", 3_400_000, "3.4 million parameters"),
        ("de", 8_200_000_000, "8,2 Milliarden Parameter"),
        ("ja", 8_200_000_000, "82億パラメータ"),
        ("ja", 3_400_000, "340万パラメータ"),
    ],
)
def test_sizes_of_models_use_the_units_of_the_language(language, parameters, words):
    assert size(parameters, language) == words


@pytest.mark.parametrize(
    ("path", "text", "language", "words"),
    [
        ("limits.deadline", "7200s", "de", "2 Stunden"),
        ("limits.cost_cap_micro_usd", "5000000", "en", "$5.00"),
        ("objective.success_criteria.0.target", "0.85", "fr", "85\u202f%"),
        ("stages.0.hyperparameters.learning_rate", "2e-05", "de", "0,00002"),
        ("stages.0.hyperparameters.seed", "1234", "de", "1234"),
        ("stages.0.technique", "TECHNIQUE_DPO", "es", "optimización por preferencias"),
        ("stages.0.hyperparameters.packing", "true", "pt", "sim"),
        ("data.dataset", "projects/p/datasets/tickets", "ja", "tickets"),
        ("serving.alias", "", "en", "unset"),
    ],
)
def test_values_are_said_in_words(path, text, language, words):
    assert value_words(path, text, language) == words


def test_a_sentence_of_a_rule_is_said_in_other_languages_with_its_figures():
    text = "There are 1,200 usable pairs; from about 200 a run shows what it gained."
    assert said_in("en", text) == text
    assert said_in("de", text).startswith("Es gibt 1.200 brauchbare Paare; ab etwa 200")
    assert "比較の組は1,200件" in said_in("ja", text)
    assert said_in("de", "Nobody has translated this.") == ""


def test_names_of_languages_are_known_for_every_language_of_the_templates():
    assert all(has(f"languages.{code}") for code in LANGUAGES)
    assert set("".join(LANGUAGES)) <= set(string.ascii_lowercase)
