"""Every range and relation, just inside and just outside."""

import pytest
from attune.spec.v1 import stage_pb2

from services.planner.spec.path import resolve, write
from services.planner.spec.rules import FIELD_RANGES, HYPERPARAMETER_RANGES, Range, violations
from tests.planner.plans import a_brief, a_spec, plan, sources

H = "stages.0.hyperparameters."
OURS = [name for name in HYPERPARAMETER_RANGES if not name.startswith(("dpo.", "rl."))]
OPTIONAL = ("max_step_count",)
OTHERS = [name for name in HYPERPARAMETER_RANGES if name not in OURS]
SFT, DPO, RLVR, RLAIF = 1, 2, 3, 4
RANGES = {H + name: HYPERPARAMETER_RANGES[name] for name in OURS}
RANGES |= {
    path: allowed for path, allowed in FIELD_RANGES.items() if path != "data.holdout_fraction"
}
RANGES |= {
    H + "max_length": Range(16, 1024),
    "evaluation.max_answer_tokens": Range(1, 1024),
    "objective.success_criteria.0.target": Range(0, 1),
}


def rules(spec) -> set[tuple[str, str]]:
    return {(each.field, each.rule) for each in violations(spec)}


def is_whole(spec, path: str) -> bool:
    return resolve(spec, path).field.type == 3  # TYPE_INT64


@pytest.mark.parametrize("path", RANGES)
def test_the_ends_of_a_range_hold_and_what_lies_beyond_does_not(path):
    spec, allowed = a_spec(), RANGES[path]
    step = 1 if is_whole(spec, path) else 1e-9
    inside = [
        allowed.low + (step if allowed.open_low else 0),
        allowed.high - (step if allowed.open_high else 0),
    ]
    outside = [
        allowed.low - (0 if allowed.open_low else step),
        allowed.high + (0 if allowed.open_high else step),
    ]
    number = int if is_whole(spec, path) else float
    for value in inside:
        write(spec, path, number(value))
        assert (path, "RANGE") not in rules(spec), value
    for value in outside:
        write(spec, path, number(value))
        assert (path, "RANGE") in rules(spec), value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_in_no_range(value):
    spec = a_spec()
    spec.stages[0].hyperparameters.learning_rate = value
    assert (H + "learning_rate", "RANGE") in rules(spec)


def test_every_required_hyperparameter_is_missed_when_it_is_unset():
    for name in OURS:
        if name in OPTIONAL:
            continue
        spec = a_spec()
        write(spec, H + name, None)
        assert (H + name, "REQUIRED") in rules(spec), name


@pytest.mark.parametrize("name", OTHERS)
def test_hyperparameters_of_other_techniques_have_their_ranges_too(name):
    path, allowed = H + name, HYPERPARAMETER_RANGES[name]
    technique = DPO if name.startswith("dpo.") else RLVR
    spec = plan(a_brief(), techniques=(technique,))
    assert rules(spec) == set()
    number = int if is_whole(spec, path) else float
    for value in (allowed.low - 1, allowed.high + 1):
        write(spec, path, number(value))
        assert (path, "RANGE") in rules(spec), value
    write(spec, path, None)
    optional = name == "dpo.label_smoothing"
    assert ((path, "REQUIRED") in rules(spec)) != optional


