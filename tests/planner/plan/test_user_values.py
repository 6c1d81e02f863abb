"""Values that a person set: kept, warned about, refused with the reason; and what a rank moves."""

import pytest
from attune.planner.v1 import dataset_pb2
from attune.spec.v1 import stage_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from services.planner.plan.choice import place
from services.planner.plan.user_values import check_user_values, notes_on_change
from services.planner.spec.edit import carry_over
from services.planner.spec.rules import HYPERPARAMETER_RANGES, LOSSES, violations
from tests.planner.plans import a_brief, a_spec, choice_of, facts, plan, sources

H = "stages.0.hyperparameters."
SFT, DPO, RLVR, RLAIF = 1, 2, 3, 4
WIDE = {"allowed": (), "local": ()}


def told(technique=SFT, from_=None, **overrides) -> dict[str, tuple[str, str]]:
    """Return code and value by path for what is said about some overrides."""
    brief = a_brief(overrides={H + name.replace("__", "."): v for name, v in overrides.items()})
    used = from_ or sources(**WIDE)
    spec = plan(brief, used, techniques=(technique,))
    notes = check_user_values(spec, used, brief)
    return {note.field_path.removeprefix(H): (note.code, note.values) for note in notes}


@pytest.mark.parametrize(
    ("technique", "name", "value"),
    [
        (SFT, "learning_rate", 0.005),
        (SFT, "learning_rate", 2e-5),
        (DPO, "learning_rate", 5e-4),
        (DPO, "dpo__beta", 0.01),
        (SFT, "lora__rank", 256),
        (SFT, "epoch_count", 40),
        (RLAIF, "rl__kl_coefficient", 0.0),
        (RLVR, "rl__kl_coefficient", 0.05),
        (RLVR, "rl__temperature", 0.1),
        (SFT, "early_stopping_patience", 1000),
        (SFT, "assistant_only_loss", "false"),
        (SFT, "warmup_ratio", 0.0),
    ],
)
def test_what_is_far_from_the_recipe_or_switches_a_safeguard_off_is_warned_about_once(
    technique, name, value
):
    brief = a_brief(overrides={H + name.replace("__", "."): value})
    used = sources(**WIDE)
    spec = plan(brief, used, techniques=(technique,))
    (note,) = check_user_values(spec, used, brief)
    assert (note.code, note.rule) == ("user_value_warned", "U2")
    assert note.values["recommended"]
    assert choice_of(spec, note.field_path).source == 5


@pytest.mark.parametrize(
    ("technique", "values"),
    [
        (SFT, {"lora__rank": 32, "lora__alpha": 64, "learning_rate": 1e-4, "epoch_count": 10}),
        (SFT, {"seed": 1, "effective_batch_size": 32, "lora__dropout": 0.1}),
        (DPO, {"dpo__beta": 0.3, "learning_rate": 5e-6}),
        (RLVR, {"rl__group_size": 16, "rl__kl_coefficient": 0.0, "rl__temperature": 0.8}),
        (SFT, {"schedule": "constant", "max_length": 192}),
    ],
)
def test_what_is_usual_is_kept_without_a_word(technique, values):
    assert told(technique, **values) == {}


