from collections import Counter

from services.trainer.data.split import choose

THINGS = ["lamp", "chair", "table", "door", "window", "carpet", "mirror", "shelf", "clock", "stove"]
PLACES = ["kitchen", "cellar", "garden", "attic", "garage", "office", "hallway", "balcony"]


def texts(count: int) -> list[str]:
    return [
        f"{THINGS[index % 10]} {PLACES[index // 10 % 8]} number{chr(97 + index // 80)}"
        for index in range(count)
    ]


def test_as_many_as_wanted_are_taken_and_equal_seeds_choose_equally():
    asked, answers = texts(200), ["x"] * 200
    held, apart = choose(asked, answers, 40, "a")
    assert (len(held), apart) == (40, True)
    assert choose(asked, answers, 40, "a") == (held, apart)
    assert choose(asked, answers, 40, "b")[0] != held


def test_every_label_keeps_its_share():
    answers = ["rare" if index % 10 == 0 else "often" for index in range(200)]
    held, _ = choose(texts(200), answers, 40, "a")
    assert Counter(answers[index] for index in held) == {"often": 36, "rare": 4}


def test_near_equals_are_never_divided():
    long_texts = [f"{' '.join(THINGS)} {' '.join(PLACES)} {word}" for word in THINGS[:3]]
    asked = texts(60) + long_texts
    for seed in "abcdefgh":
        held, apart = choose(asked, [""] * len(asked), 20, seed)
        assert apart
        assert len(held & {60, 61, 62}) in (0, 3)


def test_rows_that_are_all_alike_are_divided_and_that_is_told():
    asked = [f"{' '.join(THINGS)} {' '.join(PLACES)} {word}" for word in THINGS]
    held, apart = choose(asked, [""] * 10, 2, "a")
    assert len(held) == 2
    assert not apart


def test_equal_rows_alone_can_still_be_divided():
    held, apart = choose(["same"] * 5, ["a"] * 5, 2, "a")
    assert (len(held), apart) == (2, False)
