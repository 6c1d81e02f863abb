"""Numbers of a spec, multiplied."""

from attune.spec.v1 import spec_pb2

from services.planner.spec.scale import scale

PATH = "stages.0.hyperparameters."


def a_spec() -> spec_pb2.Spec:
    spec = spec_pb2.Spec()
    parameters = spec.stages.add().hyperparameters
    parameters.learning_rate, parameters.epoch_count = 2e-4, 3.0
    parameters.lora.rank = 1
    return spec


def test_fractions_stay_short_and_whole_numbers_whole():
    factors = {f"{PATH}learning_rate": 0.5, f"{PATH}epoch_count": 0.5, f"{PATH}lora.rank": 0.5}
    assert scale(a_spec(), factors) == {
        f"{PATH}learning_rate": 1e-4,
        f"{PATH}epoch_count": 2,
        f"{PATH}lora.rank": 1,
    }


def test_what_the_plan_does_not_have_stays_out():
    assert scale(a_spec(), {f"{PATH}dpo.beta": 2.0, "stages.3.hyperparameters.seed": 2.0}) == {}
    assert scale(spec_pb2.Spec(), {f"{PATH}learning_rate": 2.0}) == {}
