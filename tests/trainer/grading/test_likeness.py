"""Figures worked out by hand, or by the definition written out slowly."""

import math
import random

import pytest

from services.trainer.grading import likeness


def slow_common_length(left, right):
    table = [[0] * (len(right) + 1) for _ in range(len(left) + 1)]
    for i, a in enumerate(left):
        for j, b in enumerate(right):
            table[i + 1][j + 1] = (
                table[i][j] + 1 if a == b else max(table[i][j + 1], table[i + 1][j])
            )
    return table[-1][-1]


def test_the_common_length_is_that_of_the_table():
    chance = random.Random(3)
    for _ in range(200):
        left, right = ("".join(chance.choices("abc", k=chance.randint(0, 90))) for _ in range(2))
        assert likeness.common_length(left, right) == slow_common_length(left, right)


def test_fuzzy_match_counts_insertions_and_deletions():
    assert likeness.fuzzy_match("abcd", "abed") == 2 * 3 / 8
    assert likeness.fuzzy_match("", "") == 1.0


def test_rouge_is_the_f1_of_shared_runs():
    found, expected = "the cat sat", "the cat ate fish"
    assert likeness.rouge(1, found, expected) == 2 * 2 / 7
    assert likeness.rouge(2, found, expected) == 2 * 1 / 5
    assert likeness.rouge_l("the fish the cat", expected) == 2 * 2 / 8
    assert likeness.rouge(5, "too short", "too short") == 1.0


def test_bleu_is_the_smoothed_mean_of_precisions_times_the_brevity():
    found, expected = "the cat sat on", "the cat sat on it"
    precisions = [4 / 4, 4 / 4, 3 / 3, 2 / 2]
    assert likeness.bleu(found, expected) == pytest.approx(
        math.exp(1 - 5 / 4) * math.prod(precisions) ** 0.25
    )
    found = "the dog sat on"
    precisions = [3 / 4, 2 / 4, 1 / 3, 1 / 2]
    assert likeness.bleu(found, expected) == pytest.approx(
        math.exp(1 - 5 / 4) * math.prod(precisions) ** 0.25
    )


def test_gleu_is_the_lesser_of_precision_and_recall():
    # Two shared words and one shared pair, of 6 runs here and 10 there.
    assert likeness.gleu("the cat sat", "the cat ate fish") == 3 / 10


def test_meteor_weighs_recall_and_punishes_broken_runs():
    whole = likeness.meteor("the cat sat", "the cat sat down")
    mean = 0.75 / (0.9 + 0.1 * 0.75)
    assert whole == pytest.approx(mean * (1 - 0.5 * (1 / 3) ** 3))
    assert likeness.meteor("sat cat the", "the cat sat") == pytest.approx(0.5)


def test_scripts_without_spaces_are_counted_by_character():
    assert likeness.words("猫が好き a1") == ["猫", "が", "好", "き", "a1"]