JUDGE = "stages.0.reward.graders.0.grader."
SCORED = {
    (H + "rl.max_completion_length", "CONTEXT"): lambda s: edit(
        s, H + "rl.max_completion_length", 1000
    ),
    (H + "rl.loss_type", "UNKNOWN_LOSS"): lambda s: edit(s, H + "rl.loss_type", "made_up"),
    ("stages.0.reward.graders", "SUM"): lambda s: edit(s, "stages.0.reward.graders.0.weight", 0.5),
    (f"{JUDGE}preference", "UNSUPPORTED"): lambda s: (
        s.stages[0].reward.graders[0].grader.preference.SetInParent()
    ),
    ("stages.0.reward.safeguards", "COUNT"): lambda s: edit(
        s, "stages.0.reward.safeguards", ["x"] * 11
    ),
    (JUDGE + "name", "NAME"): lambda s: edit(s, JUDGE + "name", "No Spaces"),
    (JUDGE + "score_model.range_high", "RANGE"): lambda s: edit(
        s, JUDGE + "score_model.range_high", 0.0
    ),
    (JUDGE + "regex.pattern", "PATTERN"): lambda s: edit(s, JUDGE + "regex.pattern", "(("),
    (JUDGE + "label_model.passing_labels", "UNKNOWN_LABEL"): lambda s: edit(
        s, JUDGE + "label_model.passing_labels", ["x"]
    ),
    (JUDGE + "text_similarity.evaluation_metric", "UNKNOWN_METRIC"): lambda s: edit(
        s, JUDGE + "text_similarity.evaluation_metric", "x"
    ),
    (JUDGE + "length.max_characters", "RANGE"): lambda s: (
        edit(s, JUDGE + "length.min_characters", 9),
        edit(s, JUDGE + "length.max_characters", 3),
    ),
    ("objective.task", "UNKNOWN_TASK"): lambda s: edit(s, "objective.task", "cooking"),
    ("objective.languages", "LANGUAGE"): lambda s: edit(s, "objective.languages", ["english"]),
    ("data.guidelines.good_examples", "LENGTH"): lambda s: s.data.guidelines.good_examples.add(
        prompt="x" * 1001, answer="y"
    ),
    ("maintenance.drift_trigger", "LENGTH"): lambda s: edit(
        s, "maintenance.drift_trigger", "x" * 501
    ),
}


@pytest.mark.parametrize("broken", SCORED, ids=lambda each: f"{each[0]}-{each[1]}")
def test_a_broken_rule_of_a_rewarded_plan_is_named_with_its_field(broken):
    spec = plan(a_brief(), techniques=(RLAIF,))
    assert rules(spec) == set()
    SCORED[broken](spec)
    assert broken in rules(spec)


def test_a_plan_may_have_no_stages_and_no_dataset_and_holds_out_less_than_all():
    spec = plan(a_brief(data_row_count=300), sources(described=True), techniques=())
    assert rules(spec) == set()
    spec.data.holdout_rows = 300
    assert rules(spec) == {("data.holdout_rows", "RANGE")}


def test_lengths_are_bounded_though_nothing_is_known_of_the_base():
    spec = a_spec()
    spec.base_model.ClearField("context_length")
    write(spec, H + "max_length", 100_000)
    assert rules(spec) == set()
    write(spec, H + "max_length", 10**6)
    assert rules(spec) == {(H + "max_length", "RANGE")}


def edit(spec, path, value):
    write(spec, path, value)


def pack_preferences(spec):
    spec.stages[0].technique = stage_pb2.TECHNIQUE_DPO
    spec.stages[0].hyperparameters.packing = True


