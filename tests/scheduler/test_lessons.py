"""Estimates with what finished runs have taken: nothing known is exactly the formula."""

from dataclasses import replace

import pytest
from attune.scheduler.v1.scheduler_pb2 import DataShape
from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.layout import place
from services.scheduler.lessons import EMPTY, Book, measured
from services.scheduler.memory import Objective
from services.scheduler.observed import HIGHEST, LOWEST, Key, Observation, length_bucket
from services.scheduler.waiting import demands_of
from tests.scheduler.factories import CATALOGUE, STARTER, a_spec

LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
GPU, CPU = CATALOGUE.profiles["a100-80gb"], CATALOGUE.profiles["cpu"]


def seen(ratio, count=1, *, model=LLAMA, device="a100-80gb", length=512):
    key = Key(model, Objective.SFT, "LORA", length_bucket(length), device)
    return [Observation(key, 20 * 10**9, round(20 * 10**9 * ratio))] * count


def placed(book, profile=GPU, model=LLAMA, **spec):
    demand = demands_of(a_spec(base_model=model, **spec), DataShape(), [], CATALOGUE, book)[0]
    return place(demand, profile, profile.memory_bytes)


def same_layout(book, profile=GPU, model=LLAMA):
    """Return the estimates of one layout, without and with what was observed."""
    before = placed(EMPTY, profile, model).memory
    demand = demands_of(a_spec(base_model=model), DataShape(), [], CATALOGUE, book)[0]
    return before, demand.lessons.correct(before, profile)


@pytest.mark.parametrize(
    "book",
    [
        EMPTY,
        Book(),
        Book(seen(1.3, 20, model="another/model")),
        Book(seen(5.0, 20)),
    ],
    ids=["empty", "new", "another model", "outliers"],
)
def test_nothing_to_learn_from_is_exactly_the_formula(book):
    before, after = same_layout(book)
    assert replace(after, note="", uncorrected_bytes=None) == before
    assert placed(book).batching == placed(EMPTY).batching


@pytest.mark.parametrize(("profile", "model"), [(GPU, LLAMA), (CPU, STARTER)])
@given(ratio=st.floats(0.5, 2.0), count=st.integers(1, 60))
def test_corrections_are_bounded_and_components_add_up(profile, model, ratio, count):
    before, after = same_layout(
        Book(seen(ratio, count, model=model, device=profile.id)), profile, model
    )
    share = measured(after, profile).expected_bytes / measured(before, profile).expected_bytes
    assert LOWEST - 1e-6 <= share <= HIGHEST + 1e-6
    assert (share - 1) * (ratio - 1) >= -1e-6
    assert sum(one.size_bytes for one in after.components) == after.expected_bytes
    assert after.low_bytes <= after.expected_bytes <= after.high_bytes
    assert after.formula_bytes == before.expected_bytes
    runtime = {one.title: one.size_bytes for one in after.components}.get("runtime")
    if profile.is_gpu:
        assert runtime == {one.title: one.size_bytes for one in before.components}["runtime"]


def test_the_estimate_says_what_corrected_it():
    assert same_layout(EMPTY)[1].note == ""
    assert same_layout(Book(seen(1.2)))[1].note == "Memory is corrected by 1 observed run."
    assert same_layout(Book(seen(1.2, 12)))[1].note == "Memory is corrected by 12 observed runs."
    other = same_layout(Book(seen(1.2, 12, device="l4-24gb")))[1]
    assert other.note == "Memory is corrected by observed runs of other lengths or devices."


def test_own_observations_are_not_crowded_out_by_newer_ones_of_others():
    book = Book(seen(0.9, 300, device="l4-24gb") + seen(1.3, 20))
    _, after = same_layout(book)
    assert after.note == "Memory is corrected by 20 observed runs."
    assert after.expected_bytes > after.formula_bytes


def test_what_took_more_is_placed_with_more_room():
    demand = demands_of(a_spec(base_model=LLAMA), DataShape(), [], CATALOGUE)[0]
    tight = place(demand, GPU, placed(EMPTY).memory.high_bytes)
    assert tight.batching == placed(EMPTY).batching
    book = Book(seen(1.4, 50))
    taught = demands_of(a_spec(base_model=LLAMA), DataShape(), [], CATALOGUE, book)[0]
    learnt = place(taught, GPU, tight.capacity_bytes)
    assert learnt.fits
    assert learnt.memory.formula_bytes < tight.memory.formula_bytes
