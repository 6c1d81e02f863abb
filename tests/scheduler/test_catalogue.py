"""The catalogue that comes with the scheduler."""

from services.scheduler.profile import Precision
from tests.scheduler.factories import CATALOGUE


def test_profiles_are_plausible_and_have_sources():
    for profile in CATALOGUE.profiles.values():
        assert profile.source
        assert profile.memory_bytes > 2**30
        assert 0 < profile.efficiency <= 1
        assert profile.layer_overhead_s > 0
        assert (profile.price_micro_usd_per_hour > 0) == profile.is_gpu
        assert (profile.precision is Precision.BFLOAT16) == profile.is_gpu


def test_parameters_follow_from_the_shapes():
    """Recount each decoder: embedding, attention, gated feed-forward; norms and biases are small.

    The output head counts once more where it is not tied, and Qwen3 and Gemma have wider heads
    than width / heads, so the count must lie between tied less a third and untied plus a third.
    """
    for shape in CATALOGUE.shapes.values():
        kv = shape.hidden_size * shape.kv_head_count // shape.head_count
        attention = 2 * shape.hidden_size * (shape.hidden_size + kv)
        layer = attention + 3 * shape.hidden_size * shape.intermediate_size
        table = shape.vocabulary_size * shape.hidden_size
        low, high = table + shape.layer_count * layer, 2 * table + shape.layer_count * layer
        assert 2 / 3 * low < shape.parameter_count < 4 / 3 * high, shape.id
