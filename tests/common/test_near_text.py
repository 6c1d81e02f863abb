import random

from services.common.near_text import clusters, pairs, words

LONG = (
    "where on the upper floor of the main station can a traveller store two suitcases for {} "
    "afternoon of this week"
)


def test_words_know_no_case_spacing_or_punctuation():
    assert words("  Do you SELL tickets?! ") == words("do you sell -- tickets")
    assert words("d\u00e9j\u00e0 vu") == words("DE\u0301JA\u0300 VU")


def test_signs_of_arithmetic_are_words():
    assert words("2 - 2 =") != words("2 + 2 =")
    assert words("is 3 < 4?") != words("is 3 > 4?")
    assert words("ten-trip card") == words("ten trip card")


def test_scripts_without_spaces_are_taken_by_character():
    assert words("\u4f60\u597d ok") == ["\u4f60", "\u597d", "ok"]


def test_equal_words_are_a_pair():
    assert pairs(["Can I go?", "something else", "can i GO"], 0.8) == [(0, 2)]


def test_one_word_in_twenty_is_near_and_one_in_nine_is_not():
    assert pairs([LONG.format("an"), LONG.format("one")], 0.8) == [(0, 1)]
    short = "my train {} was late, please return the fare"
    assert pairs([short.format("yesterday"), short.format("today")], 0.8) == []


def test_another_number_is_another_question():
    assert pairs([LONG.format("4"), LONG.format("5")], 0.8) == []


def test_texts_of_different_groups_are_never_paired():
    texts = ["the same", "the same", "The same!"]
    assert pairs(texts, 0.8, ["a", "b", "a"]) == [(0, 2)]


def test_what_most_texts_share_does_not_make_them_alike():
    template = "answer with one of the labels below and nothing else, the message is as follows "
    questions = [f"{template} {chr(97 + index)}x {chr(97 + index)}y" for index in range(26)]
    assert pairs(questions, 0.8) == []


def test_texts_without_words_are_compared_as_they_are():
    assert pairs(["?", "!", " ? ", ""], 0.8) == [(0, 2)]


def test_near_equals_are_found_among_many():
    source = random.Random(3)
    letters = "abcdefghijklmnopqrstuvwxyz"
    vocabulary = ["".join(source.choices(letters, k=6)) for _ in range(3000)]
    texts = [" ".join(source.choices(vocabulary, k=60)) for _ in range(5000)]
    planted = []
    for index in range(0, 4000, 40):
        changed = texts[index].split()
        changed[30] = "changed"
        texts[index + 20] = " ".join(changed)
        planted.append((index, index + 20))
    assert pairs(texts, 0.8) == planted


def test_clusters_join_what_is_near_to_the_near():
    chain = [LONG.format(word) for word in ("an", "one", "every")]
    assert clusters(["x", *chain, "y"], 0.8) == [0, 1, 1, 1, 4]
    assert clusters([], 0.8) == []


def test_texts_are_compared_across_a_border_only():
    texts = [LONG.format(word) for word in ("an", "one", "every", "EVERY")]
    assert pairs(texts, 0.8, border=1) == [(0, 1), (0, 2), (2, 3)]


def test_rows_from_one_mould_are_compared_with_a_few():
    texts = [LONG.format(f"{chr(97 + n // 26)}{chr(97 + n % 26)}") for n in range(18)]
    found = pairs(texts, 0.8)
    assert {later for _, later in found} == set(range(1, 18))
    assert len(found) <= 4 * 17


def test_half_a_surrogate_pair_is_no_obstacle():
    assert pairs(["\ud800", "\ud800", "a \ud800 b"], 0.8) == [(0, 1)]