@pytest.mark.parametrize(
    ("technique", "name", "value", "reason"),
    [
        (RLVR, "rl__temperature", 0.0, "all answers to a prompt are the same"),
        (RLVR, "rl__group_size", 1, "no rival"),
        (SFT, "lora__rank", 0, "at least one dimension"),
        (SFT, "learning_rate", -1e-4, "unlearns"),
        (SFT, "epoch_count", 0, "not be seen"),
        (SFT, "rl__temperature", 0.7, "does not use it"),
        (DPO, "dpo__loss_type", "made_up", "sigmoid, hinge"),
        (DPO, "packing", "true", "only supervised fine-tuning"),
        (SFT, "schedule", "zigzag", "cannot stand"),
        (SFT, "made_up", 3, "no such field"),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason_and_the_others_stay(
    technique, name, value, reason
):
    found = told(technique, **{name: value, "seed": 5})
    ((path, (code, values)),) = found.items()
    assert (path, code) == (name.replace("__", "."), "user_value_rejected")
    assert reason in values["why"]


PATHS = sorted(
    {H + name for name in (*HYPERPARAMETER_RANGES, *LOSSES, "schedule", "max_length", "made_up")}
    | {"evaluation.few_shot_example_count", "data.validation_fraction", "data.split_seed"}
)
NUMBERS = st.one_of(
    st.floats(),
    st.integers(-(2**70), 2**70),
    st.sampled_from([0, 1, 16, 512, 700, 1020, 1024, 0.1, 1e-4]),
)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.sampled_from(PATHS), NUMBERS | st.text(max_size=20), max_size=6),
    st.sampled_from([(SFT,), (DPO,), (RLVR,), (RLAIF,), (SFT, RLVR), ()]),
    st.sampled_from([1, 2, 3, 4]),
)
def test_whatever_is_said_gives_a_valid_plan_and_nothing_is_dropped_in_silence(
    said, techniques, method
):
    if method == stage_pb2.METHOD_FULL:
        techniques = techniques[:1]  # A chain trains one adapter.
    brief, used = a_brief(overrides=said), sources()
    spec = plan(brief, used, techniques=techniques, method=method)
    assert violations(spec) == []
    notes = check_user_values(spec, used, brief)
    told = {note.field_path for note in notes if note.code == "user_value_rejected"}
    theirs = {each.field_path for each in spec.choices if each.source == 5}
    for path in said:
        here = place(path, techniques)
        assert (here in told) != (here in theirs) or not techniques, path


@pytest.mark.parametrize(
    ("said", "path"),
    [
        ({"alias": "Not An Alias!"}, "serving.alias"),
        ({"deadline_s": 0}, "limits.deadline"),
        ({"target": 1.5}, "objective.success_criteria.0.target"),
        ({"cost_cap_micro_usd": -5}, "limits.cost_cap_micro_usd"),
    ],
)
def test_what_breaks_a_rule_elsewhere_is_refused_too(said, path):
    brief, used = a_brief(**said), sources()
    (note,) = check_user_values(plan(brief, used), used, brief)
    assert (note.code, note.field_path) == ("user_value_rejected", path)


def test_long_words_are_cut_and_kept():
    brief, used = a_brief(problem="long " * 1000, users="all " * 500), sources()
    spec = plan(brief, used)
    assert (len(spec.objective.problem), len(spec.objective.users)) == (2000, 500)
    assert check_user_values(spec, used, brief) == []


def test_a_hold_out_that_leaves_nothing_to_learn_is_refused():
    brief, used = a_brief(holdout_rows=900), sources()
    (note,) = check_user_values(plan(brief, used), used, brief)
    assert (note.code, note.field_path) == ("user_value_rejected", "data.holdout_rows")
    assert "600 rows" in note.values["why"]


def test_a_length_that_cuts_rows_is_told_with_the_share():
    percentiles = [
        dataset_pb2.PercentileCount(percentile=p, count=c)
        for p, c in ((5, 1000), (50, 5000), (95, 7000), (100, 9000))
    ]
    long = facts(
        max_token_count=9000,
        mean_prompt_token_count=5000,
        mean_answer_token_count=400,
        token_percentiles=percentiles,
    )
    found = told(SFT, sources(long, **WIDE), max_length=2048)
    code, values = found["max_length"]
    assert code == "truncation_risk"
    assert values == {"limit": "2048", "mean": "5400", "longest": "9000", "share": "50 %"}


def test_without_the_brief_only_what_stands_in_the_plan_is_judged():
    brief = a_brief(overrides={H + "lora.rank": 0, H + "learning_rate": 0.05})
    used = sources()
    codes = {note.code for note in check_user_values(plan(brief, used), used)}
    assert codes == {"user_value_warned"}


