from array import array

from services.planner.dataset.difference import between


def test_rows_are_new_gone_or_kept_and_repeats_count():
    found = between(array("q", [1, 1, 2, 3]), array("q", [1, 3, 3, 4]))
    assert (found.added_row_count, found.removed_row_count, found.kept_row_count) == (2, 2, 2)
