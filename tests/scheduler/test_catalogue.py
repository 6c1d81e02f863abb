"""The catalogue that comes with the scheduler."""

from datetime import date
from pathlib import Path

import pytest
import yaml

from services.scheduler.catalogue import BASE_MODELS, PROFILES, read_catalogue, read_profiles
from services.scheduler.profile import Precision
from tests.scheduler.factories import CATALOGUE

PLANNER_CATALOGUE = Path(__file__).parents[2] / "services/planner/plan/catalogue.yaml"


def test_profiles_are_plausible_and_have_sources():
    for profile in CATALOGUE.profiles.values():
        assert profile.source
        assert profile.memory_bytes > 2**30
        assert 0 < profile.efficiency <= 1
        assert profile.layer_overhead_s > 0
        assert (profile.precision is Precision.FLOAT32) == (not profile.is_gpu)
        assert profile.device_count_per_node in ((1, 2, 4, 8) if profile.is_gpu else (1,))
        assert bool(profile.interconnect) == (profile.link_bytes_per_s > 0)
        assert (profile.node_count > 1) == (profile.network_bytes_per_s > 0)
        assert profile.network_bytes_per_s <= profile.link_bytes_per_s


def test_every_price_has_its_date_and_its_source():
    for profile in CATALOGUE.profiles.values():
        priced = profile.price_micro_usd_per_hour > 0
        assert priced == profile.is_gpu
        assert priced == bool(profile.price_source)
        assert priced == isinstance(profile.price_date, date)


def test_the_accelerators_that_people_have_are_there():
    assert set(CATALOGUE.profiles) >= {
        "cpu", "t4-16gb", "l4-24gb", "a10g-24gb", "l40s-48gb", "a100-40gb", "a100-80gb",
        "h100-80gb", "h200-141gb", "b200-180gb", "mi300x-192gb", "rtx4090-24gb", "rtx5090-32gb",
    }  # fmt: skip


def test_a_card_without_bfloat16_computes_in_float16():
    halves = {one.id for one in CATALOGUE.profiles.values() if one.precision is Precision.FLOAT16}
    assert halves == {"t4-16gb"}


@pytest.mark.parametrize("text", ["- id: a", "- [", "7", "- id: a\n  memory_gib: 1\n  color: red"])
def test_a_text_that_is_no_list_of_profiles_is_refused(text):
    with pytest.raises(ValueError, match="no list of profiles"):
        read_profiles(text)


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


def test_an_operator_adds_kinds_of_device_and_says_which_may_be_used(tmp_path):
    own = tmp_path / "own.yaml"
    (entry,) = [one for one in yaml.safe_load(PROFILES.read_text()) if one["id"] == "l4-24gb"]
    own.write_text(yaml.safe_dump([{**entry, "id": "rtx3090-24gb", "title": "NVIDIA RTX 3090"}]))
    catalogue = read_catalogue(own, "cpu, rtx3090-24gb")
    assert set(catalogue.profiles) == {"cpu", "rtx3090-24gb"}
    assert len(catalogue.shapes) == len(CATALOGUE.shapes)
    assert set(read_catalogue(own).profiles) == {*CATALOGUE.profiles, "rtx3090-24gb"}


@pytest.mark.parametrize("text", ["nothing", "- l4", "- id: l4", "a: [", "- {id: x, precision: b}"])
def test_a_profiles_file_that_is_none_is_refused_in_one_line(tmp_path, text):
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(SystemExit, match="cannot be used"):
        read_catalogue(tmp_path / "own.yaml")


def test_a_profile_that_nobody_knows_cannot_be_allowed():
    with pytest.raises(SystemExit, match="names 'rtx1', which is no profile"):
        read_catalogue(None, "cpu,rtx1")
