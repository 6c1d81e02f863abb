import pytest

from services.planner.dataset.split import minimum_detectable_difference


@pytest.mark.parametrize(("rows", "points"), [(50, 13.9), (200, 6.9), (500, 4.4)])
def test_the_difference_shrinks_with_the_root_of_the_rows(rows, points):
    assert 100 * minimum_detectable_difference(rows) == pytest.approx(points, abs=0.05)


def test_nothing_can_be_told_without_rows():
    assert minimum_detectable_difference(0) == minimum_detectable_difference(-1) == 1.0