CASES = {
    ("objective.problem", "REQUIRED"): lambda s: edit(s, "objective.problem", ""),
    ("objective.problem", "LENGTH"): lambda s: edit(s, "objective.problem", "x" * 2001),
    ("objective.users", "LENGTH"): lambda s: edit(s, "objective.users", "x" * 501),
    ("display_name", "LENGTH"): lambda s: edit(s, "display_name", "x" * 121),
    ("objective.out_of_scope", "LENGTH"): lambda s: edit(s, "objective.out_of_scope", ["x"] * 11),
    ("data.guidelines.dos", "LENGTH"): lambda s: edit(s, "data.guidelines.dos", ["x"] * 11),
    ("objective.success_criteria", "REQUIRED"): lambda s: s.objective.ClearField(
        "success_criteria"
    ),
    ("objective.success_criteria", "COUNT"): lambda s: s.objective.success_criteria.extend(
        [s.objective.success_criteria[0]] * 5
    ),
    ("objective.success_criteria.0.metric", "UNKNOWN_GRADER"): lambda s: edit(
        s, "objective.success_criteria.0.metric", "bleu"
    ),
    ("data.dataset", "RESOURCE_NAME"): lambda s: edit(s, "data.dataset", "../etc/passwd"),
    ("data.holdout_dataset", "SAME_DATASET"): lambda s: edit(
        s, "data.holdout_dataset", s.data.dataset
    ),
    ("evaluation.graders", "REQUIRED"): lambda s: s.evaluation.ClearField("graders"),
    ("evaluation.graders.0.name", "NAME"): lambda s: edit(s, "evaluation.graders.0.name", "A b"),
    ("evaluation.graders.1.name", "DUPLICATE"): lambda s: s.evaluation.graders.append(
        s.evaluation.graders[0]
    ),
    ("evaluation.graders.0.kind", "REQUIRED"): lambda s: s.evaluation.graders[0].ClearField(
        "json_schema"
    ),
    ("serving.alias", "NAME"): lambda s: edit(s, "serving.alias", "No Spaces"),
    ("serving.target", "UNKNOWN_TARGET"): lambda s: edit(s, "serving.target", "mars"),
    ("limits.deadline", "RANGE"): lambda s: s.limits.deadline.FromSeconds(-1),
    ("stages", "COUNT"): lambda s: s.stages.extend([s.stages[0]] * 4),
    (H + "lora", "REQUIRED"): lambda s: s.stages[0].hyperparameters.ClearField("lora"),
    (H + "lora", "NOT_ALLOWED"): lambda s: edit(s, "stages.0.method", stage_pb2.METHOD_FULL),
    (H + "dpo", "REQUIRED"): lambda s: edit(s, "stages.0.technique", stage_pb2.TECHNIQUE_DPO),
    (H + "rl", "REQUIRED"): lambda s: edit(s, "stages.0.technique", stage_pb2.TECHNIQUE_RLVR),
    ("stages.0.reward", "REQUIRED"): lambda s: edit(
        s, "stages.0.technique", stage_pb2.TECHNIQUE_RLAIF
    ),
    (H + "dpo.beta", "RANGE"): lambda s: edit(s, H + "dpo.beta", 20.0),
    (H + "rl.temperature", "RANGE"): lambda s: edit(s, H + "rl.temperature", 0.0),
    ("stages.0.reward", "NOT_ALLOWED"): lambda s: edit(s, "stages.0.reward.timeout_s", 5),
    ("stages.0.reward.timeout_s", "RANGE"): lambda s: edit(s, "stages.0.reward.timeout_s", 61.0),
    ("stages.0.reward.graders", "SUM"): lambda s: s.stages[0].reward.graders.add(
        weight=0.5, grader=s.evaluation.graders[0]
    ),
    (H + "assistant_only_loss", "REQUIRED"): lambda s: edit(s, H + "assistant_only_loss", None),
    (H + "packing", "NOT_ALLOWED"): pack_preferences,
    (H + "lora.target_modules", "REQUIRED"): lambda s: edit(s, H + "lora.target_modules", []),
}


@pytest.mark.parametrize("broken", CASES, ids=lambda each: f"{each[0]}-{each[1]}")
def test_a_broken_rule_is_named_with_its_field(broken):
    spec = a_spec()
    assert rules(spec) == set()
    CASES[broken](spec)
    assert broken in rules(spec)


@pytest.mark.parametrize("target", ["shared", "dedicated", "sagemaker", "bedrock"])
def test_a_plan_may_ask_for_every_target_that_serving_has(target):
    spec = a_spec()
    edit(spec, "serving.target", target)
    assert rules(spec) == set()


def test_all_violations_are_returned_not_the_first():
    spec = a_spec()
    for name in ("learning_rate", "warmup_ratio", "weight_decay"):
        write(spec, H + name, 99.0)
    assert len(violations(spec)) == 3


def a_chain():
    spec = a_spec()
    spec.stages.add().CopyFrom(spec.stages[0])
    return spec


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("hyperparameters.lora.rank", 32),
        ("hyperparameters.lora.alpha", 7),
        ("hyperparameters.lora.target_modules", ["q_proj"]),
        ("method", stage_pb2.METHOD_DORA),
    ],
)
def test_stages_of_a_chain_train_one_adapter(path, value):
    spec = a_chain()
    assert rules(spec) == set()
    edit(spec, f"stages.1.{path}", value)
    assert rules(spec) == {(f"stages.1.{path}", "CHAIN")}


def test_a_chain_may_change_what_no_weight_depends_on():
    spec = a_chain()
    edit(spec, "stages.1.hyperparameters.lora.dropout", 0.2)
    edit(spec, "stages.1.hyperparameters.learning_rate", 1e-5)
    assert rules(spec) == set()


def test_all_weights_are_trained_in_one_stage():
    spec = a_chain()
    for stage in spec.stages:
        stage.method = stage_pb2.METHOD_FULL
        stage.hyperparameters.ClearField("lora")
    assert rules(spec) == {("stages.1.method", "CHAIN")}
