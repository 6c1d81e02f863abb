"""The catalogue that comes with the scheduler."""

from pathlib import Path

import pytest
import yaml

from services.scheduler.catalogue import BASE_MODELS
from services.scheduler.profile import Precision
from tests.scheduler.factories import CATALOGUE

PLANNER_CATALOGUE = Path(__file__).parents[2] / "services/planner/plan/catalogue.yaml"


def test_profiles_are_plausible_and_have_sources():
    for profile in CATALOGUE.profiles.values():
        assert profile.source
        assert profile.memory_bytes > 2**30
        assert 0 < profile.efficiency <= 1
        assert profile.layer_overhead_s > 0
        assert (profile.price_micro_usd_per_hour > 0) == profile.is_gpu
        assert (profile.precision is Precision.BFLOAT16) == profile.is_gpu


ENTRIES = yaml.safe_load(BASE_MODELS.read_text())


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["ids"][0])
def test_parameters_follow_from_the_architecture(entry):
    """Recount each decoder; norms, biases and routers are what the one percent leaves out."""
    hidden, experts = entry["hidden_size"], entry.get("expert_count", 1)
    heads = entry["head_count"] + entry["kv_head_count"]
    expert = 3 * hidden * entry["intermediate_size"] // entry.get("experts_per_token", 1)
    layer = 2 * hidden * entry["head_size"] * heads + experts * expert
    tables = (1 if entry["tied_embeddings"] else 2) * entry["vocabulary_size"] * hidden
    counted = tables + entry["layer_count"] * layer
    assert counted == pytest.approx(entry["parameter_count"], rel=0.01)
    assert entry["source"]


def test_both_catalogues_name_the_same_models_with_the_same_figures():
    entries = yaml.safe_load(PLANNER_CATALOGUE.read_text())["models"]
    told = {e["id"]: (e["parameter_count"], e["context_length"]) for e in entries}
    shapes = CATALOGUE.shapes.values()
    assert {s.id: (s.parameter_count, s.context_length) for s in shapes} == told


def test_active_parameters_follow_from_the_experts_that_a_token_is_sent_to():
    entries = yaml.safe_load(PLANNER_CATALOGUE.read_text())["models"]
    active = {entry["id"]: entry.get("active_parameter_count") for entry in entries}
    for entry in ENTRIES:
        experts, used = entry.get("expert_count", 1), entry.get("experts_per_token", 1)
        expert = 3 * entry["hidden_size"] * entry["intermediate_size"] // used
        idle = entry["layer_count"] * (experts - used) * expert
        for model in entry["ids"]:
            stated = active[model] or entry["parameter_count"]
            assert stated == pytest.approx(entry["parameter_count"] - idle, rel=0.01), model