def test_a_rank_that_changes_alone_changes_the_step_and_says_so():
    before = a_spec(overrides={H + "lora.rank": 16, H + "lora.alpha": 32})
    after = a_spec(overrides={H + "lora.rank": 64, H + "lora.alpha": 32})
    (note,) = notes_on_change(before, after)
    assert note.code == "rank_alpha_scale"
    ratios = {"before": "2", "after": "0.5"}
    assert note.values == {"rank": "64", "alpha": "32", "alpha_same": "128", **ratios}
    both = a_spec(overrides={H + "lora.rank": 64, H + "lora.alpha": 128})
    assert notes_on_change(before, both) == []
    assert notes_on_change(before, before) == []
    after.stages[0].hyperparameters.lora.rank_stabilized = True
    assert notes_on_change(before, after) == []


@pytest.mark.parametrize(("method", "called"), [("DoRA", "DoRA"), ("full", "full fine-tuning")])
def test_a_method_whose_result_is_no_adapter_to_load_says_so(method, called):
    used = sources(**WIDE)
    notes = check_user_values(plan(a_brief(method=method), used), used)
    assert [(note.code, note.field_path, note.values) for note in notes] == [
        ("merged_only", "stages.0.method", {"method": called})
    ]
    for usual in ("LoRA", "QLoRA"):
        assert check_user_values(plan(a_brief(method=usual), used), used) == []


@pytest.mark.parametrize(
    ("method", "target"),
    [("LoRA", "shared"), ("QLoRA", "shared"), ("DoRA", "dedicated"), ("full", "dedicated")],
)
def test_a_method_that_makes_a_whole_model_is_planned_for_an_engine_of_its_own(method, target):
    spec = plan(a_brief(method=method), sources(**WIDE))
    chosen = choice_of(spec, "serving.target")
    assert (spec.serving.target, chosen.recommended) == (target, target)
    assert list(chosen.allowed_values) == ["shared", "dedicated", "sagemaker", "bedrock"]


@pytest.mark.parametrize(("target", "told"), [("shared", "shared"), ("sagemaker", None)])
def test_a_target_that_cannot_serve_what_the_method_makes_is_named(target, told):
    used, said = sources(**WIDE), {"serving.target": target}
    (note,) = check_user_values(plan(a_brief(method="DoRA", overrides=said), used), used)
    assert (note.code, note.values.get("target")) == ("merged_only", told)


@pytest.mark.parametrize(
    ("named", "value", "derived"),
    [("lora.rank", 64, "lora.alpha"), ("effective_batch_size", 64, "learning_rate")],
)
def test_naming_one_value_later_moves_no_other(named, value, derived):
    before, proposed = a_spec(), a_spec(overrides={H + named: value})
    fresh = choice_of(proposed, H + derived)
    assert fresh.recommended != choice_of(before, H + derived).recommended
    carry_over(before, proposed, {H + named})
    assert proposed.stages[0].hyperparameters.lora.alpha == 64
    assert proposed.stages[0].hyperparameters.learning_rate == 0.004
    # And it stays so when something else is said afterwards.
    later = a_spec(overrides={H + named: value}, alias="other")
    carry_over(proposed, later, {"serving.alias"})
    assert later.stages == proposed.stages


def test_another_base_model_brings_its_own_recipe():
    before = plan(a_brief(base_model="Qwen/Qwen3-4B"), sources(**WIDE))
    said = {H + "lora.rank": 8}
    after = plan(a_brief(base_model="Qwen/Qwen3-32B", overrides=said), sources(**WIDE))
    carry_over(before, after, {"base_model.id", H + "lora.rank"})
    assert after.stages[0].hyperparameters.lora.alpha == 16
    assert after.stages[0].technique == stage_pb2.TECHNIQUE_SFT
