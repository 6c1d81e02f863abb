"""Which base model a message names."""

import pytest

from tests.planner.reading.test_interpreter import read


@pytest.mark.parametrize(
    "message",
    [
        "use merged/1a2b3c4d5e6f",
        "Start from merged/1a2b3c4d5e6f, please.",
        "The base is merged/1a2b3c4d5e6f; train on these tickets",
    ],
)
def test_a_merged_version_is_a_base_like_any_other(message):
    assert read(message).base_model == "merged/1a2b3c4d5e6f"


@pytest.mark.parametrize("message", ["we merged/1a2b the lists", "unmerged/1a2b3c4d5e6f"])
def test_what_only_looks_like_one_is_none(message):
    assert read(message).base_model is None
