"""One field of a plan is set from text."""

import pytest
from attune.spec.v1 import spec_pb2, stage_pb2

from cli.spec_edit import set_field
from services.common.errors import InvalidArgument

RATE = "stages.0.hyperparameters.learning_rate"


@pytest.fixture
def spec() -> spec_pb2.Spec:
    found = spec_pb2.Spec()
    found.stages.add(technique=stage_pb2.TECHNIQUE_SFT)
    return found


def test_numbers_words_flags_durations_and_lists_are_set(spec):
    parameters = spec.stages[0].hyperparameters
    set_field(spec, RATE, "2e-4")
    set_field(spec, "stages.0.hyperparameters.max_length", "1,024")
    set_field(spec, "stages.0.hyperparameters.schedule", "linear")
    set_field(spec, "stages.0.method", "METHOD_LORA")
    set_field(spec, "stages.0.hyperparameters.packing", "yes")
    set_field(spec, "stages.0.hyperparameters.lora.target_modules", "q_proj, v_proj")
    set_field(spec, "limits.deadline", "3600")
    set_field(spec, "serving.alias", "tickets")
    assert parameters.learning_rate == 2e-4
    assert parameters.max_length == 1024
    assert parameters.schedule == stage_pb2.Hyperparameters.SCHEDULE_LINEAR
    assert spec.stages[0].method == stage_pb2.METHOD_LORA
    assert parameters.packing is True
    assert list(parameters.lora.target_modules) == ["q_proj", "v_proj"]
    assert spec.limits.deadline.seconds == 3600
    assert spec.serving.alias == "tickets"


@pytest.mark.parametrize(
    ("path", "text", "rule"),
    [
        (RATE, "fast", "BAD_VALUE"),
        ("stages.0.hyperparameters.schedule", "zigzag", "BAD_VALUE"),
        ("stages.0.hyperparameters.packing", "maybe", "BAD_VALUE"),
        ("stages.0.speed", "1", "UNKNOWN_PATH"),
        ("speed.0.limit", "1", "UNKNOWN_PATH"),
        ("stages.method", "LORA", "UNKNOWN_PATH"),
        ("stages.1.method", "LORA", "NO_ENTRY"),
        ("stages.0.hyperparameters.lora", "1", "NO_VALUE"),
    ],
)
def test_a_wrong_path_or_value_names_the_rule(spec, path, text, rule):
    before = spec.SerializeToString(deterministic=True)
    with pytest.raises(InvalidArgument) as caught:
        set_field(spec, path, text)
    assert [(item.field, item.rule) for item in caught.value.violations] == [(path, rule)]
    assert spec.SerializeToString(deterministic=True) == before
