from services.planner.dataset import language
from tests.planner.dataset.views import views


def test_shares_are_of_rows_and_the_most_frequent_comes_first():
    rows = views(
        *[("Where is the exit of this station?", "It is on the left.")] * 3,
        ("Wo ist der Ausgang?", "Er ist auf der linken Seite."),
    )
    assert language.shares(rows) == [("en", 0.75), ("de", 0.25)]
    assert language.shares([]) == []
