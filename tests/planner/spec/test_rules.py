"""Every range and relation, just inside and just outside."""

import pytest
from attune.spec.v1 import stage_pb2

from services.planner.spec.path import resolve, write
from services.planner.spec.rules import FIELD_RANGES, HYPERPARAMETER_RANGES, Range, violations
from tests.planner.plans import a_spec

H = "stages.0.hyperparameters."
OURS = [name for name in HYPERPARAMETER_RANGES if not name.startswith(("dpo.", "rl."))]
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
        spec = a_spec()
        write(spec, H + name, None)
        assert (H + name, "REQUIRED") in rules(spec), name


def edit(spec, path, value):
    write(spec, path, value)


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
    (H + "dpo.beta", "RANGE"): lambda s: edit(s, H + "dpo.beta", 2.0),
    (H + "rl.temperature", "RANGE"): lambda s: edit(s, H + "rl.temperature", 0.0),
    ("stages.0.reward", "NOT_ALLOWED"): lambda s: edit(s, "stages.0.reward.timeout_s", 5),
    ("stages.0.reward.timeout_s", "RANGE"): lambda s: edit(s, "stages.0.reward.timeout_s", 61.0),
    ("stages.0.reward.graders", "SUM"): lambda s: s.stages[0].reward.graders.add(
        weight=0.5, grader=s.evaluation.graders[0]
    ),
    (H + "assistant_only_loss", "REQUIRED"): lambda s: edit(s, H + "assistant_only_loss", None),
    (H + "lora.target_modules", "REQUIRED"): lambda s: edit(s, H + "lora.target_modules", []),
}


@pytest.mark.parametrize("broken", CASES, ids=lambda each: f"{each[0]}-{each[1]}")
def test_a_broken_rule_is_named_with_its_field(broken):
    spec = a_spec()
    assert rules(spec) == set()
    CASES[broken](spec)
    assert broken in rules(spec)


def test_all_violations_are_returned_not_the_first():
    spec = a_spec()
    for name in ("learning_rate", "warmup_ratio", "weight_decay"):
        write(spec, H + name, 99.0)
    assert len(violations(spec)) == 3
