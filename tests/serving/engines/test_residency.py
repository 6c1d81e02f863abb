import pytest

from services.serving.engines.residency import Place, choose_victim


@pytest.mark.parametrize(
    ("places", "deployed", "victim"),
    [
        ({"a": Place(2), "b": Place(1)}, set(), "b"),
        ({"a": Place(2), "b": Place(1)}, {"b"}, "a"),
        ({"a": Place(2), "b": Place(1, user_count=1)}, set(), "a"),
        ({"a": Place(2), "b": Place(1, user_count=1)}, {"a"}, None),
        ({}, set(), None),
    ],
)
def test_the_least_recently_used_of_those_that_nobody_needs_goes(places, deployed, victim):
    assert choose_victim(places, deployed) == victim
